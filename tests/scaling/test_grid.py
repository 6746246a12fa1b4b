# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Studies: axes that become runs, and every mistake in one line before the first of them."""

import pathlib

import pytest
import tiny_runs

from vit_jax.errors import UserError
from vit_jax.scaling import study
from vit_jax.scaling.study import Axes, Study, seeds

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"
DIGITS = str(CONFIGS / "digits.py")
AXES: Axes = {
    "width": {"narrow": {"model.overrides.width": 16}, "wide": {"model.overrides.width": 48}},
    "rate": {"low": {"optimiser.learning_rate": 1e-4}, "high": {"optimiser.learning_rate": 1e-2}},
    "seed": seeds(2),
}


def written(tmp_path, body):
    """A file with a study that returns `body`."""
    path = tmp_path / "mine.py"
    path.write_text(
        "from vit_jax.scaling.study import FewShot, Study, seeds\n"
        f"def get_study(arg=None):\n    return {body}\n"
    )
    return str(path)


def test_the_grid_is_the_product_and_the_last_axis_is_the_inner(tmp_path):
    found = study.points(Study(tiny_runs.RECIPE, AXES), tmp_path)
    names = [point.run.name for point in found]
    assert len(names) == 8
    assert names[:3] == [
        "width=narrow,rate=low,seed=0",
        "width=narrow,rate=low,seed=1",
        "width=narrow,rate=high,seed=0",
    ]
    run = found[-1].run
    assert (run.config.model.overrides.width, run.config.optimiser.learning_rate) == (48, 1e-2)
    assert run.config.seed == 1
    assert run.labels == {"width": "wide", "rate": "high", "seed": "1"}
    assert run.folder == tmp_path / run.name
    assert {point.split for point in found} == {"test"}


def test_labels_choose_arguments_of_the_recipe_too(tmp_path):
    axes: Axes = {"split": {part: {"recipe.split": part} for part in ("final", "choose")}}
    for recipe in (DIGITS, f"{DIGITS}:split=final"):
        final, choose = study.points(Study(recipe, axes), tmp_path)
        assert final.run.config.data.train_split == "train+validation"
        assert choose.run.config.data.train_split == "train"
        assert (final.split, choose.split) == ("test", "validation")


def test_a_label_may_choose_another_recipe(tmp_path):
    axes: Axes = {
        "kind": {"digits": {"recipe": f"{DIGITS}:split=choose"}, "tiny": {"model.remat": "full"}},
        "seed": seeds(1),
    }
    digits, tiny = study.points(Study(tiny_runs.RECIPE, axes), tmp_path)
    assert digits.run.recipe == f"{DIGITS}:split=choose"
    assert digits.run.overrides == ("--config.seed=0",)
    assert tiny.run.recipe == tiny_runs.RECIPE


def test_a_label_may_say_what_stands_in_the_table(tmp_path):
    axes: Axes = {"size": {"S": {"column.family": "hybrid", "column.patch": 4}, "B": {"seed": 1}}}
    small, base = study.points(Study(tiny_runs.RECIPE, axes), tmp_path)
    assert small.texts == {"family": "hybrid", "patch": "4", "size": "S"}
    assert base.texts == {"size": "B"}
    assert small.run.overrides == ()


def test_a_whole_field_goes_ahead_of_its_keys(tmp_path):
    axes: Axes = {
        "depth": {"1": {"model.overrides.depth": 1}},
        "model": {"small": {"model.overrides": {"patch_size": 4, "width": 8, "num_heads": 1}}},
    }
    (point,) = study.points(Study(tiny_runs.RECIPE, axes), tmp_path)
    overrides = point.run.config.model.overrides.to_dict()
    assert overrides == {"patch_size": 4, "width": 8, "num_heads": 1, "depth": 1}


def test_the_command_line_and_the_study_change_every_run(tmp_path):
    found = study.points(
        Study(tiny_runs.RECIPE, AXES, fields={"train.duration": "70 steps"}),
        tmp_path,
        ["--config.train.batch_size=16"],
    )
    assert {p.run.config.train.duration for p in found} == {"70 steps"}
    assert {p.run.config.train.batch_size for p in found} == {16}


def test_what_is_left_out_matches_all_that_is_said(tmp_path):
    leave_out = ({"width": "wide", "rate": ("low", "high"), "seed": "1"}, {"rate": "low"})
    found = study.points(Study(tiny_runs.RECIPE, AXES, leave_out=leave_out), tmp_path)
    left = [tuple(point.run.labels.values()) for point in found]
    assert left == [("narrow", "high", "0"), ("narrow", "high", "1"), ("wide", "high", "0")]


def test_only_chooses_by_label(tmp_path):
    found = study.points(Study(tiny_runs.RECIPE, AXES), tmp_path)

    def names(*only):
        return [point.run.name for point in study.select(found, AXES, only)]

    assert len(names()) == 8
    assert names("width=wide", "rate=low", "seed=1") == ["width=wide,rate=low,seed=1"]
    assert len(names("seed=0", "seed=1", "rate=high")) == 4
    for only, error in (
        ("widht=wide", "no axis 'widht'; did you mean 'width'"),
        ("width=wid", "axis 'width' has no label 'wid'; did you mean 'wide'"),
        ("wide", "--only=wide: write --only axis=label"),
    ):
        with pytest.raises(UserError, match=error):
            names(only)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("{}", "get_study returned dict, not a Study"),
        ("Study('x.py')", "mine.py, line 3: TypeError"),
        ("Study('x.py', axes={})", "has no axes"),
        ("Study('x.py', axes={'a b': {'x': {}}})", "axis 'a b': write letters"),
        ("Study('x.py', axes={'steps': {'x': {}}})", "axis 'steps' is a column of the table"),
        ("Study('x.py', axes={'a': {}})", "axis 'a' has no labels"),
        ("Study('x.py', axes={'a': {'x': 3}})", "axis 'a': 'x': 3 is not a label with its fields"),
        (
            "Study('x.py', axes={'a': {'x': {'seed': 1}}, 'seed': seeds(1)})",
            "'a' and 'seed' both set seed",
        ),
        (
            "Study('x.py', axes={'seed': seeds(1)}, fields={'seed': 3})",
            "'fields' and 'seed' both set seed",
        ),
        ("Study('x.py', axes={'a': {'x': {'column.loss': 1}}})", "'loss' is no column of texts"),
        ("Study('x.py', axes={'seed': seeds(1)}, share='sed')", "is no axis; did you mean 'seed'"),
        ("Study(3, axes={'seed': seeds(1)})", "recipe=3 is no text"),
        ("Study('x.py', axes=[16, 32])", r"axes=\[16, 32\] is no dictionary"),
        ("Study('x.py', axes={'a': [16, 32]})", r"axis 'a': \[16, 32\] is no dictionary"),
        ("Study('x.py', axes={'seed': seeds(1)}, few_shot=5)", r"few_shot=5; write FewShot\(5\)"),
        (
            "Study('x.py', axes={'seed': seeds(1)}, leave_out=({'seed': '0'}))",
            "is one choice; write a list",
        ),
        (
            "Study('x.py', axes={'seed': seeds(1)}, leave_out=({'seed': 0},))",
            "leave_out: axis 'seed' has no label 0",
        ),
        (
            "Study('x.py', axes={'seed': seeds(1)}, leave_out=({'seed': '1'},))",
            "leave_out: axis 'seed' has no label '1'",
        ),
    ],
)
def test_a_study_that_cannot_be_is_refused_in_a_line(tmp_path, body, error):
    with pytest.raises(UserError, match=error) as refusal:
        study.load(written(tmp_path, body))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        (
            {"axes": {"a": {"x": {"train.batchsize": 3}}}},
            "a=x: unknown config field 'train.batchsize'; did you mean 'batch_size'",
        ),
        ({"axes": {"a": {"x": {"train.batch_size": 0}}}}, "a=x: train.batch_size: 0 is impossible"),
        (
            {"recipe": DIGITS, "axes": {"a": {"x": {"recipe.size": 1}}}},
            "unknown recipe argument 'size'; known: split",
        ),
        ({"axes": {"a": {"x": {}, "y": {}}}}, "'a=x' and 'a=y' are the same run"),
        (
            {"axes": {"a": {"x!": {}, "x?": {"seed": 1}}}},
            r"'a=x!' and 'a=x\?' share a folder",
        ),
        ({"axes": {"a": {"x" * 300: {}}}}, "too long for the name of a folder"),
        ({"recipe": "nowhere.py"}, "config 'nowhere.py' does not exist"),
        ({"leave_out": ({},)}, "leaves no point"),
        (
            {"fields": {"data.test_split": "", "data.validation_split": ""}},
            "width=narrow,.*: no data to measure",
        ),
    ],
)
def test_a_run_that_cannot_be_is_refused_before_the_first(tmp_path, changes, error):
    with pytest.raises(UserError, match=error):
        study.points(Study(**{"recipe": tiny_runs.RECIPE, "axes": AXES} | changes), tmp_path)


def test_a_study_is_called_after_its_file(tmp_path):
    body = "Study('x.py', axes={'seed': seeds(3)})"
    assert study.load(written(tmp_path, body)).name == "mine"
    with pytest.raises(UserError, match=r"has no function get_study\(arg=None\)"):
        study.load(tiny_runs.RECIPE)
