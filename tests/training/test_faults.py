# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Faults of disks and readers, as a whole run meets them; `tests/chaos` has those of processes."""

import json
import os
import subprocess
import sys
import time

import pytest
import tiny_runs as runs

from vit_jax.data.sources.tfds import TfdsSource
from vit_jax.errors import UserError
from vit_jax.training import checkpoint, loop, storage

NOT_WRITABLE = "/sys/kernel"  # not even for root


def test_a_slow_reader_shows(tmp_path, monkeypatch):
    read = TfdsSource._serialised

    def slowly(self, indices):
        time.sleep(0.4)
        return read(self, indices)

    monkeypatch.setattr(TfdsSource, "_serialised", slowly)
    config = runs.tiny_config(
        train__duration="20 steps",
        schedule__warmup="2 steps",
        evaluation__every="20 steps",
        log__every_steps=10,
        data__validation_split="",
        data__test_split="",
    )
    loop.train(config, tmp_path)
    lines = [json.loads(text) for text in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["data_wait_percent"] > 50


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
