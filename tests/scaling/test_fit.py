# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Known curves are found again, with honest intervals, and what cannot be known is refused."""

import math

import numpy as np
import pytest
from scipy import optimize

from vit_jax.errors import UserError
from vit_jax.scaling import fit as fit_lib
from vit_jax.scaling.laws import LAWS

COMPUTE = {"compute": np.logspace(-1, 4, 24)}
SIZES, DATA = np.meshgrid([5e6, 1e7, 2e7, 5e7, 8.6e7, 3e8], [1e6, 3e6, 1e7, 3e7, 1e8, 3e8])
GRID = {"parameters": SIZES.ravel(), "examples": DATA.ravel()}

CASES = {
    "power": (COMPUTE, {"a": 0.6, "b": 0.35}),
    "power_floor": (COMPUTE, {"a": 0.6, "b": 0.35, "c": 0.1}),
    "saturating": (COMPUTE, {"a": 0.6, "b": 0.35, "c": 0.1, "d": 1.0}),
    "parametric": (GRID, {"E": 1.2, "A": 40.0, "alpha": 0.25, "B": 600.0, "beta": 0.35}),
}


def written_out(name, columns, p):
    """The laws again, from the papers."""
    if name == "parametric":
        n, d = columns["parameters"], columns["examples"]
        return p["E"] + p["A"] / n ** p["alpha"] + p["B"] / d ** p["beta"]
    return p["a"] * (columns["compute"] + p.get("d", 0)) ** -p["b"] + p.get("c", 0)


@pytest.mark.parametrize("name", CASES)
def test_points_on_the_curve_give_its_parameters(name):
    columns, truth = CASES[name]
    assert set(CASES) == set(LAWS.names())
    found = fit_lib.fit(name, columns, written_out(name, columns, truth), resamplings=5)
    assert found.parameters == pytest.approx(truth, rel=1e-4)
    assert found.points == 24 if name != "parametric" else 36
    np.testing.assert_allclose(found.predict(columns), written_out(name, columns, truth), rtol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_noise_widens_the_intervals_around_the_truth(name):
    columns, truth = CASES[name]
    rng = np.random.default_rng(3)
    curve = written_out(name, columns, truth)
    widths = []
    for noise in (0.001, 0.01):
        values = curve * np.exp(noise * rng.standard_normal(len(curve)))
        found = fit_lib.fit(name, columns, values)
        assert found.spread == pytest.approx(noise, rel=0.6)
        low, high = np.array([found.intervals[p] for p in truth]).T
        assert (low < list(truth.values())).mean() >= 0.5
        widths.append(np.log(high / low))
        below, above = found.predict_interval(columns)
        assert ((below < curve * 1.02) & (curve < above * 1.02)).all()
    assert (widths[1] > 2 * widths[0]).all()


def test_an_interval_is_the_wider_one_at_either_end():
    draws = np.stack([np.linspace(0, 100, 1001), np.linspace(-1, 90, 1001)])
    low, high = fit_lib.interval(draws[..., None])
    assert low == pytest.approx(-1 + 0.025 * 91)
    assert high == pytest.approx(97.5)


def test_noise_at_one_end_widens_what_hangs_on_that_end():
    """Of a power law, the amplitude hangs on where the noise is; as much noise evenly does less."""
    columns, truth = CASES["power"]
    rng = np.random.default_rng(3)
    deviations = np.geomspace(0.08, 0.001, len(columns["compute"]))
    widths = []
    for noise in (deviations * rng.standard_normal(24), 0.01 * rng.standard_normal(24)):
        values = written_out("power", columns, truth) * np.exp(noise)
        low, high = fit_lib.fit("power", columns, values).intervals["a"]
        assert low < truth["a"] < high
        widths.append(math.log(high / low))
    assert widths[0] > 1.5 * widths[1]


@pytest.mark.slow
@pytest.mark.parametrize("noise", [(0.01, 0.01), (0.02, 0.005)], ids=["even", "falling"])
@pytest.mark.parametrize("name", CASES)
def test_intervals_hold_the_truth_in_nine_of_ten_trials(name, noise):
    """Nominally 95 %; of 200 trials at 1 % noise, or at noise that falls with scale."""
    columns, truth = CASES[name]
    rng = np.random.default_rng(0)
    curve, inside, refused = written_out(name, columns, truth), dict.fromkeys(truth, 0), 0
    scale = np.sum([np.log(x) for x in columns.values()], axis=0)
    deviations = np.exp(np.interp(scale, (scale.min(), scale.max()), np.log(noise)))
    for _ in range(200):
        values = curve * np.exp(deviations * rng.standard_normal(len(curve)))
        try:
            intervals = fit_lib.fit(name, columns, values).intervals
        except UserError:
            refused += 1
            continue
        for parameter, value in truth.items():
            inside[parameter] += intervals[parameter][0] <= value <= intervals[parameter][1]
    assert refused <= 6
    assert min(inside.values()) >= 0.9 * (200 - refused), inside


def test_the_minimum_is_scipys():
    """The same robust loss, minimised by another program from the same noisy points."""
    columns, truth = CASES["saturating"]
    rng = np.random.default_rng(5)
    values = written_out("saturating", columns, truth)
    values = values * np.exp(0.01 * rng.standard_normal(24))
    values[3] *= 1.3  # an outlier
    found = fit_lib.fit("saturating", columns, values, resamplings=2)

    def residuals(logs):
        p = dict(zip(truth, np.exp(logs), strict=True))
        return np.log(written_out("saturating", columns, p) / values)

    start = np.log(list(truth.values()))
    peer = optimize.least_squares(
        residuals, start, loss="huber", f_scale=1.345 * found.spread, xtol=1e-12, ftol=1e-12
    )
    assert found.parameters == pytest.approx(
        dict(zip(truth, np.exp(peer.x), strict=True)), rel=0.02
    )


@pytest.mark.parametrize(
    ("name", "columns", "values", "complaint"),
    [
        ("power_floor", {"compute": np.logspace(0, 2, 20)}, None, "do not determine c "),
        ("power", {"compute": np.ones(20)}, np.ones(20), "compute takes 1 values"),
        ("power", {"compute": np.arange(1, 4)}, np.arange(1, 4), "3 points cannot determine"),
        ("power", {"compute": np.arange(20)}, np.ones(20), "compute has others"),
    ],
)
def test_what_the_points_do_not_say_is_refused(name, columns, values, complaint):
    if values is None:  # a straight line in logarithms: no floor in sight
        noise = np.random.default_rng(0).standard_normal(20)
        values = 0.6 * columns["compute"] ** -0.35 * np.exp(0.02 * noise)
    with pytest.raises(UserError, match=complaint):
        fit_lib.fit(name, columns, values)


def test_the_largest_points_are_predicted_from_the_others():
    columns, truth = CASES["saturating"]
    values = written_out("saturating", columns, truth)
    largest = columns["compute"] > 1e3
    held = fit_lib.hold_out("saturating", columns, values, largest, resamplings=2)
    assert held.fit.points == 24 - largest.sum()
    np.testing.assert_allclose(held.observed, values[largest])
    np.testing.assert_allclose(held.relative_errors, 0, atol=1e-4)


def test_compute_optimal_is_the_minimum_of_a_scan():
    law, truth = LAWS.get("parametric"), CASES["parametric"][1]
    for compute in (1e15, 1e19):
        size, examples = fit_lib.compute_optimal(truth, np.array(compute), 1200.0)
        assert size * examples * 1200 == pytest.approx(compute)
        sizes = size * np.logspace(-2, 2, 2001)
        losses = law({"parameters": sizes, "examples": compute / 1200 / sizes}, truth)
        assert sizes[np.argmin(losses)] == pytest.approx(size, rel=0.01)
