# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Workers in their own processes, their turns, and the arithmetic of ratios."""

import io
import json
import pathlib
import time

import pytest

from vit_jax.benchmark import worker
from vit_jax.benchmark.process import Launch, Worker
from vit_jax.benchmark.rounds import Spread, measure, ratios
from vit_jax.errors import UserError

FAKE = pathlib.Path(__file__).with_name("fake_contender.py")


def fake(diary, mark="a", seconds=0.0, fault="", **options):
    job = {"diary": str(diary), "mark": mark, "seconds": seconds, "fault": fault}
    return Launch(f"fake {mark}", FAKE, job, **options)


def test_protocol(tmp_path):
    job = dict(fake(tmp_path / "diary").job)
    requests = [job, {"run": 3}, {"facts": True}]
    replies = io.StringIO()
    worker.serve(str(FAKE), io.StringIO("\n".join(map(json.dumps, requests)) + "\n"), replies)
    ready, timed, facts = map(json.loads, replies.getvalue().splitlines())
    assert ready == {"ready": True}
    assert timed.keys() == {"seconds", "cpu_seconds"}
    assert facts == {"framework": "fake", "mark": "a"}
    assert (tmp_path / "diary").read_text() == "a1 a3 "


def test_idle_seconds_do_not_count():
    class Waiting:
        def run(self, steps):
            time.sleep(0.05 * steps)
            return 0.04 * steps

    timed = worker.timed_run(Waiting(), 4)
    assert 0.04 <= timed["seconds"] < 0.12
    assert timed["cpu_seconds"] < 0.04


def test_turns_alternate(tmp_path):
    diary = tmp_path / "diary"
    timings = measure([fake(diary, "a", 0.01), fake(diary, "b", 0.05)], rounds=2, steps=2)
    assert diary.read_text().split() == ["a1", "b1"] + ["a2", "b2"] * 3  # build, warm up, 2 rounds
    fast, slow = timings
    assert [t.name for t in timings] == ["fake a", "fake b"]
    assert [t.facts["mark"] for t in timings] == ["a", "b"]
    assert len(fast.seconds) == len(slow.cpu_seconds) == 2
    assert all(0.01 <= s < 0.05 for s in fast.seconds)
    assert all(0.05 <= s < 0.5 for s in slow.seconds)
    assert max(slow.cpu_seconds) < 0.05  # it sleeps
    assert fast.first_step_seconds > 0.01


def test_one_after_the_other(tmp_path):
    diary = tmp_path / "diary"
    measure([fake(diary, "a"), fake(diary, "b")], rounds=1, steps=1, warmup=0, together=False)
    assert diary.read_text().split() == ["a1", "a1", "b1", "b1"]


def test_ratios_are_taken_pair_by_pair():
    assert ratios([1.0, 2.0, 4.0], [3.0, 4.0, 4.0]) == Spread(median=2.0, min=1.0, max=3.0)
    with pytest.raises(ValueError):
        ratios([1.0], [1.0, 2.0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fault": "raise", "hint": "install it"}, "fake a: ValueError: no such model; install it"),
        ({"fault": "die"}, "fake a: it ended: out of memory"),
        ({"python": "/no/such/python"}, "fake a: cannot start '/no/such/python'"),
    ],
)
def test_what_goes_wrong_is_told_in_one_line(tmp_path, options, message):
    with pytest.raises(UserError) as caught:
        Worker(fake(tmp_path / "diary", **options))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_environment_of_a_worker(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/theirs")
    monkeypatch.setenv("SET", "here")
    from vit_jax.benchmark.process import child_environment

    launch = fake(tmp_path, paths=("/a", "/b"), environment=(("SET", "there"), ("UNSET", "1")))
    environment = child_environment(launch)
    assert environment["PYTHONPATH"].split(":") == ["/a", "/b", "/theirs"]
    assert (environment["SET"], environment["UNSET"]) == ("here", "1")
