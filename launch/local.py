# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Starts one run as several processes on this machine.

Example, two processes with two CPU devices each:

    python launch/local.py --processes=2 --devices-per-process=2 -- \\
        vit-jax train --config=configs/digits.py --workdir=workdirs/digits

One process drives all accelerators of a machine, so this is for trying out multi-process runs, and
for machines where a process a GPU is wanted: with `--gpus`, GPUs 0, 1, ... are shared out instead.
If one process fails or is stopped, the others are stopped too.
"""

import argparse
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import IO

GRACE_SECONDS = 30.0  # to save a checkpoint, from a signal until the process is killed


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, default=2, metavar="N")
    parser.add_argument("--devices-per-process", type=int, default=1, metavar="K")
    parser.add_argument("--gpus", action="store_true", help="share out GPUs, not CPU devices")
    parser.add_argument("--port", type=int, default=0, help="of the coordinator; 0 for a free one")
    parser.add_argument("--dry-run", action="store_true", help="print the commands and stop")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="after --: what each runs")
    args = parser.parse_args(arguments)
    if args.command[:1] == ["--"]:
        args.command = args.command[1:]
    if not args.command:
        parser.error("nothing to run; put the command after --")
    if args.processes < 1 or args.devices_per_process < 1:
        parser.error("--processes and --devices-per-process must be at least 1")
    return args


def variables(args: argparse.Namespace, index: int, port: int) -> dict[str, str]:
    """Returns the environment variables that make a command process number `index`."""
    own = {
        "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}",
        "JAX_NUM_PROCESSES": str(args.processes),
        "JAX_PROCESS_ID": str(index),
    }
    first = index * args.devices_per_process
    if args.gpus:
        gpus = range(first, first + args.devices_per_process)
        return own | {"CUDA_VISIBLE_DEVICES": ",".join(map(str, gpus))}
    return own | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(args.devices_per_process)}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def relay(source: IO[str], prefix: str) -> None:
    """Copies lines to our standard output, each with the number of its process."""
    for line in source:
        print(f"{prefix}{line}", end="", flush=True)


def start(args: argparse.Namespace, port: int) -> list[subprocess.Popen]:
    # A device count forced by XLA_FLAGS would contradict the one asked for.
    flags = os.environ.get("XLA_FLAGS", "").split()
    kept = [flag for flag in flags if "host_platform_device_count" not in flag]
    common = {**os.environ, "XLA_FLAGS": " ".join(kept), "PYTHONUNBUFFERED": "1"}
    return [
        subprocess.Popen(
            args.command,
            env=common | variables(args, index, port),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # its own group: a signal to us reaches it once, through us
        )
        for index in range(args.processes)
    ]


def supervise(processes: list[subprocess.Popen], stopping: threading.Event) -> int:
    """Waits for all to end; returns the first failure's exit code, or 0."""
    code, deadline = 0, float("inf")
    while None in [process.poll() for process in processes]:  # polls every one of them
        failed = [p.returncode for p in processes if p.returncode not in (None, 0)]
        if failed and not code:
            code = failed[0]
            forward(processes, signal.SIGTERM)
        if (failed or stopping.is_set()) and deadline == float("inf"):
            deadline = time.monotonic() + GRACE_SECONDS
        if time.monotonic() > deadline:
            forward(processes, signal.SIGKILL)
        time.sleep(0.05)
    code = code or next((p.returncode for p in processes if p.returncode), 0)
    return 128 - code if code < 0 else code  # killed by signal n: 128 + n, as a shell says


def forward(processes: list[subprocess.Popen], number: int) -> None:
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, number)  # a shell would keep it from the program it waits for


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_args(arguments)
    port = args.port or free_port()
    if args.dry_run:
        for index in range(args.processes):
            own = " ".join(f"{k}={v}" for k, v in variables(args, index, port).items())
            print(f"{own} {shlex.join(args.command)}")
        return 0
    processes = start(args, port)
    stopping = threading.Event()

    def stop(number: int, _: object) -> None:
        stopping.set()
        forward(processes, number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    relays = []
    for index, process in enumerate(processes):
        assert process.stdout is not None
        thread = threading.Thread(target=relay, args=(process.stdout, f"[{index}] "))
        thread.start()
        relays.append(thread)
    code = supervise(processes, stopping)
    for thread in relays:
        thread.join()
    return code


if __name__ == "__main__":
    sys.exit(main())
