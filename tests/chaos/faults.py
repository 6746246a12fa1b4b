# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Starting the processes of a run, and doing to them what machines do."""

import dataclasses
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import time

from chaos import history
from etils import epath

from vit_jax import exits
from vit_jax.training import integrity

TESTS = pathlib.Path(__file__).parents[1]
HEARTBEAT_SECONDS = 30
START_SECONDS = 900.0  # to come to any point, on a machine that has other things to do as well
END_SECONDS = 120.0  # to end after a loss was noticed
LOST = (exits.LOST_PEER, -signal.SIGABRT)  # our own way to end without a peer, and JAX's
SAID = ("another process of this run is gone", "ended with status 76", "another task died")


@dataclasses.dataclass(frozen=True)
class Fault:
    """What is done to a start.

    Attributes:
        kind: "SIGTERM", "SIGKILL", "SIGSTOP" (a machine that freezes).
        victim: the process it is done to.
        phase: which it waits for: "compilation", "step", "evaluation" or "checkpoint".
        after_step: and not before this step was taken.
        delay: seconds after the phase began.
    """

    kind: str
    victim: int
    phase: str
    after_step: int
    delay: float


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a fault.

    Attributes:
        statuses: of all processes.
        seconds: from the signal to the end of the last process.
        said: the line that says why, of a process that was not the victim.
        struck: whether it came before the run was over.
    """

    statuses: tuple[int, ...]
    seconds: float
    said: str
    struck: bool


class Start:
    """One start of a run: its processes, their diaries and logs."""

    def __init__(self, folder, number, processes, devices, command, skews):
        self.diaries = [folder / f"diary-{number}-{i}.jsonl" for i in range(processes)]
        self.logs = [folder / f"log-{number}-{i}.txt" for i in range(processes)]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        environment = os.environ | {
            "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": str(devices),
            "XLA_FLAGS": "",
            "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}",
            "JAX_NUM_PROCESSES": str(processes),
            "JAX_COMPILATION_CACHE_DIR": str(folder.parent / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "PYTHONPATH": f"{TESTS}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        }
        self.processes = []
        for i in range(processes):
            worker = [sys.executable, "-m", "chaos.worker", str(self.diaries[i]), str(skews[i])]
            with self.logs[i].open("w") as log:
                self.processes.append(
                    subprocess.Popen(
                        [*worker, *command, f"--heartbeat-seconds={HEARTBEAT_SECONDS}"],
                        env=environment | {"JAX_PROCESS_ID": str(i)},
                        stdout=log,
                        stderr=subprocess.STDOUT,
                    )
                )

    def statuses(self) -> tuple[int, ...]:
        return tuple(process.returncode for process in self.processes)

    def wait(self, seconds: float) -> tuple[int, ...]:
        """Returns the statuses; AssertionError if a process has not ended by then."""
        deadline = time.monotonic() + seconds
        for process, log in zip(self.processes, self.logs, strict=True):
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"hangs after {seconds:.0f} s: {tail(log)}") from None
        return self.statuses()

    def kill(self) -> None:
        for process in self.processes:
            process.kill()

    def steps(self) -> dict[int, list[int]]:
        """Returns which pictures each step saw."""
        return history.steps([history.read(path) for path in self.diaries])

    def inflict(self, fault: Fault) -> Outcome:
        """Waits for the moment, does it, and waits for the end of all processes."""
        victim = self.processes[fault.victim]
        struck = self._wait_for(fault)
        if struck:
            time.sleep(fault.delay)
            struck = victim.poll() is None
            victim.send_signal(getattr(signal, fault.kind))
        began = time.monotonic()
        others = [p for p in self.processes if p is not victim]
        if fault.kind == "SIGSTOP":
            _wait_all(others, HEARTBEAT_SECONDS + END_SECONDS)
            seconds = time.monotonic() - began
            victim.kill()
        saves = fault.kind == "SIGTERM"  # and may have to compile before
        statuses = self.wait(START_SECONDS if saves else HEARTBEAT_SECONDS + END_SECONDS)
        if fault.kind != "SIGSTOP":
            seconds = time.monotonic() - began
        others_log = self.logs[-1 if fault.victim == 0 else 0]
        struck = struck and statuses != (exits.DONE,) * len(statuses)
        return Outcome(statuses, seconds, _said(others_log), struck)

    def _wait_for(self, fault: Fault) -> bool:
        """Returns once the fault's moment has come; False if the run ends before."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            lines = history.read(self.diaries[fault.victim])
            reached = next(
                (n for n, line in enumerate(lines) if line.get("step", 0) >= fault.after_step), None
            )
            if fault.phase == "compilation" or fault.after_step == 0:
                reached = 0
            phases = [] if reached is None else [line.get("phase") for line in lines[reached:]]
            if fault.phase in phases:
                return True
            if self.processes[fault.victim].poll() is not None:
                return False
            time.sleep(0.03)
        self.kill()
        raise AssertionError(f"no {fault.phase} in {START_SECONDS} s: {tail(self.logs[0])}")


def _wait_all(processes, seconds):
    deadline = time.monotonic() + seconds
    for process in processes:
        process.wait(max(0.1, deadline - time.monotonic()))


def tail(log: pathlib.Path, lines: int = 15) -> str:
    """Returns the end of a log."""
    return f"{log}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _said(log: pathlib.Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return next((line for line in lines if any(text in line for text in SAID)), "")


def damage(checkpoints: pathlib.Path, choose: random.Random) -> str | None:
    """Spoils the newest checkpoint if there is one before it; returns what was done."""
    sealed = sound(checkpoints)
    if len(sealed) < 2:
        return None
    files = [path for path in sealed[-1].rglob("*") if path.is_file() and path.stat().st_size]
    victim = choose.choice(sorted(files))
    kind = choose.choice(["flipped", "cut short", "deleted"])
    content = bytearray(victim.read_bytes())
    if kind == "deleted":
        victim.unlink()
    elif kind == "cut short":
        victim.write_bytes(content[: len(content) // 2])
    else:
        content[choose.randrange(len(content))] ^= 1 << choose.randrange(8)
        victim.write_bytes(content)
    return f"{kind}: {victim.relative_to(checkpoints)}"


def sound(checkpoints: pathlib.Path) -> list[pathlib.Path]:
    """Returns the finished checkpoints, oldest first, having verified every one."""
    if not checkpoints.exists():
        return []
    steps = sorted(path for path in checkpoints.iterdir() if path.name.isdigit())
    sealed = [path for path in steps if integrity.is_sealed(epath.Path(path))]
    for path in sealed:
        found = integrity.find_damage(epath.Path(path))
        assert found is None, f"{path}: {found}"
    return sealed


def check(fault: Fault, outcome: Outcome, start: Start) -> None:
    """AssertionError if the processes did not end as promised."""
    if not outcome.struck:
        assert set(outcome.statuses) == {exits.DONE}, (fault, outcome, tail(start.logs[0]))
        return
    others = [s for i, s in enumerate(outcome.statuses) if i != fault.victim]
    details = f"{fault} {outcome}\n" + "\n".join(tail(log) for log in start.logs)
    if fault.kind == "SIGTERM":
        assert set(outcome.statuses) == {exits.PREEMPTED}, details
        said = {line for log in start.logs for line in log.read_text().splitlines()}
        stops = {line for line in said if "stopped and saved after step" in line}
        assert len(stops) == 1, details  # one step, whoever got the signal
        return
    assert set(others) <= set(LOST), details
    assert len(others) == 0 or outcome.said, details


def skews(processes: int, choose: random.Random) -> list[int]:
    """Returns how wrong each process's clock is: one of several is, by up to a week."""
    wrong = [0] * processes
    if processes > 1:
        wrong[choose.randrange(processes)] = choose.randint(-604_800, 604_800)
    return wrong
