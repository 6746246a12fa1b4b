#!/bin/bash
# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
# What launch/tpu_vm.sh runs on each worker of a TPU VM; it works on any machine with tmux.

set -euo pipefail

cd "$(dirname "$0")/.."
run=${VIT_JAX_RUN:-$HOME/.vit_jax_run} # log, process id and status of the command
session=${run//[^A-Za-z0-9]/_}

usage() {
  cat <<'TEXT'
Runs one command in the background on this machine and says what became of it.

usage: launch/tpu_worker.sh [--dry-run] ACTION

setup          make .venv with vit_jax and JAX for TPUs, unless nothing has changed since
start COMMAND  run it in tmux, in the folder of vit_jax, with .venv first in PATH
status         print 'vit_jax: running', 'vit_jax: ended N' (its exit status) or 'vit_jax: idle'
logs           follow its output
stop           send it SIGTERM: it saves and ends with status 75

example: launch/tpu_worker.sh start vit-jax train --config=configs/digits.py --workdir=workdirs/d
TEXT
}

# Python 3.11 or newer; where the system has none, uv brings one.
make_environment() {
  local python
  for python in python3.13 python3.12 python3.11; do
    if command -v "$python" >/dev/null && "$python" -c 'import ensurepip'; then
      "$python" -m venv .venv
      return
    fi
  done
  python3 -m pip install --quiet --user uv
  python3 -m uv venv --quiet --seed --python=3.12 .venv
}

setup() {
  local stamp
  stamp=$(cat pyproject.toml constraints.txt | cksum)
  command -v tmux >/dev/null || sudo apt-get install -y tmux >/dev/null
  if [ "$(cat .venv/stamp 2>/dev/null)" != "$stamp" ]; then
    [ -x .venv/bin/python ] || make_environment
    .venv/bin/python -m pip install --quiet --constraint=constraints.txt --editable='.[tpu]'
    echo "$stamp" >.venv/stamp
  fi
}

# In tmux: the command, its log and its exit status.
in_session() {
  local code=0
  PATH=$PWD/.venv/bin:$PATH PYTHONUNBUFFERED=1 "$@" >>"$run/log" 2>&1 &
  echo $! >"$run/pid"
  wait $! || code=$?
  echo "$code" >"$run/ended.new" && mv "$run/ended.new" "$run/ended"
}

start() {
  if [ "$(status)" = "vit_jax: running" ]; then
    echo "tpu_worker.sh: a command runs already; stop it first" >&2
    return 1
  fi
  mkdir -p "$run"
  rm -f "$run/ended" "$run/pid"
  echo "tpu_worker.sh: $(date --utc +%FT%TZ) $*" >>"$run/log"
  tmux new-session -d -s "$session" "$(printf '%q ' env VIT_JAX_RUN="$run" "$0" in-session "$@")"
}

status() {
  if [ -f "$run/ended" ]; then
    echo "vit_jax: ended $(cat "$run/ended")"
  elif tmux has-session -t "=$session" 2>/dev/null; then
    echo "vit_jax: running"
  elif [ -f "$run/pid" ]; then
    echo "vit_jax: ended 137" # it did not live to tell: as if killed
  else
    echo "vit_jax: idle"
  fi
}

stop() {
  if [ "$(status)" = "vit_jax: running" ]; then
    kill -TERM "$(cat "$run/pid")"
  fi
}

dry_run=''
[ "${1:-}" != --dry-run ] || { dry_run=1 && shift; }
action=${1:---help}
shift || true
case $action in
  --help | -h) usage ;;
  in-session) in_session "$@" ;;
  setup | start | status | logs | stop)
    if [ -n "$dry_run" ]; then
      echo "on $(hostname): $action $*"
    elif [ "$action" = logs ]; then
      exec tail -n 100 -F "$run/log"
    else
      "$action" "$@"
    fi
    ;;
  *) echo "tpu_worker.sh: unknown action $action; see --help" >&2 && exit 2 ;;
esac
