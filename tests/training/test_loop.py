# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What a run prints, keeps, refuses and draws; resuming is tested in `test_resume`."""

import functools
import json

import jax
import numpy as np
import pytest
import tiny_runs as runs

from vit_jax import config as config_lib
from vit_jax import pictures
from vit_jax.errors import UserError
from vit_jax.evaluation import classification
from vit_jax.training import checkpoint, compilation, goodput, loop, trained, workdir

SHORT = {
    "train__duration": "6 steps",
    "schedule__warmup": "2 steps",
    "evaluation__every": "3 steps",
    "checkpoint__every": "3 steps",
}


@pytest.fixture(scope="module")
def short_run(tmp_path_factory):
    """(workdir, results, printed) of a short run with every sink and picture on."""
    folder = tmp_path_factory.mktemp("short") / "run"
    config = runs.tiny_config(**SHORT, log__tensorboard=True, log__pictures=True)
    with pytest.MonkeyPatch.context() as patch:
        printed = []
        patch.setattr(loop.Progress, "say", lambda self, text: printed.append(text))
        recipe = runs.tiny_config()
        results = loop.train(config, folder, recipe=recipe, profile=(3, 5))
    return folder, results, "\n".join(printed)


def test_says_what_it_does_and_what_comes_next(short_run):
    folder, _, printed = short_run
    expected = (
        "process 0 of 1",
        "train.batch_size = 32",
        "train.duration: '60 steps' -> '6 steps'",
        "block_00/attn/qkv/kernel",
        "MiB a device",
        "18,218 parameters",
        "train 1,077, validation 360, test 360",
        "steps: 6 of 32 examples over all devices",
        "FLOP/s = 3 x forward matmul FLOPs x images/s",
        "class      train    validation    test",
        f"vit-jax evaluate --workdir={folder} --split=test",
        f"vit-jax predict --checkpoint={folder} IMAGE...",
        f"vit-jax export {folder} --format=stablehlo --to={folder}.stablehlo",
        f"vit-jax convert {folder} --to={folder}.safetensors",
    )
    for text in expected:
        assert text in printed


def test_a_run_starts_from_what_another_has_learnt(short_run, tmp_path):
    source, _, _ = short_run
    config = runs.tiny_config(
        **SHORT | {"train__duration": "1 steps", "schedule__warmup": "0 steps"},
        seed=7,
        optimiser__learning_rate=1e-9,
        model__init_from=source,
    )
    loop.train(config, tmp_path / "run")
    learnt = trained.load(source).params
    after = checkpoint.load(tmp_path / "run", ema=False).params
    close = functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-7)
    jax.tree.map(close, after, learnt)


def test_keeps_config_pictures_trace_and_events(short_run):
    folder, results, _ = short_run
    saved = config_lib.from_json((folder / "config.json").read_text())
    assert not config_lib.diff(
        saved, runs.tiny_config(**SHORT, log__tensorboard=True, log__pictures=True)
    )
    for name in (
        "samples.png",
        "curves.png",
        "goodput.png",
        "predictions.png",
        "confusion.png",
        "mistakes.png",
    ):
        assert (folder / name).stat().st_size > 5_000
    assert list((folder / "profile").rglob("*.xplane.pb"))
    assert list((folder / "tensorboard").glob("events.*"))
    assert set(results) == {"validation", "test"}
    assert results["test"]["examples"] == 360
    lines = runs.record(folder)
    assert lines[-1]["split"] == "test"
    assert lines[-1]["accuracy"] == results["test"]["accuracy"]


def test_the_best_step_is_what_remains(tmp_path, monkeypatch):
    """The rate explodes after step 3: the run goes back to it, and so does who uses the run."""
    printed = []
    monkeypatch.setattr(loop.Progress, "say", lambda self, text: printed.append(text))
    config = runs.tiny_config(
        **SHORT | {"schedule__warmup": "0 steps"},
        checkpoint__keep_best=1,
        checkpoint__keep_last=1,
        checkpoint__best_metric="loss",
        checkpoint__best_mode="min",
    )
    monkeypatch.setattr(
        loop.program_lib,
        "create_schedule",
        lambda *_: lambda step: 1e-3 + 1e3 * (step >= 3),
    )
    results = loop.train(config, tmp_path)
    lines = runs.record(tmp_path)
    losses = {x["step"]: x["loss"] for x in lines if x["split"] == "validation"}
    assert losses[3] < losses[6]
    assert "after step 3: this is kept" in "\n".join(printed)
    assert results["validation"]["loss"] == losses[3]
    assert (lines[-1]["split"], lines[-1]["step"], lines[-1]["checkpoint_step"]) == ("test", 6, 3)
    assert trained.load(tmp_path).step == 3
    again = classification.evaluate_checkpoint(tmp_path, split="validation")
    assert again["loss"] == pytest.approx(losses[3], rel=1e-5)
    assert loop.train(config, tmp_path)["test"]["loss"] == pytest.approx(results["test"]["loss"])
    assert runs.record(tmp_path) == lines


def test_measurements_are_in_every_training_line(short_run):
    folder, _, _ = short_run
    lines = [json.loads(text) for text in (folder / "metrics.jsonl").read_text().splitlines()]
    train = [line for line in lines if line["split"] == "train"]
    for line in train:
        assert {"images_per_second", "flops_per_second", "data_wait_percent"} <= line.keys()
        assert line["images_per_second"] == pytest.approx(32 / line["step_seconds"])
        assert set(goodput.FIELDS) <= line.keys()
    assert [("compile_seconds" in line) for line in train] == [True, False]


def test_all_time_is_accounted_for(short_run):
    """By another clock than the run's own: between two lines, kinds add up to what passed."""
    folder, _, printed = short_run
    (start,) = goodput.read(folder)
    assert (start.first, start.last, start.done) == (0, 6, True)
    assert sum(start.seconds.values()) == pytest.approx(start.seen - start.began, abs=0.05)
    assert all(start.seconds[kind] > 0 for kind in goodput.KINDS)
    assert goodput.describe([start]) in printed
    assert "in one start: start " in printed


def test_learning_rate_in_the_record_is_the_schedule(short_run):
    """Linear warm-up over 2 steps to 1e-3, then cosine to 0 at step 6; step n uses rate n - 1."""
    folder, _, _ = short_run
    rates = {x["step"]: x["learning_rate"] for x in runs.record(folder) if x["split"] == "train"}
    for step, rate in rates.items():
        angle = np.pi * (step - 1 - 2) / (6 - 2)
        assert rate == pytest.approx(1e-3 * 0.5 * (1 + np.cos(angle)), rel=1e-5)


def test_a_checkpoint_needs_nothing_else(short_run, tmp_path):
    folder, _, _ = short_run
    step = folder / checkpoint.FOLDER / "00000006"
    alone = tmp_path / "00000006"
    step.rename(alone)
    try:
        run = trained.load(alone)
    finally:
        alone.rename(step)
    assert run.step == 6
    assert run.class_names == tuple("0123456789")
    assert run.ops.image_size == (8, 8)
    assert run.model.spec.width == 32


def test_goes_on_with_changes_that_do_not_matter(short_run):
    folder, _, _ = short_run
    config = runs.tiny_config(**SHORT, log__every_steps=2)
    workdir.check(folder, config)
    assert ("log.every_steps", 3, 2) in workdir.changes(folder, config)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", 1),
        ("train__batch_size", 64),
        ("model__overrides", "{'width': 64}"),
        ("optimiser__name", "sgd"),
        ("train__ema_decay", 0.0),
    ],
)
def test_refuses_to_go_on_as_another_run(short_run, field, value):
    folder, _, _ = short_run
    with pytest.raises(UserError, match=field.split("__")[-1] + r".*choose another --workdir"):
        workdir.check(folder, runs.tiny_config(**SHORT, **{field: value}))


def test_anything_goes_before_the_first_checkpoint(tmp_path):
    config_lib.save(runs.tiny_config(), tmp_path / "config.json")
    workdir.check(tmp_path, runs.tiny_config(seed=1))


def test_profile_of_steps_that_do_not_exist_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"--profile=5:9.*steps 1 to 6"):
        loop.train(runs.tiny_config(**SHORT), tmp_path, profile=(5, 9))


def test_divergence_stops_the_run(tmp_path):
    """A learning rate of 1e38 overflows in the first step; from then on no gradient is finite."""
    config = runs.tiny_config(
        **SHORT,
        optimiser__learning_rate=1e38,
        optimiser__clip_norm=0.0,
        train__max_nonfinite_steps=2,
    )
    with pytest.raises(loop.DivergedError, match=r"max_nonfinite_steps=2.*learning_rate"):
        loop.train(config, tmp_path)
    assert runs.record(tmp_path)[-1]["nonfinite_streak"] >= 2


def test_cache_folder_is_the_users(monkeypatch, tmp_path):
    import jax

    before = jax.config.jax_compilation_cache_dir
    try:
        compilation.use_cache()
        assert jax.config.jax_compilation_cache_dir == before  # JAX was told where
        jax.config.update("jax_compilation_cache_dir", None)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        compilation.use_cache()
        assert jax.config.jax_compilation_cache_dir == str(tmp_path / "vit_jax" / "xla")
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


def test_pictures_of_a_run_without_evaluations(tmp_path):
    """No validation, no accuracy: the curves that exist are drawn."""
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "split": "train", "loss": 2.0}\n')
    drawn = pictures.curves(path, tmp_path / "curves.png")
    assert len(drawn.read_bytes()) > 1_000
