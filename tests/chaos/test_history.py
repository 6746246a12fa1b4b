# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The accounting of `make chaos` finds what it is there to find."""

import json

import numpy as np
import pytest
from chaos import faults, history, pictures
from chaos.history import History


def epochs(rng, count, size):
    return [int(i) for _ in range(count) for i in rng.permutation(size)]


def test_each_once_is_nothing_lost_and_nothing_twice():
    rng = np.random.default_rng()
    examples = epochs(rng, 3, 10)
    assert history.count(examples, 10) == (0, 0)
    assert history.count(examples[:-4], 10) == (0, 0)
    examples[13] = examples[12]
    assert history.count(examples, 10) == (1, 1)
    del examples[13]  # lost: all that follow move up, and epochs no longer close
    assert history.count(examples, 10)[1] > 0


def lines_of(steps, rows, processes):
    """The diaries of a start: step -> pictures, shared out by rows."""
    share = rows // processes
    return [
        [{"phase": "step"}]
        + [
            {"step": step, "rows": {str(r): seen[r] for r in range(p * share, (p + 1) * share)}}
            for step, seen in steps.items()
        ]
        for p in range(processes)
    ]


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_a_batch_is_put_together_from_all_processes(processes):
    rng = np.random.default_rng()
    steps = {step: [int(x) for x in rng.integers(0, 50, 8)] for step in range(3, 7)}
    diaries = lines_of(steps, 8, processes)
    assert history.steps(diaries) == steps
    diaries[-1].pop()  # killed before it wrote of its last step
    assert history.steps(diaries) == {step: steps[step] for step in range(3, 6)}
    diaries[0][1]["rows"].pop("0")
    with pytest.raises(AssertionError, match="step 3 lacks rows"):
        history.steps(diaries)


def test_what_a_later_start_does_again_is_void_and_must_be_the_same():
    whole = {step: [2 * step, 2 * step + 1] for step in range(1, 9)}
    part = lambda first, last: {s: whole[s] for s in range(first, last + 1)}  # noqa: E731
    seen = History()
    seen.add(part(1, 5))
    seen.add({})  # killed before its first step
    seen.add(part(4, 6))
    seen.add(part(6, 8))
    assert seen.examples() == list(range(2, 18))
    assert (seen.void, seen.repeated_alike, seen.changed) == (3, 3, [])
    seen.add({8: [0, 0]})
    assert seen.changed == [8]


def test_a_start_that_skips_a_step_is_found():
    seen = History()
    seen.add({1: [0], 2: [1]})
    seen.add({4: [2]})
    with pytest.raises(AssertionError, match="a step is missing"):
        seen.examples()


def test_a_torn_line_is_left_out(tmp_path):
    path = tmp_path / "diary"
    path.write_text(json.dumps({"step": 1}) + "\n" + '{"step": 2, "ro')
    assert history.read(path) == [{"step": 1}]
    assert history.read(tmp_path / "none") == []


def test_pictures_say_which_they_are(tmp_path):
    from PIL import Image

    pictures.make(tmp_path)
    paths = sorted(tmp_path.glob("train/*/*.png"))
    assert len(paths) == pictures.TRAIN
    images = np.stack([np.asarray(Image.open(path)) for path in paths])
    assert pictures.numbers(images) == [int(path.stem) for path in paths]


def outcome(*statuses, said="another process of this run is gone"):
    return faults.Outcome(statuses, 1.0, said, True)


class OneLog:
    def __init__(self, path, *lines):
        path.write_text("\n".join(lines))
        self.logs = [path]


@pytest.mark.parametrize(
    ("kind", "result", "fine"),
    [
        ("SIGTERM", outcome(75, 75), True),
        ("SIGTERM", outcome(75, 0), False),
        ("SIGTERM", outcome(75, 143), False),
        ("SIGKILL", outcome(76, -9), True),
        ("SIGKILL", outcome(-6, -9), True),
        ("SIGKILL", outcome(1, -9), False),
        ("SIGKILL", outcome(0, -9), False),
        ("SIGKILL", outcome(76, -9, said=""), False),
    ],
)
def test_a_start_must_end_as_promised(kind, result, fine, tmp_path):
    start = OneLog(tmp_path / "log", "vit-jax: stopped and saved after step 7 of 48; and so on")
    fault = faults.Fault(kind, 1, "step", 3, 0.1)
    if fine:
        faults.check(fault, result, start)
    else:
        with pytest.raises(AssertionError):
            faults.check(fault, result, start)


def test_two_stops_at_different_steps_are_found(tmp_path):
    lines = [f"vit-jax: stopped and saved after step {step} of 48" for step in (7, 8)]
    start = OneLog(tmp_path / "log", *lines)
    with pytest.raises(AssertionError):
        faults.check(faults.Fault("SIGTERM", 1, "step", 3, 0.1), outcome(75, 75), start)


@pytest.mark.slow
def test_two_random_faults_lose_nothing(tmp_path):
    from chaos import run

    assert run.main(["--faults=2", "--seed=1", f"--folder={tmp_path}"]) == 0
