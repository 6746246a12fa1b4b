# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""A process that hangs is ended with the status and the stacks, whatever it hangs in."""

import signal
import subprocess
import sys
import time

import pytest
import tiny_runs

from vit_jax import exits
from vit_jax.training import watchdog

# Libraries called through CDLL let go of Python's global lock, as JAX does; through PyDLL they keep
# it, and no other thread of Python runs.
PROGRAM = """
import ctypes, pathlib, sys, threading, time
from vit_jax.training.watchdog import Watchdog

def another_thread():
    time.sleep(100)

threading.Thread(target=another_thread, daemon=True).start()
with Watchdog(0.3, sys.argv[1], process=3, grace=0.2) as dog:
    for step in range(4):
        time.sleep(0.2)  # 0.8 s in all: longer than is allowed without a beat
        dog.beat(f"step {step}")
    ctypes.KIND(None).sleep(100)
"""


def hang(folder, kind):
    begun = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("KIND", kind), str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert time.monotonic() - begun < 30
    return result


def test_a_hang_in_native_code_ends_with_status_and_stacks(tmp_path):
    result = hang(tmp_path, "CDLL")
    assert result.returncode == exits.STALLED
    text = (tmp_path / "stacks-3.txt").read_text()
    assert result.stderr == text
    first, *stacks = text.splitlines()
    assert "nothing was finished for 0.3 s after step 3 (train.watchdog_seconds)" in first
    assert "in another_thread" in "\n".join(stacks)
    assert '  File "<string>", line 13 in <module>' in stacks


def test_a_hang_that_keeps_the_global_lock_ends_too(tmp_path):
    result = hang(tmp_path, "PyDLL")
    assert 128 - result.returncode in exits.KILLED
    assert result.returncode == -signal.SIGALRM
    assert "in another_thread" in result.stderr


def test_a_workdir_that_is_gone_does_not_hold_it_up(tmp_path):
    result = hang(tmp_path / "gone", "CDLL")
    assert result.returncode == exits.STALLED
    assert "in another_thread" in result.stderr
    assert f"the stacks are not in {tmp_path}/gone/stacks-3.txt" in result.stderr


RUN = """
import sys, time
from vit_jax import cli
from vit_jax.training import loop

take_step = loop._Run.take_step

def hang_at_five(self):
    if self.step == 5:
        time.sleep(1000)
    take_step(self)

loop._Run.take_step = hang_at_five
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_run_that_hangs_ends_and_goes_on(tmp_path):
    arguments = [f"--workdir={tmp_path}", "--config.train.watchdog_seconds=30"]
    arguments += ["--config.train.duration=8 steps", "--config.schedule.warmup=1 steps"]
    command = ["train", f"--config={tiny_runs.RECIPE}", *arguments]
    result = subprocess.run(
        [sys.executable, "-c", RUN, *command],
        capture_output=True,
        text=True,
        timeout=tiny_runs.DEADLINE_SECONDS,
        check=False,
    )
    assert result.returncode == exits.STALLED, result.stderr
    assert "nothing was finished for 30 s after step 5" in result.stderr
    assert "in hang_at_five" in (tmp_path / "stacks-0.txt").read_text()
    output = tiny_runs.complete(tmp_path, *arguments[1:])
    assert "goes on after step 4 of 8" in output
    assert "in 2 starts" in output


@pytest.mark.parametrize("seconds", [0, 0.1])
def test_nothing_remains_after_it(tmp_path, seconds):
    with watchdog.Watchdog(seconds, tmp_path) as dog:
        dog.beat("step 1")
        armed = signal.getitimer(signal.ITIMER_REAL)[0]
        assert bool(armed) == bool(seconds)
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    assert not dog._thread.is_alive()
    time.sleep(0.2)
    assert not list(tmp_path.iterdir())
