# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Starting, watching and comparing runs of the tiny recipe, for the tests of the loop."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import jax
import numpy as np

from vit_jax import config as config_lib
from vit_jax.training import checkpoint
from vit_jax.training.metrics import MEASUREMENTS

RECIPE = str(pathlib.Path(__file__).with_name("tiny_recipe.py"))
DEADLINE_SECONDS = 240


def tiny_config(**fields):
    """Returns the tiny recipe with some fields changed, named `section__field`."""
    overrides = [f"--config.{key.replace('__', '.')}={value}" for key, value in fields.items()]
    return config_lib.load(RECIPE, overrides)


def start(workdir, *arguments, devices=1):
    """Starts `vit-jax train` as a user would, in a process of its own with that many devices."""
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": str(devices)}
    command = [sys.executable, "-m", "vit_jax", "train", f"--config={RECIPE}"]
    return subprocess.Popen(
        [*command, f"--workdir={workdir}", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    """Returns the status and the output of a run once it has ended."""
    output, _ = process.communicate(timeout=DEADLINE_SECONDS)
    return process.returncode, output


def complete(workdir, *arguments, devices=1):
    """Runs to the end; returns the output."""
    status, output = finish(start(workdir, *arguments, devices=devices))
    assert status == 0, output
    return output


def count_lines(workdir):
    path = pathlib.Path(workdir) / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_for_lines(process, workdir, count):
    """Returns once the record has `count` lines; False if the run ends before."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while count_lines(workdir) < count:
        if process.poll() is not None:
            return False
        assert time.monotonic() < deadline, "the run neither writes lines nor ends"
        time.sleep(0.002)
    return True


def record(workdir):
    """Returns the lines of the record without what depends on the machine."""
    lines = (pathlib.Path(workdir) / "metrics.jsonl").read_text().splitlines()
    return [
        {key: value for key, value in json.loads(line).items() if key not in MEASUREMENTS}
        for line in lines
    ]


def parameters(workdir):
    """Returns the trained and the averaged parameters after the last step."""
    return {ema: checkpoint.load(str(workdir), ema=ema).params for ema in (False, True)}


def assert_same_bits(one, other):
    """Both runs left the same record and the same parameters, bit for bit."""
    assert record(one) == record(other)
    jax.tree.map(np.testing.assert_array_equal, parameters(one), parameters(other))


def copy_until(workdir, target, step):
    """Copies a run as it was when the checkpoint of `step` was its last."""
    shutil.copytree(workdir, target)
    for path in (pathlib.Path(target) / checkpoint.FOLDER).iterdir():
        if int(path.name) > step:
            shutil.rmtree(path)
    return target
