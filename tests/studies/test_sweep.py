# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""A sweep: its grid, its refusals, its choice by validation alone, the command from end to end."""

import csv
import itertools
import math

import numpy as np
import pytest
import tiny_runs
from hypothesis import given
from hypothesis import strategies as st

from vit_jax import cli, exits
from vit_jax.config import FIELDS
from vit_jax.studies import runs, sweep, sweep_report
from vit_jax.studies.runs import Outcome

RECIPE = tiny_runs.RECIPE


def test_axes_and_the_rest():
    axes, fixed = sweep.parse_axes(
        [
            "--sweep.seed=0,1",
            "--config.model.scan=true",
            "--sweep.optimiser.learning_rate=0.1, 1e-2",
        ]
    )
    assert axes == {"seed": ["0", "1"], "optimiser.learning_rate": ["0.1", "1e-2"]}
    assert fixed == ("--config.model.scan=true",)


def test_commas_in_brackets_belong_to_the_value():
    ops = "decode|random_crop(8, padding=1)|normalise(half)"
    axes, _ = sweep.parse_axes(
        [f"--sweep.data.train_ops={ops},decode|resize(8)", "--sweep.optimiser.freeze=(),('a','b')"]
    )
    assert axes["data.train_ops"] == [ops, "decode|resize(8)"]
    assert axes["optimiser.freeze"] == ["()", "('a','b')"]


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        (["--config.seed=1"], "nothing is swept"),
        (["--sweep.seed=0,1", "--sweep.seed=2"], "--sweep.seed is given twice"),
        (["--sweep.seed=0,1,0"], "'0' is there twice"),
        (["--sweep.seed"], "has no values; write --sweep.seed=value,value"),
        (["--sweep.seed=0,1", "--config.seed=2"], "both given"),
        (["--sweep.sede=0,1"], "unknown config field 'sede'; did you mean 'seed'"),
        (["--sweep.optimiser.learning_rate=0.1,"], "optimiser.learning_rate: '' is not of type"),
        (["--sweep.optimiser.learning_rate=0.1,-1"], "-1.0 is impossible"),
        (["--sweep.seed=0,1", "--config.data.validation_split="], "a sweep chooses by it"),
        (["--sweep.data.source=folder:a/b,folder:a_b"], "share "),
        (["--sweep.data.data_dir=" + "x" * 300], "too long for the name of a folder"),
        (["--swep.seed=0,1"], "unknown argument '--swep.seed=0,1'"),
    ],
)
def test_mistakes_are_refused_before_anything_is_written(overrides, complaint, tmp_path, capsys):
    command = ["sweep", f"--config={RECIPE}", f"--workdir={tmp_path / 'sweep'}"]
    assert cli.main([*command, *overrides]) == exits.USER_ERROR
    output = capsys.readouterr()
    assert complaint in output.err
    assert output.err.count("\n") == 1
    assert not (tmp_path / "sweep").exists()


def test_the_grid_is_every_combination_in_folders_of_their_own(tmp_path):
    axes = {
        "seed": ["0", "1"],
        "optimiser.learning_rate": ["0.1", "0.01"],
        "model.overrides.width": ["32", "64"],
    }
    made = sweep.grid(RECIPE, tmp_path, axes, ("--config.train.batch_size=16",))
    assert len(made) == len({run.folder for run in made}) == 8
    assert made[0].folder == tmp_path / "seed=0,learning_rate=0.1,width=32"
    assert made[1].name == "seed=0,learning_rate=0.1,width=64"
    found = {
        (r.config.seed, r.config.optimiser.learning_rate, r.config.model.overrides.width)
        for r in made
    }
    assert found == set(itertools.product((0, 1), (0.1, 0.01), (32, 64)))
    assert {run.config.train.batch_size for run in made} == {16}


@given(st.lists(st.sampled_from(sorted(FIELDS)), min_size=1, unique=True))
def test_short_names_are_endings_that_tell_fields_apart(fields):
    names = sweep.short_names(fields)
    assert len(set(names.values())) == len(fields)
    for field, name in names.items():
        assert field == name or field.endswith("." + name)


def test_short_names_are_as_short_as_can_be():
    assert sweep.short_names(["optimiser.name", "model.name", "seed"]) == {
        "optimiser.name": "optimiser.name",
        "model.name": "model.name",
        "seed": "seed",
    }
    assert sweep.short_names(["optimiser.learning_rate"]) == {
        "optimiser.learning_rate": "learning_rate"
    }


def outcomes(tmp_path, table, states=None, mode="max", metric="accuracy"):
    """Returns an outcome a run of a sweep over rates and seeds; `table[rate]` has one a seed."""
    axes = {"optimiser.learning_rate": list(table), "seed": ["0", "1", "2"]}
    fixed = (f"--config.checkpoint.best_mode={mode}", f"--config.checkpoint.best_metric={metric}")
    made = sweep.grid(RECIPE, tmp_path, axes, fixed)
    values = [value for row in table.values() for value in row]
    states = states or [runs.FINISHED] * len(made)
    return [
        Outcome(
            run,
            state,
            {
                "validation": {"step": 9, metric: value},
                "test": {"step": 9, metric: 1 - value},
            },
            60.0,
        )
        for run, value, state in zip(made, values, states, strict=True)
    ]


@pytest.mark.parametrize(("mode", "metric"), [("max", "accuracy"), ("min", "loss")])
def test_the_best_mean_over_seeds_is_chosen(tmp_path, mode, metric):
    random = np.random.default_rng()
    rates = ["0.1", "0.01", "0.001", "0.0001"]
    table = {rate: random.uniform(size=3).tolist() for rate in rates}
    found = sweep.collect(outcomes(tmp_path, table, mode=mode, metric=metric))
    means = {rate: np.mean(values) for rate, values in table.items()}
    best_first = sorted(rates, key=means.__getitem__, reverse=mode == "max")
    assert [setting.labels["learning_rate"] for setting in found.settings] == best_first
    for row, rate in zip(sweep_report.rows(found), best_first, strict=True):
        assert row[f"validation {metric}"] == pytest.approx(means[rate])
        assert row["spread"] == pytest.approx(np.std(table[rate], ddof=1))
        assert row["seeds"] == 3
        assert row["minutes"] == 3.0
    text = sweep_report.choice(found)
    assert f"learning_rate={best_first[0]}" in text
    test = 1 - np.asarray(table[best_first[0]])
    assert f"Test {metric}: {test.mean():.4f} +- {test.std(ddof=1):.4f}." in text


def test_test_results_of_what_was_not_chosen_are_nowhere(tmp_path):
    table = {"0.1": [0.9, 0.9, 0.9], "0.01": [0.123456, 0.123457, 0.123458]}
    found = sweep.collect(outcomes(tmp_path, table))
    paths = sweep_report.write(found, tmp_path / "out", "vit-jax sweep ...")
    texts = [path.read_text() for path in paths[:2]] + [sweep_report.text(found)]
    for text in texts:
        assert "0.8765" not in text
    assert "Test accuracy: 0.1000 +- 0.0000." in texts[1]


def test_a_setting_that_is_not_complete_is_not_chosen(tmp_path):
    """Its mean is over other seeds; the runs that finished stay in the table."""
    table = {"0.1": [0.9, 0.9, 0.9], "0.01": [0.2, 0.2, 0.2]}
    states = [runs.FINISHED, runs.DIVERGED, runs.FINISHED] + [runs.FINISHED] * 3
    found = sweep.collect(outcomes(tmp_path, table, states))
    assert found.chosen is not None
    assert found.chosen.labels == {"learning_rate": "0.01"}
    last = sweep_report.rows(found)[-1]
    assert last["state"] == "2 finished, 1 diverged"
    assert last["validation accuracy"] == pytest.approx(0.9)
    assert sweep_report.status(found) == 0
    failed = sweep.collect(outcomes(tmp_path, table, [runs.FAILED] * 6))
    assert failed.chosen is None
    assert "Nothing is chosen" in sweep_report.text(failed)
    assert sweep_report.status(failed) == 1


def test_spread_of_one_is_unknown():
    assert math.isnan(sweep.spread([0.5]))
    assert math.isnan(sweep.mean([]))


def test_files_hold_the_table(tmp_path):
    table = {"0.1": [0.9, 0.8, 0.7], "0.01": [0.2, 0.3, 0.4]}
    found = sweep.collect(outcomes(tmp_path, table))
    paths = sweep_report.write(found, tmp_path / "out", "vit-jax sweep --a=b")
    with paths[0].open() as file:
        read = list(csv.DictReader(file))
    assert [row["learning_rate"] for row in read] == ["0.1", "0.01"]
    assert float(read[0]["validation accuracy"]) == pytest.approx(0.8)
    text = paths[1].read_text()
    assert "`vit-jax sweep --a=b`" in text
    assert all(f"learning_rate={rate},seed={seed}" in text for rate in table for seed in range(3))
    assert paths[2].stat().st_size > 5_000


def test_from_end_to_end(tmp_path, capsys, monkeypatch):
    """Two rates of which one diverges; the second call repeats nothing."""
    folder = tmp_path / "sweep"
    command = ["sweep", f"--config={RECIPE}", f"--workdir={folder}"]
    command += ["--sweep.optimiser.learning_rate=0.001,1e38", "--config.optimiser.clip_norm=0"]
    short = {
        "train.duration": "4 steps",
        "schedule.warmup": "0 steps",
        "train.max_nonfinite_steps": 2,
        "evaluation.every": "2 steps",
        "log.every_steps": 1,
    }
    command += [f"--config.{field}={value}" for field, value in short.items()]
    assert cli.main([*command, "--dry-run"]) == 0
    assert capsys.readouterr().out.count("new") == 2
    assert not folder.exists()

    assert cli.main(command) == 0
    output = capsys.readouterr().out
    assert "[1/2] learning_rate=0.001: step 2, validation accuracy 0." in output
    assert "[2/2] learning_rate=1e38: diverged after" in output
    assert "Chosen: learning_rate=0.001 (highest validation accuracy)." in output
    record = tiny_runs.record(folder / "learning_rate=0.001")
    by_split = {line["split"]: line for line in record}
    assert f"Test accuracy: {by_split['test']['accuracy']:.4f}." in output
    with (folder / "sweep.csv").open() as file:
        best, worst = csv.DictReader(file)
    assert float(best["validation accuracy"]) == by_split["validation"]["accuracy"]
    assert (worst["state"], worst["validation accuracy"]) == ("diverged", "")

    monkeypatch.setattr(runs, "execute", lambda *_: pytest.fail("a run is repeated"))
    assert cli.main(command) == 0
    assert "[2/2] learning_rate=1e38: diverged\n" in capsys.readouterr().out
