# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What ViT and Mixer promise beyond parity: scan, remat, features, dtypes, sizes, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from vit_jax import create_model
from vit_jax.errors import UserError
from vit_jax.layers.stack import REMAT_POLICIES, stack_layers, unstack_layers
from vit_jax.models import init_params

COMMON = {"image_size": 16, "patch_size": 4, "width": 16, "depth": 2, "num_classes": 5}
RATES = {"dropout": 0.2, "drop_path": 0.4}
MODELS = {
    "vit": ("ViT-Ti/16", {"num_heads": 2, "mlp_dim": 32}, RATES | {"attention_dropout": 0.2}),
    "mixer": ("Mixer-S/16", {"token_mlp_dim": 8, "channel_mlp_dim": 32}, RATES),
}


def build(family, noisy=False, **overrides):
    name, shape, rates = MODELS[family]
    return create_model(name, **COMMON | shape | (rates if noisy else {}) | overrides)


def random_params(model, seed=0):
    """Parameters with every tensor drawn at random, in particular the zero ones."""
    shapes = jax.eval_shape(lambda key: init_params(model, key), jax.random.key(0))
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda s: jnp.asarray(0.3 * rng.standard_normal(s.shape), s.dtype), shapes)


def images(seed=1, size=(16, 16), batch=2):
    return np.random.default_rng(seed).standard_normal((batch, *size, 3)).astype(np.float32)


def noise(seed):
    """The generator that compiles fastest; which one it is makes no difference to a model."""
    return {"dropout": jax.random.key(seed, impl="unsafe_rbg")}


def compile_fast(function):
    """Jits without the compiler's expensive passes: the programs are small and run once."""
    options = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    return jax.jit(function, compiler_options=options)


def run(model, params, train=False, seed=3, **flags):
    rngs = noise(seed)
    apply = compile_fast(
        lambda p, x: model.apply({"params": p}, x, train=train, rngs=rngs, **flags)
    )
    return apply(params, images())


def gradient(model, params, train=False):
    rngs = noise(3)

    def loss(p):
        logits = model.apply({"params": p}, images(), train=train, rngs=rngs)
        return (jnp.arange(5) * jax.nn.log_softmax(logits)).mean()

    return compile_fast(jax.grad(loss))(params)


def assert_close(actual, desired, limit=2e-6):
    """Compares trees leaf by leaf, to a share of the leaf's largest value.

    Some gradients are zero but for rounding (a norm removes the bias of the last token MLP); hence
    every leaf is also granted a thousandth of the tree's largest value as its scale.
    """
    floor = 1e-3 * max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(desired))

    def check(path, a, b):
        error, scale = np.abs(a - b).max(), max(np.abs(b).max(), floor)
        assert error <= limit * scale, (jax.tree_util.keystr(path), error, scale)

    jax.tree_util.tree_map_with_path(check, actual, desired)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("family", MODELS)
def test_scanned_equals_unrolled(family, train):
    unrolled, scanned = build(family, noisy=True), build(family, noisy=True, scan=True)
    params = random_params(unrolled)
    stacked = stack_layers(params)
    flags = {"features": True, "attention_maps": True}
    assert_close(run(scanned, stacked, train, **flags), run(unrolled, params, train, **flags))
    if train:
        gradients = gradient(scanned, stacked, train)
        assert_close(gradients, stack_layers(gradient(unrolled, params, train)), 1e-5)


@pytest.mark.parametrize("family", MODELS)
def test_stacking_and_unstacking_are_inverse(family):
    params = random_params(build(family))
    restored = unstack_layers(stack_layers(params))
    assert jax.tree.structure(restored) == jax.tree.structure(params)
    assert_close(restored, params, 0.0)
    scanned = random_params(build(family, scan=True))
    assert jax.tree.structure(stack_layers(params)) == jax.tree.structure(scanned)


@pytest.mark.parametrize(
    ("family", "scan", "policies"),
    [("vit", True, REMAT_POLICIES), ("vit", False, ["dots"]), ("mixer", False, ["full"])],
)
def test_remat_policies_leave_the_gradient_alone(family, scan, policies):
    params = random_params(build(family, scan=scan))
    desired = gradient(build(family, noisy=True, scan=scan), params, train=True)
    for remat in set(policies) - {"none"}:
        model = build(family, noisy=True, scan=scan, remat=remat)
        assert_close(gradient(model, params, train=True), desired, 1e-5)


@pytest.mark.parametrize("remat", sorted(REMAT_POLICIES))
def test_remat_recomputes(remat):
    model = build("vit", remat=remat)
    params = random_params(model)
    loss = jax.make_jaxpr(jax.grad(lambda p: model.apply({"params": p}, images()).sum()))
    assert ("remat" in str(loss(params))) == (remat != "none")


@pytest.mark.parametrize("family", MODELS)
def test_dropout_depends_on_the_key_and_only_in_training(family):
    model = build(family, noisy=True)
    params = random_params(model)
    one, other = run(model, params, True, seed=1), run(model, params, True, seed=2)
    assert np.abs(one - other).max() > 1e-3
    assert_close(run(model, params, True, seed=1), one, 0.0)
    assert_close(run(model, params, False, seed=1), run(model, params, False, seed=2), 0.0)
    assert_close(run(build(family), params, True), run(model, params, False), 0.0)


@pytest.mark.parametrize("family", MODELS)
def test_scanned_layers_are_initialised_independently(family):
    model = build(family, scan=True)
    blocks = compile_fast(lambda key: init_params(model, key))(jax.random.key(0))["blocks"]
    kernels = [v for path, v in flatten_dict(blocks).items() if path[-1] == "kernel"]
    assert kernels
    for kernel in kernels:
        assert not np.any(kernel[0] == kernel[1])


@pytest.mark.parametrize("family", MODELS)
def test_features_do_not_change_the_logits(family):
    model = build(family)
    params = random_params(model)
    logits, found = run(model, params, features=True)
    assert_close(run(model, params), logits)
    assert set(found) == {"stem", "block_00", "block_01", "pre_logits"}
    head = params["head"]
    assert_close(found["pre_logits"] @ head["kernel"] + head["bias"], logits, 1e-5)
    headless = {name: value for name, value in params.items() if name != "head"}
    assert_close(run(build(family, num_classes=0), headless), found["pre_logits"])


def test_attention_maps_are_distributions():
    model = build("vit", pool="map")
    params = random_params(model)
    logits, maps = run(model, params, attention_maps=True)
    assert_close(run(model, params), logits)
    shapes = {f"block_{i:02d}/attention": (2, 2, 16, 16) for i in range(2)}
    assert {k: v.shape for k, v in maps.items()} == shapes | {"pool/attention": (2, 2, 1, 16)}
    for weights in maps.values():
        assert weights.min() >= 0
        np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)


def test_attention_maps_reproduce_the_block():
    """The output of the first attention, recomputed from its map in float64."""
    model = build("vit", depth=1)
    params = random_params(model)
    _, found = run(model, params, features=True, attention_maps=True)
    p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params["block_00"])

    def norm(x, scale, bias):
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * scale + bias

    x = np.asarray(found["stem"], np.float64)
    normal = norm(x, **p["norm1"])
    qkv = p["attn"]["qkv"]
    v = np.einsum("bnd,dhk->bnhk", normal, qkv["kernel"][:, 2]) + qkv["bias"][2]
    y = np.einsum("bhnm,bmhk->bnhk", found["block_00/attention"], v)
    x = x + np.einsum("bnhk,hkd->bnd", y, p["attn"]["out"]["kernel"]) + p["attn"]["out"]["bias"]
    mlp = p["mlp"]
    hidden = norm(x, **p["norm2"]) @ mlp["fc1"]["kernel"] + mlp["fc1"]["bias"]
    erf = np.asarray(jax.lax.erf(jnp.asarray(hidden / np.sqrt(2), jnp.float32)))
    x = x + hidden * 0.5 * (1 + erf) @ mlp["fc2"]["kernel"] + mlp["fc2"]["bias"]
    assert_close(np.asarray(found["block_00"]), x, 1e-5)


@pytest.mark.parametrize("family", MODELS)
def test_bfloat16_stays_close_and_leaves_in_float32(family):
    model = build(family, dtype="bfloat16", scan=True)
    params = random_params(model)
    logits = run(model, params)
    assert logits.dtype == jnp.float32
    assert_close(logits, run(build(family, scan=True), params), 0.05)
    assert np.abs(logits - run(build(family, scan=True), params)).max() > 0
    shapes = jax.eval_shape(
        lambda key: init_params(build(family, param_dtype="bfloat16"), key), jax.random.key(0)
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype("bfloat16")}


@pytest.mark.parametrize("size", [(20, 12), (4, 28)])
@pytest.mark.parametrize("family", MODELS)
def test_any_image_size(family, size):
    model = build(family, image_size=size)
    logits = model.apply({"params": random_params(model)}, images(size=size))
    assert logits.shape == (2, 5)
    assert np.isfinite(logits).all()


def test_sincos_positions_take_images_of_any_size():
    model = build("vit", position="sincos", pool="gap")
    params = random_params(model)
    assert "pos_embed" not in params
    assert model.apply({"params": params}, images(size=(8, 24))).shape == (2, 5)


def test_pre_logits_is_a_tanh_layer():
    model = build("vit", pre_logits=7)
    params = random_params(model)
    _, found = run(model, params, features=True)
    plain = {name: value for name, value in params.items() if name not in ("pre_logits", "head")}
    pooled = run(build("vit", num_classes=0), plain)
    layer = params["pre_logits"]
    assert_close(found["pre_logits"], np.tanh(pooled @ layer["kernel"] + layer["bias"]), 1e-5)


@pytest.mark.parametrize("family", MODELS)
def test_initial_logits_are_the_head_bias(family):
    model = build(family, head_bias=-2.5)
    params = init_params(model, jax.random.key(0))
    np.testing.assert_array_equal(model.apply({"params": params}, images()), -2.5)


def test_initial_parameters_of_a_vit():
    """Scales of the official code: xavier kernels, bias N(0, 1e-6), table N(0, 0.02)."""
    model = build("vit", width=64, num_heads=4, mlp_dim=256, num_registers=1, layer_scale=0.1)
    params = compile_fast(lambda key: init_params(model, key))(jax.random.key(0))
    block = params["block_00"]
    for kernel, fan in (
        (block["attn"]["qkv"]["kernel"], 128),
        (block["attn"]["out"]["kernel"], 128),
        (block["mlp"]["fc1"]["kernel"], 320),
    ):
        assert np.abs(kernel).max() == pytest.approx(np.sqrt(6 / fan), rel=0.01)
    assert params["patch_embed"]["kernel"].std() == pytest.approx(48**-0.5, rel=0.05)
    assert params["pos_embed"].std() == pytest.approx(0.02, rel=0.1)
    assert 0 < np.abs(block["mlp"]["fc1"]["bias"]).max() < 1e-5
    assert not np.any(params["cls_token"])
    np.testing.assert_array_equal(block["ls1"]["gamma"], np.float32(0.1))


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("vit_base_patch16_242", {}, "did you mean 'vit_base_patch16_224'"),
        ("ViT-B/16", {"widht": 4}, "did you mean 'width'"),
        ("ViT-B/16", {"patch_size": "x"}, "patch_size='x' must be int"),
        ("ViT-B/16", {"scan": 1}, "scan=1 must be bool"),
        ("ViT-B/16", {"num_classes": True}, "num_classes=True must be int"),
        ("ViT-B/16", {"pool": "max"}, "pool='max' must be 'cls', 'gap' or 'map'"),
        ("ViT-B/16", {"dtype": "float64"}, "must be 'float32' or 'bfloat16'"),
        ("ViT-B/16", {"layer_scale": "big"}, "layer_scale='big' must be float or None"),
        ("ViT-B/16", {"image_size": [224, 224, 3]}, "must be int or tuple[int, int]"),
        ("ViT-B/16", {"image_size": 225}, "225x225 is not divisible by patch_size 16"),
        ("ViT-B/16", {"num_heads": 7}, "width=768 is not divisible by num_heads=7"),
        ("ViT-B/16", {"depth": 0}, "depth=0 must be positive"),
        ("ViT-B/16", {"num_classes": -1}, "num_classes=-1"),
        ("ViT-B/16", {"drop_path": 1.0}, "drop_path=1.0 must be in [0, 1)"),
        ("ViT-B/16", {"class_token": False}, "pool='cls' needs class_token=True"),
        ("ViT-B/16", {"remat": "dot"}, "did you mean 'dots'"),
        ("ViT-B/16", {"activation": "gelu_tan"}, "did you mean 'gelu_tanh'"),
        ("ViT-B/16", {"attention": "flash"}, "unknown attention implementation 'flash'"),
        ("ViT-Ti/16", {"position": "sincos", "width": 18}, "width in 8, 12, 16"),
        ("Mixer-B/16", {"image_size": 100}, "100x100 is not divisible by patch_size 16"),
    ],
)
def test_impossible_models_are_refused_in_one_line(name, overrides, message):
    with pytest.raises(UserError) as error:
        create_model(name, **overrides)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("family", "reason"), [("vit", "position table"), ("mixer", "token MLPs")])
def test_images_that_do_not_fit_are_refused(family, reason):
    model = build(family)
    with pytest.raises(UserError, match=reason):
        model.apply({"params": random_params(model)}, images(size=(20, 16)))


def test_lists_become_tuples_and_integers_floats():
    spec = create_model("ViT-B/16", image_size=[32, 64], drop_path=0, class_token=None).spec
    assert spec.image_size == (32, 64)
    assert spec.drop_path == 0
