#!/bin/bash
# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.

set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)

usage() {
  cat <<'TEXT'
Makes a TPU VM (all workers of all its slices), runs a command there, sees to it that it ends well.

usage: launch/tpu_vm.sh ACTION --name=NAME --zone=ZONE [OPTIONS] [-- COMMAND]

create         make it, and wait for it if it is queued
sync           copy this working tree (what git does not ignore) and install it, on all workers
run            start COMMAND in tmux on all workers; it goes on when this machine goes away
status         what became of it, a line a worker
logs           follow the output of one worker (--worker, default 0)
stop           SIGTERM: the run saves and ends with status 75
delete         delete the TPU VM
babysit        create, sync, run; again after every preemption and kill until the command ends with
               0, or with 1, 2 or 130, which would only happen again

--project=ID   default: gcloud's
--type=TYPE    accelerator type, like v5litepod-16, v5p-32 or v6e-8 (create, babysit)
--version=V    runtime version; default: the one for the type
--spot         cheaper, may be taken away; with or without --queued
--reserved     from your reservation
--queued       as a queued resource
--slices=N     this many of TYPE, as a queued resource
--worker=W     for logs
--poll=S       seconds between looks (60)
--restarts=N   babysit gives up after so many (100)
--dry-run      print the commands of this machine, run none

Only the workdir knows the run: give COMMAND one that outlives the machines, such as gs://...

example:
  launch/tpu_vm.sh babysit --name=s16 --zone=us-east5-a --type=v6e-16 --spot -- \
    vit-jax train --config=configs/vit_i1k.py --workdir=gs://BUCKET/runs/s16
TEXT
}

refuse() {
  echo "tpu_vm.sh: $1" >&2
  exit 2
}

# Carries a command out, or shows it.
do_() {
  if [ -n "$dry_run" ]; then
    local line
    line=$(printf '%q ' "$@")
    echo "${line% }"
  else
    "$@"
  fi
}

say() {
  echo "tpu_vm.sh: $1" >&2
}

runtime_version() {
  case $1 in
    v5litepod-*) echo v2-alpha-tpuv5-lite ;;
    v5p-*) echo v2-alpha-tpuv5 ;;
    v6e-*) echo v2-alpha-tpuv6e ;;
    *) echo tpu-ubuntu2204-base ;;
  esac
}

nodes() {
  if [ "$slices" -eq 1 ]; then
    echo "$name"
  else
    seq -f "$name-%g" 0 $((slices - 1))
  fi
}

# on_workers WORKER ACTION...: an action of tpu_worker.sh on every node.
on_workers() {
  local worker=$1 node line
  shift
  line=$(printf '%q ' vit_jax/launch/tpu_worker.sh "$@")
  for node in $(nodes); do
    do_ "${tpus[@]}" tpu-vm ssh "$node" "${place[@]}" --worker="$worker" \
      --command="${line% }" || return
  done
}

create() {
  [ -n "$type" ] || refuse "--type is missing, like --type=v5litepod-16"
  local how=("${tier[@]}" --accelerator-type="$type")
  if [ -z "$queued" ]; then
    do_ "${tpus[@]}" tpu-vm create "$name" "${place[@]}" "${how[@]}" --version="$version"
    return
  fi
  local node=(--node-id="$name")
  if [ "$slices" -gt 1 ]; then
    node=(--node-count="$slices" --node-prefix="$name")
  fi
  do_ "${tpus[@]}" queued-resources create "$name" "${place[@]}" "${node[@]}" "${how[@]}" \
    --runtime-version="$version" || return
  wait_for_queue
}

wait_for_queue() {
  local look state
  look=("${tpus[@]}" queued-resources describe "$name" "${place[@]}" "--format=value(state.state)")
  if [ -n "$dry_run" ]; then
    do_ "${look[@]}"
    return
  fi
  while state=$("${look[@]}"); do
    case $state in
      ACTIVE) return 0 ;;
      FAILED | SUSPENDED | SUSPENDING) break ;;
    esac
    say "$name is $state"
    sleep "$poll"
  done
  say "$name is ${state:-not to be seen}; it will not become active"
  return 1
}

delete() {
  if [ -n "$queued" ]; then
    do_ "${tpus[@]}" queued-resources delete "$name" "${place[@]}" --force --quiet
  else
    do_ "${tpus[@]}" tpu-vm delete "$name" "${place[@]}" --quiet
  fi
}

# Packs the working tree; what runs stays the same when a machine is replaced later.
pack() {
  archive=${TMPDIR:-/tmp}/vit_jax-$name.tgz
  if [ -n "$dry_run" ]; then
    echo "git ls-files --cached --others --exclude-standard | tar -cz > $archive"
  else
    git -C "$root" ls-files -z --cached --others --exclude-standard |
      tar -C "$root" --null --files-from=- --ignore-failed-read -czf "$archive"
  fi
}

deliver() {
  local node
  local unpack="mkdir -p vit_jax && tar -xzf vit_jax.tgz -C vit_jax"
  for node in $(nodes); do
    do_ "${tpus[@]}" tpu-vm scp "$archive" "$node:vit_jax.tgz" "${place[@]}" --worker=all &&
      do_ "${tpus[@]}" tpu-vm ssh "$node" "${place[@]}" --worker=all --command="$unpack" || return
  done
  on_workers all setup
}

# Prints what to do next: wait, end N (with that status), again (the command), anew (the machine),
# or lost if no worker answers.
verdict() {
  local node state statuses code
  for node in $(nodes); do
    state=$("${tpus[@]}" tpu-vm describe "$node" "${place[@]}" "--format=value(state)") || state=''
    [ "$state" = READY ] || { echo anew && return; }
  done
  statuses=$(on_workers all status 2>/dev/null | grep '^vit_jax: ') || { echo lost && return; }
  case $statuses in
    *running*) echo wait && return ;;
    *idle*) echo again && return ;;
  esac
  for code in 2 1 130; do
    if grep -qx "vit_jax: ended $code" <<<"$statuses"; then
      echo "end $code" && return
    fi
  done
  if grep -qvx 'vit_jax: ended 0' <<<"$statuses"; then
    echo again
  else
    echo "end 0"
  fi
}

# deliver_and_start COMMAND: counts the attempt, successful or not.
deliver_and_start() {
  starts=$((starts + 1))
  if ! deliver || ! on_workers all start "$@"; then
    say "could not start; looking again"
  fi
}

babysit() {
  local next=anew starts=0 silent=0
  pack
  if [ -z "$dry_run" ]; then
    next=$(verdict)
    case $next in
      end* | lost) next=again ;; # of an earlier command, or not delivered yet
    esac
  fi
  while [ "$starts" -le "$restarts" ]; do
    case $next in
      lost) silent=$((silent + 1)) && [ "$silent" -lt 10 ] || next=anew ;;
      *) silent=0 ;;
    esac
    case $next in
      anew)
        [ -n "$dry_run" ] || delete 2>/dev/null || true
        if create; then deliver_and_start "$@"; else starts=$((starts + 1)); fi
        ;;
      again) deliver_and_start "$@" ;;
      end*)
        say "status ${next#end } after $starts starts; delete $name when you are done with it"
        return "${next#end }"
        ;;
    esac
    [ -z "$dry_run" ] || return 0
    sleep "$poll"
    next=$(verdict)
    say "$next"
  done
  say "gave up after $starts starts"
  return 1
}

action=${1:---help}
shift || true
name='' zone='' project='' type='' version='' queued='' dry_run=''
slices=1 worker=0 poll=60 restarts=100 archive=''
tier=()
while [ $# -gt 0 ]; do
  case $1 in
    --) shift && break ;;
    --name=*) name=${1#*=} ;;
    --zone=*) zone=${1#*=} ;;
    --project=*) project=${1#*=} ;;
    --type=*) type=${1#*=} ;;
    --version=*) version=${1#*=} ;;
    --slices=*) slices=${1#*=} ;;
    --worker=*) worker=${1#*=} ;;
    --poll=*) poll=${1#*=} ;;
    --restarts=*) restarts=${1#*=} ;;
    --spot | --reserved) tier=("$1") ;;
    --queued) queued=1 ;;
    --dry-run) dry_run=1 ;;
    --help | -h) usage && exit ;;
    *) refuse "unknown argument $1; see --help" ;;
  esac
  shift
done
case $action in
  --help | -h) usage && exit ;;
  run | babysit) [ $# -gt 0 ] || refuse "nothing to run; put the command after --" ;;
  create | sync | status | logs | stop | delete) ;;
  *) refuse "unknown action $action; see --help" ;;
esac
[ -n "$name" ] || refuse "--name is missing"
[ -n "$zone" ] || refuse "--zone is missing, like --zone=us-east5-a"
[ "$slices" -eq 1 ] || queued=1
version=${version:-$(runtime_version "$type")}
tpus=(gcloud compute tpus)
place=(--zone="$zone")
[ -z "$project" ] || place+=(--project="$project")

case $action in
  create) create ;;
  sync) pack && deliver ;;
  run) on_workers all start "$@" ;;
  status) on_workers all status ;;
  logs) on_workers "$worker" logs ;;
  stop) on_workers all stop ;;
  delete) delete ;;
  babysit) babysit "$@" ;;
esac
