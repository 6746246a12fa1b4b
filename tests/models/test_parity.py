# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""ViT, DeiT, hybrids and Mixer against timm: stored vectors always, fresh ones where timm is."""

import pathlib

import jax
import numpy as np
import pytest
from timm_cases import CASES, reference

from vit_jax.errors import UserError
from vit_jax.weights import from_timm, to_timm

GOLDEN = pathlib.Path(__file__).parent / "golden"
LIMIT = 1e-4


def relative_errors(name, arrays, **overrides):
    """Returns the largest error of each output over the largest value of that output."""
    model = CASES[name].ours_model(**overrides)
    params = from_timm(_weights(arrays), model)
    apply = jax.jit(lambda p, x: model.apply({"params": p}, x, features=True))
    logits, found = apply(params, arrays["images"])
    ours = found | {"logits": logits}
    theirs = {k: v for k, v in arrays.items() if k != "images" and not k.startswith("param/")}
    assert ours.keys() == theirs.keys()
    assert {k: ours[k].shape for k in theirs} == {k: v.shape for k, v in theirs.items()}
    return {k: np.abs(ours[k] - v).max() / np.abs(v).max() for k, v in theirs.items()}


def _weights(arrays):
    return {k.removeprefix("param/"): arrays[k] for k in arrays if k.startswith("param/")}


def _golden(name):
    with np.load(GOLDEN / f"{name}.npz") as stored:
        return {name: stored[name].astype(np.float32) for name in stored}


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_stored_vectors_of_timm(name):
    errors = relative_errors(name, _golden(name))
    assert max(errors.values()) < LIMIT, errors


@pytest.mark.parametrize("name", ["vit_everything", "mixer", "hybrid_stages"])
def test_a_scanned_model_takes_the_same_weights(name):
    errors = relative_errors(name, _golden(name), scan=True)
    assert max(errors.values()) < LIMIT, errors


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_timm_on_fresh_weights(name):
    pytest.importorskip("torch")
    pytest.importorskip("timm")
    errors = relative_errors(name, reference(CASES[name], seed=np.random.SeedSequence().entropy))
    assert max(errors.values()) < LIMIT, errors


@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_weights_survive_the_way_there_and_back(name, scan):
    theirs = _weights(_golden(name))
    model = CASES[name].ours_model(scan=scan)
    returned = to_timm(from_timm(theirs, model), model)
    assert returned.keys() == theirs.keys()
    for key, value in theirs.items():
        np.testing.assert_array_equal(returned[key], value, err_msg=key)


def test_every_misfit_is_listed():
    theirs = _weights(_golden("vit_cls"))
    del theirs["blocks.1.mlp.fc1.bias"]
    theirs["norm.scale"] = theirs.pop("norm.weight")
    theirs["head.weight"] = theirs["head.weight"][:3]
    with pytest.raises(UserError) as error:
        from_timm(theirs, CASES["vit_cls"].ours_model())
    for part in (
        "missing blocks.1.mlp.fc1.bias [96]",
        "missing norm.weight [24]",
        "unused norm.scale [24]",
        "head.weight is [3, 24], the model's head/kernel needs [5, 24]",
    ):
        assert part in str(error.value)
