# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Swin against timm and transformers, and its own promises: scan, remat, any image size."""

import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax import models, weights
from vit_jax.errors import UserError
from vit_jax.layers.stack import stack_layers, unstack_layers
from vit_jax.models.swin import Swin, SwinSpec

GOLDEN = pathlib.Path(__file__).with_name("golden")

# Padded in both stages (8 -> 9, 4 -> 6) and shifted in both.
TINY = {
    "image_size": 16,
    "patch_size": 2,
    "width": 8,
    "depths": (2, 4),
    "num_heads": (1, 2),
    "window_size": 3,
    "num_classes": 5,
}


def _tiny(**changes):
    return models.create_model("Swin-T", **TINY | changes)


def _images(size=(16, 16), batch=2):
    return np.random.default_rng().standard_normal((batch, *size, 3)).astype(np.float32)


def _random_params(model, images):
    """Parameters that are random everywhere, also where the model starts from zeros or ones."""
    rng = np.random.default_rng()
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)["params"]
    return jax.tree.map(lambda p: (0.3 * rng.standard_normal(p.shape)).astype(np.float32), shapes)


def _assert_close(actual, wanted, rtol=1e-5):
    """Compares trees leaf by leaf, relative to the largest number of each leaf."""
    assert jax.tree.structure(actual) == jax.tree.structure(wanted)
    for a, w in zip(jax.tree.leaves(actual), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, w, rtol=0, atol=rtol * max(np.abs(w).max(), 1e-6))


def _check_reference(arrays):
    """Compares logits and the last map of each stage with what a PyTorch model gave."""
    fields = json.loads(str(arrays["spec"]))
    spec = SwinSpec(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})
    model = Swin(spec)
    state = {
        name.removeprefix("param/"): np.asarray(arrays[name], np.float32)
        for name in arrays
        if name.startswith("param/")
    }
    params = weights.from_timm(state, model)
    images = np.asarray(arrays["image"], np.float32)
    logits, found = jax.jit(functools.partial(model.apply, features=True))(
        {"params": params}, images
    )
    found["logits"] = logits
    wanted = {n.removeprefix("out/"): arrays[n] for n in arrays if n.startswith("out/")}
    for name, value in wanted.items():
        _assert_close(found[name].reshape(value.shape), value, rtol=1e-5)
    back = weights.to_timm(params, model)
    assert back.keys() == state.keys()
    for name, value in state.items():
        np.testing.assert_array_equal(back[name], value)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("swin_*.npz")), ids=lambda path: path.stem)
def test_golden(path):
    with np.load(path) as arrays:
        _check_reference(dict(arrays))


@pytest.mark.parametrize(
    ("source", "size", "changes"),
    [
        ("timm", (40, 80), {"window_size": 5}),
        ("timm", (28, 20), {"window_size": 4, "pad_first": False}),
        ("transformers", (45, 71), {"window_size": 3}),
    ],
)
def test_live(monkeypatch, source, size, changes):
    pytest.importorskip("torch")
    pytest.importorskip("timm")
    pytest.importorskip("transformers", minversion="5.0")
    monkeypatch.syspath_prepend(GOLDEN)
    import make_golden_swin  # needs the modules above

    seed = np.random.SeedSequence().entropy
    _check_reference(make_golden_swin.run(source, size, changes, seed))


def _value_and_grad(model, params, images, key=None):
    """Value and gradient of a loss, in training if there is a key."""

    def loss(params):
        rngs = {} if key is None else {"dropout": key}
        logits = model.apply({"params": params}, images, train=key is not None, rngs=rngs)
        return jnp.sum(jnp.square(logits)) / 10

    return jax.jit(jax.value_and_grad(loss))(params)


def test_scanned_equals_unrolled_with_noise_and_in_gradients():
    noise = {"dropout": 0.2, "attention_dropout": 0.2, "drop_path": 0.3}
    one_stage = {"depths": (4,), "num_heads": (2,), "image_size": 8}
    unrolled, scanned = (_tiny(**one_stage, **noise, scan=scan) for scan in (False, True))
    images = _images((8, 8), batch=4)
    key = jax.random.key(3, impl="rbg")  # compiles in a third of threefry's time
    params = _random_params(unrolled, images)
    wanted = _value_and_grad(unrolled, params, images, key)
    value, grad = _value_and_grad(scanned, stack_layers(params), images, key)
    _assert_close((value, unstack_layers(grad)), wanted, rtol=2e-5)
    quiet = jax.jit(unrolled.apply)({"params": params}, images)
    assert abs(value - jnp.sum(jnp.square(quiet)) / 10) > 1e-3 * value


def test_scanned_gives_the_same_features_and_attention_maps():
    unrolled, scanned, images = _tiny(), _tiny(scan=True), _images()
    params = _random_params(unrolled, images)
    asked = {"features": True, "attention_maps": True}
    wanted = jax.jit(functools.partial(unrolled.apply, **asked))({"params": params}, images)
    stacked = stack_layers(params)
    shapes = jax.eval_shape(scanned.init, jax.random.key(0), images)["params"]
    assert jax.tree.map(jnp.shape, stacked) == jax.tree.map(jnp.shape, shapes)
    got = jax.jit(functools.partial(scanned.apply, **asked))({"params": stacked}, images)
    _assert_close(got, wanted)
    logits, found = wanted
    blocks = [f"block_{i:02d}" for i in range(6)]
    maps = [f"{name}/attention" for name in blocks]
    assert set(found) == {"stem", *blocks, *maps, "pre_logits"}
    shapes = {name: found[name].shape for name in ("stem", "block_01", "block_02", "pre_logits")}
    assert shapes == {
        "stem": (2, 8, 8, 8),
        "block_01": (2, 8, 8, 8),
        "block_02": (2, 4, 4, 16),
        "pre_logits": (2, 16),
    }
    assert found["block_01/attention"].shape == (2, 9, 1, 9, 9)
    assert found["block_05/attention"].shape == (2, 4, 2, 9, 9)
    _assert_close(logits, found["pre_logits"] @ params["head"]["kernel"] + params["head"]["bias"])


@pytest.mark.parametrize(("remat", "scan"), [("full", False), ("dots", True)])
def test_rematerialisation_changes_no_gradient(remat, scan):
    small = {"depths": (2,), "num_heads": (2,), "image_size": 8, "scan": scan}
    plain, saving = _tiny(**small), _tiny(**small, remat=remat)
    images = _images((8, 8))
    params = _random_params(plain, images)
    _assert_close(_value_and_grad(saving, params, images), _value_and_grad(plain, params, images))


@pytest.mark.parametrize("size", [(7, 16), (23, 11)])
def test_other_sizes_use_the_rows_of_the_tables_that_still_occur(size):
    """On another size the model equals the one made for it, given the middle of its tables."""
    model, other = _tiny(), _tiny(image_size=size)
    images = _images(size)
    params = _random_params(model, images)

    trimmed = dict(params)
    for stage in range(2):
        (H, W), (h, w) = model.spec.stage_window(stage), other.spec.stage_window(stage)
        trimmed[f"stage_{stage}"] = blocks = dict(params[f"stage_{stage}"])
        for name in [n for n in blocks if n.startswith("block_")]:
            attn = blocks[name]["attn"]
            table = attn["relative_position_bias"].reshape(2 * H - 1, 2 * W - 1, -1)
            table = table[H - h : H + h - 1, W - w : W + w - 1].reshape(-1, table.shape[-1])
            blocks[name] = blocks[name] | {"attn": attn | {"relative_position_bias": table}}
    wanted = jax.jit(other.apply)({"params": trimmed}, images)
    _assert_close(jax.jit(model.apply)({"params": params}, images), wanted)


def test_stochastic_depth_grows_over_the_blocks_of_all_stages():
    spec = models.create_model("Swin-T", drop_path=0.22).spec
    rates = [rate for stage in range(4) for rate in spec.stage_drop_path(stage)]
    np.testing.assert_allclose(rates, np.linspace(0, 0.22, 12))


def test_bfloat16_computes_in_bfloat16_and_answers_in_float32():
    images = _images()
    model = _tiny()
    params = _random_params(model, images)
    wanted = jax.jit(model.apply)({"params": params}, images)
    low = _tiny(dtype="bfloat16")
    logits, found = jax.jit(functools.partial(low.apply, features=True))({"params": params}, images)
    assert found["block_05"].dtype == jnp.bfloat16
    assert logits.dtype == found["pre_logits"].dtype == jnp.float32
    assert 0 < np.abs(logits - wanted).max() < 0.05 * np.abs(wanted).max()


def test_a_model_without_a_head_returns_the_pooled_features():
    images = _images()
    model = _tiny(num_classes=0)
    params = _random_params(model, images)
    assert "head" not in params
    pooled, found = model.apply({"params": params}, images, features=True)
    np.testing.assert_array_equal(pooled, found["pre_logits"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depths": (2, 3), "scan": True}, "scan"),
        ({"num_heads": (2,)}, "one entry a stage"),
        ({"num_heads": (2, 5)}, "5 heads"),
        ({"window_size": 0}, "window_size"),
        ({"attention": "flash"}, "flash"),
    ],
)
def test_impossible_specs_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        _tiny(**changes)


def test_variants_carry_the_papers_preprocessing():
    for name in models.list_models("swin_*"):
        info = models.model_info(name)
        assert info.mean == (0.485, 0.456, 0.406)
        assert info.std == (0.229, 0.224, 0.225)
        assert info.crop_fraction == (1.0 if info.image_size == (384, 384) else 0.9)
    assert len(models.list_models("Swin-*")) == 6
    assert models.model_info("Swin-B@384").name == "swin_base_patch4_window12_384"
