# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Every second has one kind, and what a restart costs is found from the starts before it."""

import contextlib
import json
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vit_jax import pictures
from vit_jax.training import goodput

SECONDS = {
    "start": 5.0,
    "compile": 20.0,
    "data_wait": 10.0,
    "step": 200.0,
    "evaluation": 30.0,
    "checkpoint": 4.0,
}


def start(began, first, last, *, done=False, **seconds):
    spent = dict.fromkeys(goodput.KINDS, 0.0) | seconds
    return goodput.Start(began, began + sum(spent.values()), first, last, done, spent)


class Hands:
    """A clock that is moved by hand."""

    def __init__(self):
        self.time = 100.0
        self.clock = goodput.Clock(lambda: self.time)

    def take(self, seconds):
        self.time += seconds


def test_time_belongs_to_the_innermost():
    hands = Hands()
    clock = hands.clock
    hands.take(1)
    with clock.during("step"):
        hands.take(2)
        with clock.during("data_wait"):
            hands.take(4)
            assert clock.seconds("data_wait") == 4
        hands.take(8)
        with contextlib.suppress(ValueError), clock.during("evaluation"):
            hands.take(16)
            raise ValueError
        assert clock.seconds("step") == 10
    hands.take(32)
    times = {kind: clock.seconds(kind) for kind in goodput.KINDS}
    expected = {"start": 33, "step": 10, "data_wait": 4, "evaluation": 16}
    assert times == dict.fromkeys(goodput.KINDS, 0) | expected


def test_what_is_repeated_and_what_is_between():
    """Cut at step 100, again at 70: from 40 on, 60 of the first start's 100 steps were repeated."""
    starts = [
        start(0, 0, 100, **SECONDS),
        start(1000, 60, 70, step=50.0),
        start(2000, 40, 200, done=True, step=100.0),
        start(9000, 200, 200, done=True, evaluation=3.0),
    ]
    accounts = goodput.account(starts)
    first, second, third, last = accounts
    assert (first["start"], first["compile"], first["down"]) == (5, 20, 0)
    assert first["step"] == pytest.approx(80)
    assert first["evaluation"] == pytest.approx(12)
    assert first["repeated"] == pytest.approx(0.6 * 244)
    assert (second["step"], second["repeated"]) == (0, 50)
    assert second["down"] == pytest.approx(1000 - 269)
    assert (third["step"], third["down"]) == (100, 2000 - 1050)
    assert (last["evaluation"], last["down"], last["repeated"]) == (3, 0, 0)
    spent = goodput.total(accounts)
    assert goodput.percent(spent) == pytest.approx(100 * 180 / sum(spent.values()))


counts = st.integers(0, 50)


@given(st.lists(st.tuples(counts, counts, st.integers(-5, 100)), min_size=1, max_size=6))
def test_no_second_is_lost_or_counted_twice(cuts):
    """Whatever was cut where: kinds, repetition and downtime add up to the time there was."""
    rng = np.random.default_rng(0)
    starts, now, reached = [], 0.0, 0
    for back, steps, pause in cuts:
        first = max(reached - back, 0)
        reached = first + steps
        now += pause  # clocks of two machines may differ: backwards counts as nothing
        starts.append(start(now, first, reached, **dict(zip(SECONDS, rng.random(6), strict=True))))
        now = starts[-1].seen
    for index, (spent, each) in enumerate(zip(goodput.account(starts), starts, strict=True)):
        pause = max(cuts[index][2], 0) if index else 0
        assert min(spent.values()) >= 0
        assert sum(spent.values()) == pytest.approx(sum(each.seconds.values()) + pause, abs=1e-6)
    assert sum(goodput.account(starts)[-1][kind] for kind in goodput.KINDS) == pytest.approx(
        sum(starts[-1].seconds.values())
    )


def test_a_start_goes_on_from_the_record_of_the_last(tmp_path):
    hands = Hands()
    hands.take(7)
    first = goodput.Goodput(tmp_path, hands.clock, step=0)
    with hands.clock.during("step"):
        hands.take(10)
    first.reached(20)
    assert goodput.read(tmp_path)[0].last == 0, "not due yet"
    first.reached(20, now=True)
    time.sleep(0.05)

    hands = Hands()
    second = goodput.Goodput(tmp_path, hands.clock, step=5)
    line = second.fields()
    assert line.keys() == set(goodput.FIELDS)
    assert line["wall_start_seconds"] == 7
    assert line["wall_step_seconds"] == pytest.approx(2.5)
    assert line["wall_repeated_seconds"] == pytest.approx(7.5)
    assert 0.05 <= line["wall_down_seconds"] < 5
    second.reached(25, now=True, done=True)
    text = goodput.describe(goodput.read(tmp_path))
    assert text.startswith("goodput 14.")
    assert "of 0:00:17 in 2 starts: start 41." in text
    third = goodput.Goodput(tmp_path, Hands().clock, step=25)
    assert third.fields()["wall_down_seconds"] == line["wall_down_seconds"], "it was over"


def test_only_the_active_process_keeps_it_and_damage_is_no_end(tmp_path):
    goodput.Goodput(tmp_path / "other", Hands().clock, step=0, active=False).reached(9, now=True)
    assert not (tmp_path / "other").exists()
    (tmp_path / goodput.FILE).write_text('{"starts": [')
    goodput.Goodput(tmp_path, Hands().clock, step=3)
    assert len(json.loads((tmp_path / goodput.FILE).read_text())["starts"]) == 1


def test_the_picture_shows_every_kind(tmp_path):
    """A bar a start; the colours on it are in the proportion of the seconds."""
    starts = [start(0, 0, 100, **SECONDS), start(300, 40, 200, **SECONDS)]
    accounts = goodput.account(starts)
    path = pictures.times(tmp_path / "goodput.png", accounts, goodput.describe(starts))
    pixels = pictures.matplotlib.image.imread(path)[..., :3]
    seen = {}
    for kind, colour in pictures._TIME_COLOURS.items():
        rgb = np.array(pictures.matplotlib.colors.to_rgb(colour))
        seen[kind] = (np.abs(pixels - rgb) < 2e-3).all(-1).sum()
    spent = goodput.total(accounts)
    for kind in ("step", "repeated", "down", "evaluation"):
        share = seen[kind] / sum(seen.values())
        assert share == pytest.approx(spent[kind] / sum(spent.values()), abs=0.02), kind
