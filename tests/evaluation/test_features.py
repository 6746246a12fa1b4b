# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Features come exactly once, in order, on any number of devices and processes."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
import tiny_runs as runs
from small_models import Pixels

from vit_jax.data import ops as ops_lib
from vit_jax.data.sources import Source
from vit_jax.errors import UserError
from vit_jax.evaluation import classification, suite
from vit_jax.evaluation.classification import Question
from vit_jax.evaluation.features import Extractor
from vit_jax.parallel.mesh import create_mesh
from vit_jax.training import trained
from vit_jax.training.state import abstract_params

OPS = ops_lib.parse("decode(channels=1)|resize(8)|normalise(half)")
LAUNCHER = pathlib.Path(__file__).parents[2] / "launch" / "local.py"
NAMES = tuple(str(i) for i in range(10))


def random_run(num_classes=10, scale=8.0, **fields):
    """Returns a tiny ViT whose tensors are all random."""
    config = runs.tiny_config(**fields)
    model = trained.build_model(config, num_classes, OPS)
    rng = np.random.default_rng(5)
    params = jax.tree.map(
        lambda s: (rng.normal(size=s.shape) / scale).astype(s.dtype),
        abstract_params(model, (8, 8, 1)),
    )
    return trained.Trained(3, model, params, {}, OPS, NAMES[:num_classes], config)


@pytest.mark.parametrize(
    ("count", "batch_size", "shape"), [(1, 8, {"data": 8}), (43, 16, {"data": 4, "tensor": 2})]
)
def test_features_are_what_the_head_reads(count, batch_size, shape):
    run = random_run()
    source = Pixels(count, "abc", size=(8, 8))
    found = Extractor(run, create_mesh(shape))(source, batch_size)
    images = (source.images / 127.5 - 1).astype(np.float32)
    logits, parts = run.model.apply({"params": run.params}, images, features=True)
    np.testing.assert_allclose(found.values, parts["pre_logits"], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found.labels, source.labels)
    assert found.num_classes == 3
    head = run.params["head"]
    np.testing.assert_allclose(found.values @ head["kernel"] + head["bias"], logits, atol=1e-4)


def test_a_model_without_a_head_has_the_same_features():
    run, source = random_run(), Pixels(9, "ab", size=(8, 8))
    bare = random_run(num_classes=0)
    params = {name: value for name, value in run.params.items() if name != "head"}
    bare = trained.Trained(3, bare.model, params, {}, OPS, (), run.config)
    one, other = (Extractor(r, create_mesh())(source, 8) for r in (run, bare))
    np.testing.assert_array_equal(one.values, other.values)


class Unreadable(Source):
    """Pictures of which every fifth is broken, as image files."""

    class_names = ("a", "b")

    def __len__(self):
        return 20

    def __getitem__(self, index):
        pixels = np.full((8, 8, 1), index, np.uint8)
        encoded = ops_lib.decode.import_tensorflow().io.encode_png(pixels).numpy()
        return {"image": b"no" if index % 5 == 0 else encoded, "label": 1, "name": str(index)}


def test_what_cannot_be_read_is_left_out():
    run = random_run(data__max_bad_fraction=0.5)
    found = Extractor(run, create_mesh())(Unreadable(), 8)
    assert len(found) == 16
    assert len({row.tobytes() for row in found.values}) == 16


def test_parts_are_chosen_apart_from_what_is_measured(monkeypatch):
    sizes = {"train": 100, "validation": 30, "test": 20}
    sources = {name: Pixels(count, "abc", size=(8, 8)) for name, count in sizes.items()}
    monkeypatch.setattr(classification, "create_source", lambda _, split, __: sources[split])
    run = random_run()
    parts = suite.extract(run, Question())
    assert [len(p) for p in (parts.train, parts.learn, parts.choose, parts.test)] == [
        100, 100, 30, 20,
    ]  # fmt: skip
    parts = suite.extract(run, Question(split="validation"))
    assert [len(p) for p in (parts.train, parts.learn, parts.choose, parts.test)] == [
        100, 90, 10, 30,
    ]  # fmt: skip
    other = suite.extract(run, Question(source="x", split="test"), train_split="validation")
    assert [len(p) for p in (other.train, other.learn, other.choose, other.test)] == [
        30, 27, 3, 20,
    ]  # fmt: skip
    rows = lambda f: sorted(row.tobytes() for row in f.values)  # noqa: E731
    assert sorted(rows(parts.learn) + rows(parts.choose)) == rows(parts.train)
    with pytest.raises(UserError, match="learn from the training part"):
        suite.extract(run, Question(split="train"))
    sources["test"] = Pixels(20, "abcd", size=(8, 8))
    with pytest.raises(UserError, match="has 3 classes, the test part 4"):
        suite.extract(run, Question())


def test_two_processes_measure_what_one_does(tmp_path):
    """2 processes x 2 devices beside 1 process x 8: each example once, whoever has it."""
    run = random_run()
    path = tmp_path / "run"
    trained.save(path, params=run.params, config=run.config, class_names=NAMES, ops=run.ops, step=3)
    command = [sys.executable, "-m", "vit_jax", "evaluate", f"--checkpoint={path}", "--json"]
    command += ["--suite=accuracy,few_shot,knn", "--views=flip"]
    output = subprocess.run(
        [sys.executable, str(LAUNCHER), "--processes=2", "--devices-per-process=2", "--", *command],
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=runs.DEADLINE_SECONDS,
    )
    assert output.returncode == 0, output.stdout + output.stderr
    lines = [line.removeprefix("[0] ") for line in output.stdout.splitlines()]
    found = json.loads("\n".join(lines[lines.index("{") : lines.index("}") + 1]))
    question = Question(views=("flip",))
    wanted = suite.evaluate([path], question, ("accuracy", "few_shot", "knn"))
    for name in ("few_shot", "knn"):
        for row, expected in zip(found.pop(name), wanted.pop(name), strict=True):
            row.pop("l2", None), expected.pop("l2", None)
            assert row == pytest.approx(expected, abs=0.01)  # rounding may move a neighbour or two
    assert found.pop("split") == wanted.pop("split") == "test"
    assert found == pytest.approx(wanted, rel=1e-5)
    assert found["examples"] == 360
