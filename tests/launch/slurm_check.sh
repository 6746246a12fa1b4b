#!/bin/bash
# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
#
# Runs launch/slurm.sbatch on a SLURM of one node that is started here and stopped again: two tasks
# train digits, get SIGTERM, save, are queued again, go on and finish; a job that is cancelled does
# not come back. Needs Debian's slurm-wlm and munge, which it installs if it may; nothing else of
# the system is touched: daemons, keys and state live in a temporary folder.
#
# example: tests/launch/slurm_check.sh .venv/bin

set -euo pipefail

cd "$(dirname "$0")/../.."
case ${1:-} in
  --help | -h) sed -n 's/^# \?//p' "$0" | sed 1d && exit ;;
esac
bin=$(realpath "${1:-.venv/bin}")
here=$(mktemp -d)
daemons=()

# Ends the daemons, the last started first, and what they still run.
clean_up() {
  scancel --user="$(id -un)" --signal=KILL --full 2>/dev/null || true
  for ((i = ${#daemons[@]} - 1; i >= 0; i--)); do
    kill "${daemons[i]}" 2>/dev/null || true
    wait "${daemons[i]}" 2>/dev/null || true
  done
  [ -n "${KEEP:-}" ] || rm -rf "$here"
}
trap clean_up EXIT

fail() {
  echo "slurm-check: $1" >&2
  tail -n 50 "$here"/*.log >&2 || true
  exit 1
}

# until_true SECONDS WHAT COMMAND...: waits for a command to succeed.
until_true() {
  local seconds=$1 what=$2 start=$SECONDS
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ $((SECONDS - start)) -lt "$seconds" ] || fail "no $what after $seconds s"
    sleep 1
  done
}

install() {
  if command -v slurmctld slurmd munged >/dev/null; then
    return
  fi
  echo "slurm-check: installing slurm-wlm and munge"
  { apt-get update && apt-get install -y --no-install-recommends slurm-wlm munge; } \
    >"$here/apt.log" 2>&1 || fail "needs the packages slurm-wlm and munge, as root"
}

start_munge() {
  mkdir -m 755 "$here/munge"
  (umask 077 && head -c 1024 /dev/urandom >"$here/munge/key")
  munged --foreground --force --key-file="$here/munge/key" --socket="$here/munge/socket" \
    --pid-file="$here/munge/pid" --log-file="$here/munge.log" --seed-file="$here/munge/seed" \
    >"$here/munged.log" 2>&1 &
  daemons+=($!)
  until_true 30 "munge" munge --socket="$here/munge/socket" --no-input
}

# The node has two slots whatever the machine has; a job that is queued again starts at once.
start_slurm() {
  local name
  name=$(hostname -s)
  mkdir "$here/state" "$here/spool"
  cat >"$here/slurm.conf" <<CONF
ClusterName=check
SlurmctldHost=$name(127.0.0.1)
SlurmctldPort=26817
SlurmdPort=26818
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthInfo=socket=$here/munge/socket,cred_expire=10
StateSaveLocation=$here/state
SlurmdSpoolDir=$here/spool
SlurmctldPidFile=$here/slurmctld.pid
SlurmdPidFile=$here/slurmd.pid
SlurmctldLogFile=$here/slurmctld.log
SlurmdLogFile=$here/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SlurmdParameters=config_overrides
MpiDefault=none
KillWait=120
NodeName=$name NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes=$name Default=YES MaxTime=INFINITE State=UP
CONF
  export SLURM_CONF=$here/slurm.conf
  slurmctld -D >"$here/slurmctld.out" 2>&1 &
  daemons+=($!)
  slurmd -D >"$here/slurmd.out" 2>&1 &
  daemons+=($!)
  until_true 60 "idle node" sh -c 'sinfo --noheader --format=%T | grep --quiet idle'
}

# submit WORKDIR: two tasks, digits, a tiny model, long enough to be stopped; sets `job` and `log`.
submit() {
  local answer
  answer=$(bash launch/slurm.sbatch --ntasks=2 --time=30 --output="$here/job-%j.log" -- \
    "$bin/vit-jax" train --config=configs/digits.py --workdir="$1" \
    --config.train.duration="300 steps" --config.evaluation.every="300 steps" \
    --config.model.overrides.depth=1 --config.checkpoint.every="300 steps" \
    --config.log.every_steps=20 --config.log.pictures=False)
  job=${answer##* }
  log=$here/job-$job.log
}

says() {
  grep --quiet --extended-regexp "$1" "$log"
}

state() {
  scontrol --oneliner show job "$job" | grep --only-matching 'JobState=[A-Z]*'
}

is() {
  [ "$(state)" = "JobState=$1" ]
}

check_requeue() {
  local started=$SECONDS
  submit "$here/run"
  until_true 300 "training step of job $job" says "step +[1-9][0-9]"
  echo "slurm-check: job $job trains on two tasks ($((SECONDS - started)) s); SIGTERM"
  scancel --signal=TERM "$job"
  until_true 120 "requeue" says 'status 75, back into the queue'
  echo "slurm-check: saved and queued again ($((SECONDS - started)) s)"
  until_true 400 "end of the second start" is COMPLETED
  says 'goes on after step [1-9]' || fail "the second start did not go on"
  echo "slurm-check: finished ($((SECONDS - started)) s)"
  grep --extended-regexp '^slurm.sbatch|process [01] of 2|stopped and saved|goes on after' "$log"
}

check_cancel() {
  submit "$here/cancelled"
  until_true 300 "training step of job $job" says "step +[1-9][0-9]"
  scancel "$job"
  until_true 150 "end of a cancelled job" is CANCELLED
  says 'back into the queue' && fail "a cancelled job queued itself again"
  echo "slurm-check: job $job was cancelled and stays so"
}

export JAX_PLATFORMS=cpu JAX_NUM_CPU_DEVICES=1 XLA_FLAGS=''
install
start_munge
start_slurm
check_requeue
check_cancel
echo "slurm-check: passed"
