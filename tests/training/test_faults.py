# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Faults of disks and readers, as a whole run meets them; `tests/chaos` has those of processes."""

import contextlib
import itertools
import os
import subprocess
import sys
import time

import jax.numpy as jnp
import pytest
import tiny_runs as runs

from vit_jax.data import ops
from vit_jax.data.pipeline import TrainPipeline
from vit_jax.data.prefetch import prefetch
from vit_jax.data.sources import create_source
from vit_jax.data.sources.tfds import TfdsSource
from vit_jax.errors import UserError
from vit_jax.training import checkpoint, goodput, loop, metrics, storage

NOT_WRITABLE = "/sys/kernel"  # not even for root


def share_waited(batches, steps):
    """Takes steps of 5 ms as the loop does; returns what a line says of waiting for data."""
    clock = goodput.Clock()
    meter = metrics.Meter(metrics.Work(1, 1.0, None), clock)
    with clock.during("step"):
        for step in range(steps):
            with clock.during("data_wait"):
                next(batches)
            time.sleep(0.005)
            meter.push(step, {"loss": jnp.float32(0)})
            meter.finish(0)
    return meter.line()["data_wait_percent"]


def test_a_slow_reader_shows(monkeypatch):
    read = TfdsSource._serialised

    def slowly(self, indices):
        time.sleep(0.2)
        return read(self, indices)

    monkeypatch.setattr(TfdsSource, "_serialised", slowly)
    source = create_source("digits", "train")
    pipeline = TrainPipeline(source=source, ops=ops.parse("decode|resize(8)"), batch_size=8)
    with contextlib.closing(prefetch(pipeline.batches(), lambda batch: batch, 2)) as batches:
        for _ in range(10):  # what is ready before the first step
            next(batches)
        assert share_waited(batches, 10) > 80
    assert share_waited(itertools.repeat({}), 10) < 20


@pytest.mark.skipif(not os.path.isdir(NOT_WRITABLE), reason="a folder that only Linux has")
def test_a_workdir_that_is_not_writable_is_one_line():
    line = pytest.raises(UserError, match=rf"cannot write to {NOT_WRITABLE}: Permission denied; ")
    with line as caught, storage.explained(NOT_WRITABLE):
        loop.train(runs.tiny_config(), NOT_WRITABLE)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_disk_that_takes_no_more_ends_the_run_and_then_it_goes_on(tmp_path):
    """Real errors of the kernel, in TensorStore's writes: files may not grow beyond a limit."""

    def start(steps, limit_kib="unlimited"):
        train = [sys.executable, "-m", "vit_jax", "train", f"--config={runs.RECIPE}"]
        train += [f"--workdir={tmp_path}", f"--config.train.duration={steps} steps"]
        limited = ["bash", "-c", f'ulimit -f {limit_kib}; exec "$0" "$@"', *train]
        return subprocess.run(
            limited, capture_output=True, text=True, timeout=runs.DEADLINE_SECONDS
        )

    assert start(20).returncode == 0
    saved = {path.name for path in (tmp_path / checkpoint.FOLDER).iterdir()}
    full = start(40, limit_kib=60)
    assert full.returncode == 2, full.stderr
    assert "File too large; have the limit of file sizes raised" in full.stderr.splitlines()[-1]
    assert {path.name for path in (tmp_path / checkpoint.FOLDER).iterdir()} == saved
    assert checkpoint.load(tmp_path).step == 20
    assert start(40).returncode == 0
    assert checkpoint.load(tmp_path).step == 40
