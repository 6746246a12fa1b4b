# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""A law is fitted to a table, tried on the largest points and reported, through the command too."""

import json

import numpy as np
import pytest

from vit_jax import cli
from vit_jax.errors import UserError
from vit_jax.scaling import analysis, fit, points, table
from vit_jax.scaling.analysis import Question

LOSS = {"E": 1.2, "A": 40.0, "alpha": 0.25, "B": 600.0, "beta": 0.35}


def rows(noise=0.01, seeds=2):
    """A study of 6 sizes and 5 durations; the loss of Hoffmann's law, error a law of compute."""
    rng = np.random.default_rng(7)
    for family, worse in (("ViT", 1.0), ("Mixer", 1.3)):
        for size in np.geomspace(5e6, 3e8, 6):
            for seen in np.geomspace(1e6, 3e8, 5):
                for seed in range(seeds):
                    error = np.exp(noise * rng.standard_normal())
                    flops = 600.0 * size * seen
                    loss = LOSS["E"] + LOSS["A"] * size**-0.25 + LOSS["B"] * seen**-0.35
                    yield {
                        "family": family, "model": f"{family}-{size:.0f}", "parameters": size,
                        "flops": flops, "images_seen": seen, "examples": 1e6, "seed": seed,
                        "loss": loss * error, "error": worse * 0.5 * (flops / 1e15) ** -0.1 * error,
                    }  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    table.write(list(rows()), folder)
    return folder


def test_seeds_are_averaged_before_the_fit(study):
    found = points.choose(table.read(study), ["family=ViT"])
    answer = analysis.ask(found, Question("parametric", "loss"))
    gathered = points.gather(found, "loss", "parameters", "images_seen")
    columns = {"parameters": gathered.mean("parameters"), "examples": gathered.mean("images_seen")}
    peer = fit.fit("parametric", columns, gathered.mean("loss"))
    assert answer.fit.points == 30
    assert answer.fit.parameters == peer.parameters
    for name, value in LOSS.items():
        low, high = answer.fit.intervals[name]
        assert low * 0.97 < value < high * 1.03


def test_the_best_use_of_compute_follows_from_the_points(study):
    found = points.choose(table.read(study), ["family=ViT"])
    best = analysis.ask(found, Question("parametric", "loss")).allocation
    assert best.flops_per_parameter == pytest.approx(600)
    assert best.exponents["parameters"][0] + best.exponents["examples"][0] == pytest.approx(1)
    value, low, high = best.exponents["parameters"]
    assert low < value < high
    assert low < 0.35 / 0.6 < high
    assert best.budgets[0] >= 5e6 * 1e6 * 600
    np.testing.assert_allclose(
        best.optimal["parameters"][:, 0] * best.optimal["examples"][:, 0] * 600, best.budgets
    )
    inside = best.optimal["value"]
    assert ((inside[:, 1] <= inside[:, 0]) & (inside[:, 0] <= inside[:, 2])).all()


@pytest.mark.parametrize("known", [True, False], ids=["empty", "missing"])
def test_flops_that_were_not_counted_are_six_a_parameter_and_image(study, known):
    found = points.choose(table.read(study), ["family=ViT"])
    values = {name: column for name, column in found.values.items() if name != "flops"}
    if known:
        values["flops"] = np.full(len(found), np.nan)
    best = analysis.ask(table.Table(values), Question("parametric", "loss")).allocation
    assert best.flops_per_parameter == pytest.approx(6)


def test_where_data_repeat_no_compute_is_shared_out(study):
    found = table.read(study)
    data = table.Table({**found.values, "examples": found.column("images_seen") / 3})
    data = points.choose(data, ["family=ViT"])
    answer = analysis.ask(data, Question("parametric", "loss", examples="examples"))
    assert answer.allocation is None


@pytest.mark.parametrize(("asked", "count"), [(3, 3), (0.1, 3), (0.5, 15)])
def test_the_largest_points_are_held_out(study, asked, count):
    found = points.choose(table.read(study), ["family=ViT"])
    answer = analysis.ask(found, Question("power", hold_out=asked))
    compute = answer.points.mean("flops")
    assert set(answer.largest) == set(np.argsort(compute)[-count:])
    np.testing.assert_allclose(
        answer.held_out.observed, answer.points.mean("error")[answer.largest]
    )
    assert np.abs(answer.held_out.relative_errors).max() < 0.05


def test_only_the_frontier_counts_if_asked(study):
    answer = analysis.ask(table.read(study), Question("power", on_frontier=True))
    families = points.texts(answer.points.table.take(answer.fitted), "family")
    assert set(families) == {"ViT"}
    assert set(answer.fitted) == set(answer.frontier)
    assert answer.fit.parameters["b"] == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize(
    ("question", "complaint"),
    [
        (Question("power", "accuracy"), "accuracy rises; fit --value=error"),
        (Question("pwer"), "unknown scaling law 'pwer'; did you mean 'power'"),
        (Question("power", "eror"), "no column 'eror'; did you mean 'error'"),
        (Question("power", "few_shot_error"), "no row has a number for few_shot_error"),
        (Question("power", compute="family"), "'family' holds texts"),
        (Question("power", hold_out=2.5), "--hold-out=2.5: give a number of points"),
        (Question("power", hold_out=-1), "--hold-out=-1: give a number"),
        (Question("power", hold_out=float("inf")), "--hold-out=inf: give a number"),
        (Question("power", hold_out=float("nan")), "--hold-out=nan: give a number"),
        (
            Question("power", hold_out=1000),
            r"--hold-out=1000: there are \d+ points; hold out fewer",
        ),
        (Question("parametric", "loss", on_frontier=True), "--frontier is for laws of compute"),
        (Question("saturating"), "do not determine"),
    ],
)
def test_what_cannot_be_answered_is_said(study, question, complaint):
    with pytest.raises(UserError, match=complaint):
        analysis.ask(table.read(study), question)


def test_the_command_prints_and_writes_what_it_found(study, tmp_path, capsys):
    words = ["scaling", "fit", str(study), "--law=power", "--by=family", "--hold-out=2"]
    assert cli.main([*words, f"--to={tmp_path}/fits"]) == 0
    printed = capsys.readouterr().out
    assert "== family ViT ==" in printed
    assert "== family Mixer ==" in printed
    assert "30 points of 60 rows, seeds averaged" in printed
    assert "Fitted without them, the 2 largest points are off by" in printed
    assert "The frontier, points that no cheaper one beats" in printed
    assert (tmp_path / "fits/fit.txt").read_text() == printed
    assert cli.main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads((tmp_path / "fits/fit.json").read_text())
    fitted = found["family ViT"]
    assert fitted["columns"] == {"compute": "flops"}
    assert fitted["parameters"]["b"] == pytest.approx(0.1, rel=0.03)
    assert fitted["intervals"]["b"][0] < 0.1 < fitted["intervals"]["b"][1]
    assert len(fitted["held_out"]["predicted"]) == 2
    assert fitted["frontier"][0]["family"] == "ViT"


def test_the_command_shares_compute_out(study, capsys):
    words = ["scaling", "fit", str(study), "--law=parametric", "--value=loss"]
    assert cli.main([*words, "--where", "family=ViT"]) == 0
    printed = capsys.readouterr().out
    assert "Best use of compute, C = 600 N D as in these points: N grows as C^0.5" in printed
    assert cli.main([*words, "--where", "family=ViT", "--json"]) == 0
    best = json.loads(capsys.readouterr().out)[""]["compute_optimal"]
    assert len(best["flops"]) == len(best["parameters"])


def test_a_refusal_is_one_line_and_stops_only_its_own_group(study, tmp_path, capsys):
    assert cli.main(["scaling", "fit", str(study), "--law=saturating"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "the points do not determine" in error
    few = [row for row in rows() if row["family"] == "ViT" or row["images_seen"] < 2e6][:-8]
    table.write(few, tmp_path)
    assert cli.main(["scaling", "fit", str(tmp_path), "--law=power", "--by=family"]) == 0
    printed = capsys.readouterr().out
    assert "measure at least 4" in printed
    assert "a C^-b with C = flops" in printed
