# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The cost of saves, of a tiny model: the figures belong together, and the checkpoints are real."""

import json

import jax
import pytest

from vit_jax.benchmark import checkpoint
from vit_jax.cli import main
from vit_jax.training.checkpoint import load

MODEL = "vit_tiny_patch16_224"
ARGUMENTS = [MODEL, "--image-size=32", "--batch-size=2", "--scan", "--rounds=2", "--steps=1"]


@pytest.fixture
def slow_saves(monkeypatch):
    """Every save makes the loop wait a second more."""
    seconds = checkpoint._seconds

    def slower(work):
        stalls = any("checkpointer" in str(name) for name in work.__code__.co_freevars)
        return seconds(work) + stalls

    monkeypatch.setattr(checkpoint, "_seconds", slower)


def test_what_a_save_costs(tmp_path, capsys, slow_saves):
    target = tmp_path / "found.json"
    arguments = [f"--checkpoint={tmp_path}/saved", "--every=50", f"--json={target}"]
    assert main(["bench", *ARGUMENTS, *arguments]) == 0
    (record,) = json.loads(target.read_text())["records"]
    saved = load(tmp_path / "saved" / MODEL)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(saved.params))
    assert record["bytes"] == pytest.approx(3 * 4 * parameters, rel=1e-4)  # Adam's moments
    assert saved.step > 2, "steps go on while it writes"
    stall, step = record["stall_seconds"], record["step_seconds"]
    assert 1 < stall["min"] <= stall["median"] < record["write_seconds"]["max"] + 1
    share = record["stall_share"]
    assert share["max"] <= stall["max"] / (50 * step["min"] + stall["min"])
    assert share["median"] <= record["cost_share"]["median"] < 1
    every = record["shortest_every"]
    assert stall["median"] / (every * step["median"]) <= checkpoint.ALLOWED
    assert stall["median"] / ((every - 1) * step["median"]) > checkpoint.ALLOWED
    out = capsys.readouterr().out
    assert f"| every {every} steps or more" in out
    assert "stall, every 50 steps" in out


@pytest.mark.parametrize(
    "arguments", [["--every=0"], ["--startup"], ["--mode=forward"], ["--against=timm"]]
)
def test_what_does_not_go_with_it_is_refused(arguments, tmp_path, capsys):
    assert main(["bench", *ARGUMENTS, f"--checkpoint={tmp_path}/saved", *arguments]) == 2
    assert capsys.readouterr().err.startswith("vit-jax: error: --")
