# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Whatever stops a run, the same command again leaves what an uninterrupted run leaves."""

import pathlib
import signal
import time

import jax
import numpy as np
import pytest
import tiny_runs as runs

from vit_jax import exits
from vit_jax.training import checkpoint, loop


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The workdir of a run on one device that nothing disturbed."""
    workdir = tmp_path_factory.mktemp("uninterrupted") / "run"
    runs.complete(workdir)
    return workdir


def test_the_record_is_complete(uninterrupted):
    lines = runs.record(uninterrupted)
    steps = {
        split: [line["step"] for line in lines if line["split"] == split]
        for split in ("train", "validation", "test")
    }
    assert steps["train"] == list(range(3, 61, 3))
    assert steps["validation"] == [15, 30, 45, 60]
    assert steps["test"] == [60]
    assert all(line["examples"] == 32 * line["step"] for line in lines)
    assert lines[-1]["accuracy"] > 0.2, "it has learned nothing: a tenth would be chance"


def test_cut_at_random_moments_it_leaves_the_same_bits(uninterrupted, tmp_path):
    """kill -9 three times wherever it strikes (lines, evaluations, saves), SIGTERM once."""
    workdir, total = tmp_path / "run", runs.count_lines(uninterrupted)
    random = np.random.default_rng(20)
    for share in (0.25, 0.5, 0.75):
        process = runs.start(workdir)
        lines = int(random.integers(1, max(2, share * total)))
        assert runs.wait_for_lines(process, workdir, lines), runs.finish(process)[1]
        time.sleep(random.uniform(0, 0.05))
        process.kill()
        assert runs.finish(process)[0] == -signal.SIGKILL

    process = runs.start(workdir)
    assert runs.wait_for_lines(process, workdir, int(0.8 * total)), runs.finish(process)[1]
    process.send_signal(signal.SIGTERM)
    status, output = runs.finish(process)
    assert status == exits.PREEMPTED == 75, output
    step = checkpoint.load(str(workdir)).step
    assert f"stopped and saved after step {step} of 60" in output
    assert runs.record(workdir)[-1]["step"] <= step < 60

    assert f"goes on after step {step} of 60" in runs.complete(workdir)
    runs.assert_same_bits(workdir, uninterrupted)


def test_a_stop_during_an_evaluation_makes_it_up_later(uninterrupted, tmp_path, monkeypatch):
    """Stopped in the evaluation after step 30; the record shows nothing of it."""
    workdir = runs.copy_until(uninterrupted, tmp_path / "run", 28)
    stop_in_evaluation(monkeypatch, step=30)
    with pytest.raises(loop.PreemptedError, match="after step 30 of 60"):
        loop.train(runs.tiny_config(), workdir)
    assert [line for line in runs.record(workdir) if line["step"] == 30][-1]["split"] == "train"
    monkeypatch.undo()
    loop.train(runs.tiny_config(), workdir)
    lines, expected = runs.record(workdir), runs.record(uninterrupted)
    assert [(x["step"], x["split"]) for x in lines] == [(x["step"], x["split"]) for x in expected]


def stop_in_evaluation(monkeypatch, step):
    """Makes the run believe in a SIGTERM when it asks during the evaluation after `step`."""
    evaluate = loop._Run.evaluate

    def evaluate_and_stop(self, split):
        if self.step == step:
            self.preemption._received = True
        evaluate(self, split)

    monkeypatch.setattr(loop._Run, "evaluate", evaluate_and_stop)


def test_goes_on_on_another_mesh(uninterrupted, tmp_path):
    """From 1 device to 2 x 2 x 2: the same examples, and numbers equal up to the order of sums."""
    workdir = runs.copy_until(uninterrupted, tmp_path / "run", 40)
    loop.train(runs.tiny_config(mesh__data=2, mesh__fsdp=2, mesh__tensor=2), workdir)
    assert_close(workdir, uninterrupted, first_step=42)


def assert_close(one, other, first_step=0):
    """Losses within 1e-4; Adam turns rounding of small gradients into steps, so 5e-3 on weights."""
    for line, expected in zip(runs.record(one), runs.record(other), strict=True):
        assert {k: line[k] for k in ("step", "split", "examples")} == {
            k: expected[k] for k in ("step", "split", "examples")
        }
        tolerance = 1e-4 if line["step"] >= first_step else 0
        assert line["loss"] == pytest.approx(expected["loss"], rel=tolerance, abs=0), line
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=5e-3),
        runs.parameters(one),
        runs.parameters(other),
    )


def test_a_damaged_checkpoint_is_passed_over(uninterrupted, tmp_path, caplog):
    workdir = runs.copy_until(uninterrupted, tmp_path / "run", 40)
    newest = pathlib.Path(workdir) / checkpoint.FOLDER / "00000040" / "state"
    largest = max((p for p in newest.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 0xFF
    largest.write_bytes(content)
    loop.train(runs.tiny_config(), workdir)
    assert "00000040 is not used" in caplog.text
    assert_close(workdir, uninterrupted, first_step=37)


def test_a_finished_run_stays_as_it_is(uninterrupted, tmp_path):
    workdir = runs.copy_until(uninterrupted, tmp_path / "run", 60)
    results = loop.train(runs.tiny_config(), workdir)
    assert runs.record(workdir) == runs.record(uninterrupted)
    expected = {line["split"]: line for line in runs.record(uninterrupted)}
    for split in ("validation", "test"):
        assert results[split]["accuracy"] == expected[split]["accuracy"]
        assert results[split]["loss"] == pytest.approx(expected[split]["loss"], rel=1e-5)
