# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Two processes of which one fails, or is killed: the other ends too, soon, and says why."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest

from vit_jax.errors import UserError
from vit_jax.parallel import distributed, peers

PROGRAM = pathlib.Path(__file__).with_name("ends.py")


def run_two(end):
    """Returns the statuses and outputs of both, and how long the second to end came after."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}",
        "JAX_NUM_PROCESSES": "2",
        "JAX_NUM_CPU_DEVICES": "1",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, str(PROGRAM), end],
            env=environment | {"JAX_PROCESS_ID": str(index)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(2)
    ]
    outputs = [processes[1].communicate(timeout=120)[0]]
    ended = time.monotonic()
    outputs.insert(0, processes[0].communicate(timeout=60)[0])
    return [p.returncode for p in processes], outputs, time.monotonic() - ended


def test_when_one_fails_the_other_ends_with_its_status_and_reason():
    statuses, outputs, _ = run_two("failed")
    assert statuses == [2, 2], outputs
    assert "process 1 of 2 ended with status 2 (there is no such thing)" in outputs[0]
    assert "error: there is no such thing" in outputs[1]


def test_when_one_is_killed_the_other_ends_soon_and_says_so():
    """Long before the 20 s of silence after which JAX would end it."""
    statuses, outputs, seconds = run_two("killed")
    assert statuses == [76, -signal.SIGKILL], outputs
    assert "another process of this run is gone" in outputs[0]
    assert "start all of them again" in outputs[0]
    assert seconds < 15


@pytest.mark.slow
def test_what_both_agree_on_is_theirs():
    statuses, outputs, _ = run_two("agreed")
    assert statuses == [75, 75], outputs
    assert "error" not in "".join(outputs)


@pytest.mark.parametrize(
    ("error", "is_lost"),
    [
        (ValueError("UNKNOWN: Gloo all-reduce failed: Connection closed by peer"), True),
        (RuntimeError("NCCL operation ncclAllReduce failed: remote process exited"), True),
        (
            RuntimeError("DEADLINE [type.googleapis.com/tensorflow.CoordinationServiceError='']"),
            True,
        ),
        (ValueError("shapes do not match"), False),
        (UserError("there is no folder /data/gloo"), False),
        (None, False),
    ],
)
def test_an_echo_is_told_from_a_mistake(error, is_lost):
    assert bool(peers.lost(error)) == is_lost
    with pytest.raises(RuntimeError) as around:
        raise RuntimeError("saving failed") from error
    assert bool(peers.lost(around.value)) == is_lost


def test_alone_it_does_nothing():
    with pytest.raises(KeyError), peers.Together():
        raise KeyError
    peers.leave_if_lost(ValueError("Gloo"))


def test_others_that_never_come_are_not_waited_for_for_ever(monkeypatch, capfd):
    ended = []
    monkeypatch.setattr(distributed.os, "_exit", ended.append)
    distributed._give_up(distributed.Plan("flags", 4, 2, "n01:99"))
    assert ended == [76]
    assert "process 2 of 4 waited 300 s for the others at n01:99" in capfd.readouterr().err
