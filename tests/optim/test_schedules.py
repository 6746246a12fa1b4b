# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Schedules against their formulas in float64, and the properties all of them share."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vit_jax.config import default_config
from vit_jax.errors import UserError
from vit_jax.optim import SCHEDULES, create_schedule


def make(name, total, warmup, cooldown, *, peak=0.3, end=0.0, timescale=50):
    config = default_config()
    config.optimiser.learning_rate = peak
    config.schedule.name = name
    config.schedule.end_fraction = end
    config.schedule.timescale_steps = timescale
    return create_schedule(config, total, warmup, cooldown)


def reference(name, step, total, warmup, cooldown, peak, end, timescale):
    """The formula at the head of the module, one step at a time, in Python floats."""

    def decay(t):
        length = max(total - warmup, 1)
        progress = (t - warmup) / length
        return {
            "constant": 1.0,
            "linear": 1 - (1 - end) * progress,
            "cosine": end + (1 - end) * (1 + math.cos(math.pi * progress)) / 2,
            "rsqrt": math.sqrt(timescale / (timescale + t - warmup)),
        }[name]

    step = min(step, total)
    if step < warmup:
        return peak * step / warmup
    if cooldown and step >= total - cooldown:
        start = decay(total - cooldown)
        end = min(end, start)
        return peak * (start + (end - start) * (step - total + cooldown) / cooldown)
    return peak * decay(step)


phases = st.tuples(st.integers(1, 2000), st.floats(0, 1), st.floats(0, 1)).map(
    lambda t: (t[0], int(t[0] * t[1]), int((t[0] - int(t[0] * t[1])) * t[2]))
)
thorough = settings(max_examples=60, deadline=None, derandomize=True)
names = st.sampled_from(SCHEDULES.names())


@thorough
@given(names, phases, st.floats(0, 1), st.floats(1e-6, 10), st.integers(1, 500))
def test_closed_form(name, phases, end, peak, scale):
    total, warmup, cooldown = phases
    schedule = make(name, total, warmup, cooldown, peak=peak, end=end, timescale=scale)
    late = total - cooldown
    edges = [0, warmup - 1, warmup, warmup + 1, late - 1, late, total - 1, total, 2 * total]
    steps = np.maximum([*edges, total // 2, total // 3], 0)
    expected = [reference(name, int(t), *phases, peak, end, scale) for t in steps]
    np.testing.assert_allclose(schedule(jnp.asarray(steps)), expected, rtol=2e-5, atol=2e-6 * peak)


@thorough
@given(names, phases, st.floats(0, 1))
def test_rises_in_a_straight_line_to_the_peak_then_never_rises_again(name, phases, end):
    total, warmup, cooldown = phases
    schedule = make(name, total, warmup, cooldown, peak=1.0, end=end)
    rates = np.asarray(schedule(jnp.arange(2001)))
    assert rates.dtype == np.float32
    assert (rates >= 0).all()
    np.testing.assert_allclose(rates[:warmup], np.arange(warmup) / max(warmup, 1), rtol=1e-5)
    assert rates[warmup] == pytest.approx(1.0)
    assert (np.diff(rates[warmup:]) <= 1e-6).all()


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_ends_at_end_fraction(name):
    assert float(make(name, 100, 10, 0, peak=2.0, end=0.25)(100)) == pytest.approx(0.5)


@pytest.mark.parametrize("name", SCHEDULES.names())
def test_cooldown_ends_at_end_fraction_in_a_straight_line(name):
    rates = np.asarray(make(name, 100, 10, 20, peak=1.0, end=0.1)(jnp.arange(80, 101)))
    np.testing.assert_allclose(rates[-1], 0.1, rtol=1e-5)
    np.testing.assert_allclose(np.diff(rates, 2), 0, atol=1e-6)


def test_million_step_runs_keep_their_precision():
    schedule = make("linear", 10_000_000, 0, 0, peak=1.0)
    rates = np.asarray(schedule(jnp.arange(5_000_000, 5_000_100)))
    np.testing.assert_allclose(rates, 1 - np.arange(5_000_000, 5_000_100) / 1e7, rtol=3e-7)


def test_refuses_phases_longer_than_the_run():
    with pytest.raises(UserError, match=r"60 \+ 50 steps are more than the 100 steps"):
        make("cosine", 100, 60, 50)


def test_unknown_name_has_near_miss():
    with pytest.raises(UserError, match="did you mean 'cosine'"):
        make("cosin", 100, 0, 0)
