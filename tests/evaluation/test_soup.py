# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""A soup is the mean of parameters; a greedy one is never worse on validation than its best."""

import json

import jax
import numpy as np
import pytest
from tiny_runs import tiny_config

from vit_jax import cli
from vit_jax.data import ops as ops_lib
from vit_jax.errors import UserError
from vit_jax.evaluation import classification, soup, suite
from vit_jax.training import checkpoint, trained
from vit_jax.training.state import abstract_params

NAMES = tuple(str(i) for i in range(10))


def save(path, seed, **fields):
    """Writes a model whose tensors are all random."""
    config = tiny_config(**fields)
    ops = ops_lib.parse(config.data.eval_ops)
    shapes = abstract_params(trained.build_model(config, 10, ops), (8, 8, 1))
    rng = np.random.default_rng(seed)
    params = jax.tree.map(lambda s: (rng.normal(size=s.shape) / 8).astype(s.dtype), shapes)
    trained.save(path, params=params, config=config, class_names=NAMES, ops=ops, step=seed)
    return params


def test_uniform_is_the_mean(tmp_path, capsys):
    parts = [save(tmp_path / str(seed), seed) for seed in range(3)]
    runs = [str(tmp_path / str(seed)) for seed in range(3)]
    assert cli.main(["soup", *runs, f"--to={tmp_path / 'soup'}", "--json"]) == 0
    assert [row["in soup"] for row in json.loads(capsys.readouterr().out)] == ["yes"] * 3 + [
        "is it"
    ]
    wanted = jax.tree.map(lambda *xs: np.mean([x.astype(np.float64) for x in xs], 0), *parts)
    found = trained.load(tmp_path / "soup")
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-7), found.params, wanted)
    assert found.class_names == NAMES


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_soup_of_identical_runs_is_that_run(tmp_path, dtype):
    params = save(tmp_path / "a", 0, model__param_dtype=dtype)
    _, (found, state) = soup.uniform([tmp_path / "a"] * 3)
    jax.tree.map(np.testing.assert_array_equal, found, params)
    assert state == {}


def test_greedy_keeps_what_helps(tmp_path):
    """Against the recipe of the paper, done with evaluations of saved checkpoints alone."""
    parts = [save(tmp_path / str(seed), seed) for seed in range(4)]
    runs = [tmp_path / str(seed) for seed in range(4)]
    count = iter(range(100))

    def accuracy(params):
        config = tiny_config()
        path = tmp_path / f"try{next(count)}"
        trained.save(path, params=params, config=config, class_names=NAMES,
                     ops=ops_lib.parse(config.data.eval_ops))  # fmt: skip
        return classification.evaluate_checkpoint(path, split="validation")["accuracy"]

    def mean(indices):
        return jax.tree.map(lambda *xs: np.mean(xs, 0, dtype=np.float64).astype(np.float32),
                            *(parts[i] for i in indices))  # fmt: skip

    alone = [accuracy(params) for params in parts]
    kept, best = [], 0.0
    for index in sorted(range(4), key=lambda i: -alone[i]):
        if (found := accuracy(mean([*kept, index]))) >= best:
            kept, best = [*kept, index], found
    rows = soup.make(runs, tmp_path / "soup", tasting=True)
    assert [row["accuracy"] for row in rows] == [*alone, best]
    assert {i for i, row in enumerate(rows) if row["in soup"] == "yes"} == set(kept)
    assert best >= max(alone)
    saved = checkpoint.load(tmp_path / "soup")
    assert saved.metrics["accuracy"] == best
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), saved.params, mean(kept))


def test_refusals(tmp_path):
    save(tmp_path / "a", 0)
    save(tmp_path / "b", 1, model__overrides__width=16)
    save(tmp_path / "c", 2, data__eval_ops="decode(channels=1)|resize(8)|normalise(none)")
    for runs, message in (
        (["a"], "at least two"),
        (["a", "b"], "b has another model"),
        (["a", "c"], "c has another preprocessing"),
    ):
        with pytest.raises(UserError, match=message):
            soup.make([tmp_path / run for run in runs], tmp_path / "new")
    save(tmp_path / "d", 3, data__validation_split="")
    with pytest.raises(UserError, match="no validation part to taste on"):
        soup.make([tmp_path / "d"] * 2, tmp_path / "new", tasting=True)
    with pytest.raises(UserError, match="--weights=validation: a run has no validation part"):
        suite.evaluate([tmp_path / "d"] * 2, classification.Question(), weights="validation")
    with pytest.raises(UserError, match="exists already"):
        soup.make([tmp_path / "a"] * 2, tmp_path / "b")
    assert not (tmp_path / "new").exists()
    runs = [str(tmp_path / "a")] * 2
    assert cli.main(["soup", *runs, f"--to={tmp_path / 'new'}", "--batch-size=8"]) == 2
