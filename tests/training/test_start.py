# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""A run starts from whatever holds weights; what is not there is refused at once."""

import functools
import importlib.util
import os

import jax
import numpy as np
import pytest
import tiny_runs as runs

from vit_jax import config as config_lib
from vit_jax import create_model, load_weights, save_weights
from vit_jax.errors import UserError
from vit_jax.models import init_params
from vit_jax.training import checkpoint, loop, workdir
from vit_jax.weights import sources
from vit_jax.weights.conversion import Options, parse_options

# One step so small that the parameters stay what they were.
STILL = {
    "train__duration": "1 steps",
    "schedule__warmup": "0 steps",
    "optimiser__learning_rate": 1e-9,
    "evaluation__every": "",
    "checkpoint__every": "",
    "data__validation_split": "",
    "data__test_split": "",
}
SHAPE = {"patch_size": 4, "width": 32, "depth": 2, "num_heads": 2, "mlp_dim": 64}


def model(**overrides):
    return create_model("vit_tiny_patch16_224", **SHAPE | overrides)


def random_params(model, seed=0):
    shapes = jax.eval_shape(functools.partial(init_params, model), jax.random.key(0))
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype("f4"), shapes)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """A file in timm's layout: of larger colour images, with five classes."""
    path = tmp_path_factory.mktemp("weights") / "foreign.safetensors"
    trained = model(image_size=16, num_classes=5)
    save_weights(random_params(trained), trained, path)
    return path


def options(**given):
    return parse_options(given, model().spec, "model.init_options")


def test_a_run_starts_from_a_file_of_other_images_and_says_what_became_of_it(
    foreign, tmp_path, monkeypatch
):
    printed = []
    monkeypatch.setattr(loop.Progress, "say", lambda self, text: printed.append(text))
    config = runs.tiny_config(**STILL, model__init_from=foreign)
    loop.train(config, tmp_path / "run")
    after = checkpoint.load(tmp_path / "run", ema=False).params
    learnt = load_weights(foreign, model(image_size=8, num_classes=10), say=printed.append)
    kernel = learnt["patch_embed"]["kernel"].sum(axis=2, keepdims=True)
    close = functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-6)
    close(after.pop("patch_embed")["kernel"], kernel)
    learnt.pop("patch_embed")
    jax.tree.map(close, after, learnt)
    line = next(text for text in printed if text.startswith(f"from {foreign}"))
    for part in (
        "timm layout; 28 arrays loaded",
        "patch_embed/kernel (3 channels summed)",
        "pos_embed (4x4 to 2x2 patches)",
        "initialised: head/bias, head/kernel",
        "ignored: head/bias, head/kernel",
    ):
        assert part in line


def test_the_options_reach_the_source(foreign, tmp_path):
    gap = STILL | {"model__overrides__pool": "gap", "model__init_from": foreign}
    with pytest.raises(UserError, match="cls_token"):
        loop.train(runs.tiny_config(**gap), tmp_path / "refused")
    config = runs.tiny_config(**gap, model__init_options__ignore="cls_token")
    loop.train(config, tmp_path / "run")
    assert "cls_token" not in checkpoint.load(tmp_path / "run").params


def test_patterns_may_be_one_or_many():
    one = options(initialise="head/.*", grid=(3, 4), layout="timm")
    assert one == Options("timm", ("head/.*",), (), (3, 4))
    assert options(ignore=("a/.*", "b")).ignore == ("a/.*", "b")
    saved = config_lib.default_config()
    saved.model.init_from, saved.model.init_options = (
        "somewhere",
        {"ignore": ("a",), "grid": (1, 2)},
    )
    again = config_lib.from_json(config_lib.to_json(saved))
    assert options(**again.model.init_options) == Options(ignore=("a",), grid=(1, 2))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"initialize": ".*"}, "unknown option 'initialize'; did you mean 'initialise'"),
        ({"grid": 7}, r"init_options.grid=\(7,\) is no grid; write \(rows, columns\)"),
        ({"grid": ("7", "7")}, "is no grid"),
        ({"ignore": "("}, r"init_options.ignore: '\(' is not a regular expression"),
        ({"layout": "tim"}, "no layout 'tim'; did you mean 'timm'"),
    ],
)
def test_impossible_options_are_refused(given, message):
    with pytest.raises(UserError, match=message):
        options(**given)


def test_options_without_a_source_are_refused_with_the_config():
    config = config_lib.default_config()
    config.model.init_options = {"layout": "timm"}
    with pytest.raises(UserError, match=r"no effect without model\.init_from"):
        config_lib.validate(config)


def test_a_source_that_is_not_there_is_refused_at_once(tmp_path, monkeypatch):
    (tmp_path / "weights.txt").write_text("")
    (tmp_path / "weights.npz").write_text("")
    sources.check(str(tmp_path), "model.init_from")
    sources.check(str(tmp_path / "weights.npz"), "model.init_from")
    with pytest.raises(UserError, match="gone' does not exist; write a workdir"):
        sources.check(str(tmp_path / "gone"), "model.init_from")
    with pytest.raises(UserError, match=r"weights.txt' is no file of weights; known: .safetensors"):
        sources.check(str(tmp_path / "weights.txt"), "model.init_from")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UserError, match="cannot be read"):
        sources.check(str(tmp_path / "weights.npz"), "model.init_from")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"'hf:a/b' needs huggingface_hub; pip install"):
        sources.check("hf:a/b", "model.init_from")


def test_only_a_new_run_needs_its_source(tmp_path):
    config = runs.tiny_config(model__init_from=tmp_path / "gone")
    with pytest.raises(UserError, match="does not exist"):
        workdir.check(tmp_path, config)
    (tmp_path / "checkpoints" / "00000001").mkdir(parents=True)
    workdir.check(tmp_path, config)
