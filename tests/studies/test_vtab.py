# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The protocol of VTAB-1k: what is trained on what, what is chosen, what the table says."""

import dataclasses
import json

import jax
import numpy as np
import pytest
import tiny_runs

from vit_jax import config as config_lib
from vit_jax.cli import main
from vit_jax.config import validate
from vit_jax.data.ops import parse
from vit_jax.data.sources import vtab as tasks_lib
from vit_jax.data.tensorflow import import_tensorflow, quiet
from vit_jax.errors import UserError
from vit_jax.studies import runs, vtab
from vit_jax.training import trained as trained_lib
from vit_jax.training import workdir


@pytest.fixture
def pretrained(tmp_path):
    """The workdir of a run that pretrained with what fine-tuning does without."""
    config = config_lib.default_config()
    shape = {"patch_size": 4, "width": 32, "depth": 1, "num_heads": 2, "mlp_dim": 64}
    rest = {"image_size": 8, "drop_path": 0.1, "dropout": 0.1, "pre_logits": 16, "head_bias": -7.0}
    config.model.overrides = {**shape, **rest}
    config.data.eval_ops = "decode(channels=1)|resize(8)|value_range(-1, 1)"
    folder = tmp_path / "pretrained"
    (folder / "checkpoints" / "00000040").mkdir(parents=True)
    config_lib.save(config, folder / workdir.CONFIG)
    return folder


@pytest.fixture
def plan(pretrained, tmp_path):
    return vtab.Plan(tmp_path / "vtab", vtab.start_from(str(pretrained)))


def test_it_starts_from_the_model_alone(pretrained):
    start = vtab.start_from(str(pretrained))
    assert start.name == "vit_tiny_patch16_224"
    assert set(start.overrides) == {"patch_size", "width", "depth", "num_heads", "mlp_dim"}
    assert start.source == str(pretrained)
    assert start.ops.startswith(
        "decode(channels=1)|resize((8, 8), antialias=False)|value_range(low=-1.0"
    )
    step = vtab.start_from(str(pretrained / "checkpoints" / "00000040"), image_size=16)
    assert "resize(16, " in step.ops
    assert step.overrides == start.overrides
    weights = vtab.start_from("weights.npz", model="ViT-B/16@384")
    assert (weights.name, weights.source) == ("vit_base_patch16_384", "weights.npz")
    assert "resize((384, 384), " in weights.ops
    with pytest.raises(UserError, match=r"--checkpoint=weights.npz is no workdir .* add --model"):
        vtab.start_from("weights.npz")


def test_four_settings_train_on_800_and_are_compared_on_200(plan):
    candidates = plan.candidates("dtd")
    settings = [(run.labels["lr"], run.labels["steps"]) for run in candidates]
    assert settings == [("0.01", "2500"), ("0.01", "10000"), ("0.1", "2500"), ("0.1", "10000")]
    for run, (lr, steps) in zip(candidates, settings, strict=True):
        config = config_lib.load(run.recipe, run.overrides)
        validate(config)
        assert config.data.source == "vtab:dtd"
        assert (config.data.train_split, config.data.validation_split) == ("train800", "val200")
        assert config.data.test_split == ""
        assert config.optimiser.name == "sgd"
        assert (config.optimiser.learning_rate, config.optimiser.weight_decay) == (float(lr), 0)
        assert (config.train.duration, config.train.batch_size) == (f"{steps} steps", 512)
        assert config.data.train_ops == config.data.eval_ops == plan.start.ops
        assert config.model.overrides.to_dict() == plan.start.overrides


def test_the_choice_trains_on_all_1000_and_sees_the_test(plan):
    chosen = plan.candidates("dtd")[2]
    final = plan.final("dtd", chosen)
    config = config_lib.load(final.recipe, final.overrides)
    validate(config)
    assert (config.data.train_split, config.data.validation_split) == ("train800val200", "")
    assert config.data.test_split == "test"
    assert (config.optimiser.learning_rate, config.train.duration) == (0.1, "2500 steps")
    assert final.folder not in [run.folder for run in plan.candidates("dtd")]


def outcome(run, state=runs.FINISHED, **accuracies):
    found = {split: {"accuracy": value} for split, value in accuracies.items()}
    return runs.Outcome(run, state, found)


def test_the_best_on_validation_is_chosen_whatever_the_test_says(plan):
    found = plan.candidates("dtd")
    outcomes = [
        outcome(run, validation=v) for run, v in zip(found, (0.2, 0.5, 0.5, 0.4), strict=True)
    ]
    assert vtab.choose(outcomes) is found[1]  # the first of equals
    diverged = [outcome(found[1], runs.DIVERGED), *outcomes[2:], outcomes[0]]
    assert vtab.choose(diverged) is found[2]
    unfinished = [*outcomes[:3], outcome(found[3], runs.ELSEWHERE)]
    assert vtab.choose(unfinished) is None
    assert vtab.choose([outcome(run, runs.DIVERGED) for run in found]) is None


FINAL = "dtd: final,lr=0.1,steps=2500"


@pytest.fixture
def trained(monkeypatch):
    """Replaces training: returns run name -> accuracy or state, and the names as they ran."""
    accuracies, order = {}, []

    def run_all(some, say):
        for run in some:
            order.append(run.name)
            (run.folder / workdir.CHECKPOINTS).mkdir(parents=True, exist_ok=True)
            split = "test" if "final" in run.name else "validation"
            value = accuracies.get(run.name, 0.5)
            yield outcome(run, value) if isinstance(value, str) else outcome(run, **{split: value})

    monkeypatch.setattr(runs, "run_all", run_all)
    return accuracies, order


def test_each_task_is_chosen_trained_and_tested_once(plan, trained):
    accuracies, order = trained
    accuracies |= {"dtd: lr=0.1,steps=2500": 0.7, FINAL: 0.6}
    (result,) = vtab.run(plan, ["dtd"], print)
    assert order == [*(run.name for run in plan.candidates("dtd")), FINAL]
    assert (result.validation, result.test, result.state) == (0.7, 0.6, "finished")
    assert result.chosen.labels == {"lr": "0.1", "steps": "2500"}
    kept = [run.folder.name for run in plan.candidates("dtd") if list(run.folder.iterdir())]
    assert kept == []  # the checkpoints of the comparison are gone, those of the final run are not
    assert (plan.folder / "dtd" / FINAL.removeprefix("dtd: ") / workdir.CHECKPOINTS).is_dir()


def test_one_setting_is_not_compared_with_itself(plan, trained):
    alone = dataclasses.replace(plan, learning_rates=(0.01,), steps=(2500,))
    (result,) = vtab.run(alone, ["dtd"], print)
    assert trained[1] == ["dtd: final,lr=0.01,steps=2500"]
    assert (result.validation, result.test) == (None, 0.5)


def test_a_final_run_of_another_recipe_is_not_passed_off(plan):
    """Nor one of another setting: each has a folder of its own."""
    chosen = plan.candidates("dtd")
    finals = [plan.final("dtd", run) for run in chosen]
    assert len({run.folder for run in finals}) == len(chosen)
    (finals[0].folder / workdir.CHECKPOINTS / "00002500").mkdir(parents=True)
    config_lib.save(finals[0].config, finals[0].folder / workdir.CONFIG)
    vtab.check(plan, ["dtd"])
    smoothed = dataclasses.replace(
        plan, overrides=(*plan.overrides, "--config.objective.label_smoothing=0.1")
    )
    with pytest.raises(UserError, match=r"final,lr=.*label_smoothing=0\.0, not 0\.1"):
        vtab.check(smoothed, ["dtd"])


def test_a_run_that_fails_leaves_its_task_out(plan, trained):
    trained[0]["dtd: lr=0.01,steps=2500"] = runs.FAILED
    dtd, eurosat = vtab.run(plan, ["dtd", "eurosat"], print)
    assert (dtd.state, dtd.chosen, dtd.test) == (runs.FAILED, None, None)
    assert eurosat.test == 0.5
    assert not [name for name in trained[1] if name.startswith("dtd: final")]


def test_means_are_over_the_tasks_of_a_group(tmp_path):
    tests = {"dtd": 0.4, "svhn": 0.8, "eurosat": 0.9, "clevr_count": None}
    results = [vtab.Result(task, None, None, test, "finished") for task, test in tests.items()]
    rows = {row["group"]: (row["test"], row["tasks"]) for row in vtab.means(results)}
    assert rows == {
        "natural": (pytest.approx(0.6), "2 of 7"),
        "specialised": (0.9, "1 of 4"),
        "structured": (None, "0 of 8"),
        "all": (pytest.approx(0.7), "3 of 19"),
    }
    paths = vtab.write(results, tmp_path, "vit-jax vtab")
    assert "| natural" in paths[0].read_text()
    written = json.loads(paths[1].read_text())
    assert [row["test"] for row in written["tasks"]] == list(tests.values())


def test_tasks_by_name_pattern_and_group():
    everything = vtab.select("")
    assert len(everything) == 19
    assert [tasks_lib.TASKS.get(name).group for name in everything[:7]] == ["natural"] * 7
    assert vtab.select("clevr_*,dtd") == ["dtd", "clevr_count", "clevr_distance"]
    assert len(vtab.select("structured,specialised")) == 12
    with pytest.raises(UserError, match=r"unknown task or group 'clevr_cont'; did you mean"):
        vtab.select("clevr_cont")


def test_what_is_missing_comes_with_its_command(tmp_path, capsys):
    assert main(["vtab", "--list", f"--data-dir={tmp_path}"]) == 0
    lines = capsys.readouterr().out
    assert lines.count("not prepared: ") == 19
    for task in ("resisc45", "diabetic_retinopathy"):
        assert f"{tmp_path}/downloads/manual" in vtab.how_to_prepare(task, str(tmp_path))
    assert vtab.how_to_prepare("dtd", str(tmp_path)) == (
        'python -c "import tensorflow_datasets as tfds; '
        f"tfds.builder('dtd:3.*.*', data_dir='{tmp_path}', file_format='array_record')"
        '.download_and_prepare()"'
    )
    assert vtab.how_to_prepare("kitti_distance").startswith("pip install opencv-python-headless &&")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "vtab needs --checkpoint and --workdir, or --list"),
        (["--list", "--steps=10,x"], "--steps='10,x': write different numbers above 0"),
        (["--list", "--learning-rates=0.1,0.1"], "--learning-rates='0.1,0.1': write different"),
        (["--checkpoint=a", "--workdir=b", "--tasks=dtd"], "none of the tasks is prepared"),
    ],
)
def test_mistakes_are_one_line(arguments, message, capsys, tmp_path):
    assert main(["vtab", *arguments, f"--data-dir={tmp_path}"]) == 2
    assert message in capsys.readouterr().err


def eurosat(data_dir):
    """Prepares EuroSAT of 1400 tiny pictures that are dark or bright."""
    import_tensorflow()
    import tensorflow_datasets as tfds

    rng = np.random.default_rng(0)

    def examples():
        for i in range(1400):
            pixels = rng.integers(0, 100, (64, 64, 3), np.uint8) // 50 * 50 + 100 * (i % 2)
            yield i, {"image": pixels.astype(np.uint8), "label": i % 2, "filename": f"{i}.jpg"}

    with quiet():
        builder = tfds.builder("eurosat/rgb", data_dir=data_dir, file_format="array_record")
        builder._split_generators = lambda *_: {"train": examples()}
        builder.download_and_prepare()


def test_a_task_from_the_command_line_to_the_table(tmp_path, capsys):
    """Trains for real, from a checkpoint of random parameters."""
    eurosat(tmp_path / "data")
    source = tmp_path / "source"
    config = tiny_runs.tiny_config(model__num_classes=7)
    ops = parse(config.data.eval_ops)
    model = trained_lib.build_model(config, 7, ops)
    params = model.init(jax.random.key(0), np.zeros((1, 8, 8, 1), np.float32))["params"]
    trained_lib.save(source, params=params, config=config, class_names=(), ops=ops)
    command = ["vtab", f"--checkpoint={source}", f"--workdir={tmp_path / 'vtab'}"]
    command += [f"--data-dir={tmp_path / 'data'}", "--tasks=specialised", "--steps=30"]
    command += ["--learning-rates=0.1", "--config.train.batch_size=64"]
    assert main(command) == 0
    told = capsys.readouterr()
    assert "left out resisc45: not prepared" in told.err
    (row,) = json.loads((tmp_path / "vtab" / "vtab.json").read_text())["tasks"]
    assert (row["task"], row["lr"], row["steps"], row["state"]) == (
        "eurosat",
        "0.1",
        "30",
        "finished",
    )
    assert row["test"] > 0.9
    assert main(command) == 0
    assert "finished" in capsys.readouterr().out
