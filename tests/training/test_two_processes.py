# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Two processes train as one: the same global batches, the same losses, one record."""

import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
import tiny_runs as runs

from vit_jax.training import loop

LAUNCHER = pathlib.Path(__file__).parents[2] / "launch" / "local.py"
FIELDS = {
    "train__duration": "12 steps",
    "schedule__warmup": "2 steps",
    "evaluation__every": "6 steps",
    "checkpoint__every": "6 steps",
}


def test_two_processes_equal_one(tmp_path):
    """2 processes x 2 devices beside 1 process x 8 devices.

    The losses are means of the same 32 terms, summed in another order: 1e-5 is a hundred roundings
    of float32. Weights may differ more, because Adam divides by the size of a gradient: where that
    is rounding noise, up to a step of the learning rate 1e-3.
    """
    overrides = [f"--config.{key.replace('__', '.')}={value}" for key, value in FIELDS.items()]
    train = [sys.executable, "-m", "vit_jax", "train", f"--config={runs.RECIPE}"]
    output = subprocess.run(
        [sys.executable, str(LAUNCHER), "--processes=2", "--devices-per-process=2", "--"]
        + [*train, f"--workdir={tmp_path / 'two'}", *overrides],
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=runs.DEADLINE_SECONDS,
    )
    assert output.returncode == 0, output.stdout + output.stderr
    assert "process 0 of 2" in output.stdout

    loop.train(runs.tiny_config(**FIELDS), tmp_path / "one")
    two, one = runs.record(tmp_path / "two"), runs.record(tmp_path / "one")
    assert [(line["step"], line["split"]) for line in two] == [
        (line["step"], line["split"]) for line in one
    ]
    for line, expected in zip(two, one, strict=True):
        assert line["loss"] == pytest.approx(expected["loss"], rel=1e-5)
        assert line.get("evaluated_examples") == expected.get("evaluated_examples")
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=2e-3),
        runs.parameters(tmp_path / "two"),
        runs.parameters(tmp_path / "one"),
    )
