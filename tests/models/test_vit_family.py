# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What hybrids and DeiTs promise beyond parity: names, layers, shards, heads, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from vit_jax import create_model
from vit_jax.errors import UserError
from vit_jax.layers.stack import stack_layers, unstack_layers
from vit_jax.models import init_params
from vit_jax.optim import parameters
from vit_jax.parallel import sharding
from vit_jax.parallel.mesh import create_mesh

SMALL = {"width": 16, "depth": 2, "num_heads": 2, "mlp_dim": 32, "num_classes": 5}
SIZE = (20, 12)


def hybrid(**overrides):
    changes = {"image_size": SIZE, "stem_depths": (1, 2), "stem_width": 32} | SMALL | overrides
    return create_model("R50+B/16", **changes)


def distilled(**overrides):
    return create_model(
        "DeiT-Ti-distilled", **{"image_size": 16, "patch_size": 8} | SMALL | overrides
    )


def shapes_of(model):
    return jax.eval_shape(lambda key: init_params(model, key), jax.random.key(0))


def random_params(model):
    shapes = shapes_of(model)
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda s: jnp.asarray(0.3 * rng.standard_normal(s.shape), s.dtype), shapes)


def run(model, params, x, **flags):
    return jax.jit(lambda p, x: model.apply({"params": p}, x, **flags))(params, x)


def images(height, width, batch=2):
    return np.random.default_rng(1).standard_normal((batch, height, width, 3)).astype(np.float32)


def by_path(tree):
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(p, simple=True, separator="/"): leaf for p, leaf in leaves}


@pytest.mark.parametrize("scan", [False, True])
def test_the_stem_is_layer_zero(scan):
    shapes = shapes_of(hybrid(scan=scan))
    ids, num_layers = parameters.layer_ids(shapes)
    assert num_layers == 2
    stem = {path: layer for path, layer in by_path(ids).items() if path.startswith("stem/")}
    assert {"stem/root/conv/kernel", "stem/stage_1/block_01/norm3/scale"} <= stem.keys()
    assert set(stem.values()) == {0}
    decaying = by_path(parameters.match(shapes, (r".*/kernel",)))
    assert {path for path, decays in decaying.items() if decays and path in stem} == {
        path for path in stem if "conv" in path
    }


def test_scanning_leaves_the_stem_alone_and_gives_the_same_numbers():
    model, x = hybrid(), images(*SIZE)
    params = random_params(model)
    stacked = stack_layers(params)
    jax.tree.map(np.testing.assert_array_equal, stacked["stem"], params["stem"])
    jax.tree.map(np.testing.assert_array_equal, unstack_layers(stacked), params)
    actual, desired = run(hybrid(scan=True), stacked, x), run(model, params, x)
    np.testing.assert_allclose(actual, desired, rtol=1e-4, atol=1e-5)


def test_a_hybrid_trains_alike_on_a_mesh():
    """The gradient on data, fsdp and tensor axes is that of one device, with kernels in shards."""
    model, x = hybrid(stem_width=64, stem_depths=(1, 1), remat="full"), images(*SIZE, batch=4)
    params = random_params(model)

    def gradient(params, x):
        return jax.grad(lambda p: jnp.square(model.apply({"params": p}, x)).sum())(params)

    desired = jax.jit(gradient)(params, x)
    mesh = create_mesh({"data": 2, "fsdp": 2, "tensor": 2})
    places = sharding.shardings(params, mesh)
    assert by_path(places)["stem/stage_1/block_00/conv2/kernel"].spec == P(None, None, "fsdp")
    with jax.set_mesh(mesh):
        placed = jax.device_put(params, places)
        actual = jax.jit(gradient)(placed, jax.device_put(x, sharding.batch_sharding(mesh)))
    largest = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(desired))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5 * largest),
        actual,
        desired,
    )


def test_both_heads_shard():
    mesh = create_mesh({"data": 2, "tensor": 4})
    shapes = jax.eval_shape(
        lambda key: init_params(distilled(num_classes=8), key), jax.random.key(0)
    )
    places = by_path(sharding.shardings(shapes, mesh))
    for head in ("head", "head_dist"):
        assert places[f"{head}/kernel"].spec == P(None, "tensor")
        assert places[f"{head}/bias"].spec == P("tensor")


def test_the_position_table_takes_every_image_of_its_grid():
    """Sides are rounded up, so 17 to 20 pixels are as many rows of a map of stride 4 and so on."""
    model = hybrid(stem_depths=())
    params = random_params(model)
    assert model.spec.grid == (5, 3)
    assert run(model, params, images(17, 11)).shape == (2, 5)
    with pytest.raises(UserError, match=r"images of 21x12 .* image_size=\(21, 12\)"):
        model.apply({"params": params}, images(21, 12))


def test_a_distilled_model_returns_the_mean_of_two_heads():
    model, x = distilled(), images(16, 16)
    params = random_params(model)
    logits, found = run(model, params, x, features=True)
    last = np.asarray(found["block_01"], np.float64)
    normal = (last - last.mean(-1, keepdims=True)) / np.sqrt(last.var(-1, keepdims=True) + 1e-6)
    tokens = normal * params["norm"]["scale"] + params["norm"]["bias"]
    for i, name in enumerate(("head", "head_dist")):
        head = params[name]
        desired = tokens[:, i] @ head["kernel"] + head["bias"]
        np.testing.assert_allclose(found[name], desired, rtol=1e-4, atol=1e-5)
    assert np.abs(found["head"] - found["head_dist"]).max() > 0.1
    np.testing.assert_allclose(logits, (found["head"] + found["head_dist"]) / 2, rtol=1e-6)
    np.testing.assert_allclose(found["pre_logits"], tokens[:, :2].mean(1), rtol=1e-4, atol=1e-5)
    headless = {name: value for name, value in params.items() if not name.startswith("head")}
    pooled = run(distilled(num_classes=0), headless, x)
    np.testing.assert_allclose(pooled, found["pre_logits"], rtol=1e-6)


def test_tokens_of_a_distilled_model_come_ahead_of_registers_and_patches():
    model, x = distilled(num_registers=3), images(16, 16)
    params = random_params(model) | {"pos_embed": jnp.zeros((9, 16))}
    _, found = run(model, params, x, features=True)
    tokens = [params[name] for name in ("cls_token", "dist_token", "reg_tokens")]
    np.testing.assert_array_equal(found["stem"][0, :5], np.concatenate(tokens))
    assert model.spec.num_prefix == 5


def test_stochastic_depth_is_the_same_in_all_blocks_of_deit3():
    assert create_model("DeiT-III-S", drop_path=0.3).spec.drop_path_rates == (0.3,) * 12
    rates = create_model("DeiT-S").spec.drop_path_rates
    np.testing.assert_allclose(rates, np.linspace(0, 0.1, 12))


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        (
            "R+Ti/16",
            {"image_size": 240},
            "240x240 is not divisible by patch_size 8 on a map of str",
        ),
        ("R+Ti/16", {"image_size": 240}, "use for example 256x256"),
        ("R50+B/16", {"stem_depths": [3, 0]}, "stem_depths=(3, 0) must be positive"),
        ("R50+B/16", {"stem_depths": 3}, "stem_depths=3 must be tuple[int, ...] or None"),
        ("R50+B/16", {"stem_width": 48}, "stem_width=48 must be a multiple of 32"),
        ("DeiT-S-distilled", {"pool": "gap"}, "distilled=True reads two tokens"),
    ],
)
def test_impossible_members_are_refused_in_one_line(name, overrides, message):
    with pytest.raises(UserError) as error:
        create_model(name, **overrides)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
