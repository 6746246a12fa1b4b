# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Low-rank adapters: what they add, what trains, and that nobody else needs to know."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_runs as runs
from flax.traverse_util import flatten_dict

from vit_jax.config import default_config
from vit_jax.errors import UserError
from vit_jax.layers.stack import stack_layers
from vit_jax.models import create_model, init_params
from vit_jax.optim import create_optimiser, parameters
from vit_jax.training import adapters, checkpoint, loop, trained

RNG = np.random.default_rng(0)
RANK, SCALE = 3, 0.7
EVERYTHING = (r".*/kernel",)

MODELS = {
    "vit": ("vit_tiny_patch16_224", {"patch_size": 8, "width": 24, "num_heads": 2, "mlp_dim": 40}),
    "swin": ("swin_tiny_patch4_window7_224", {"width": 8, "depths": (2, 2), "num_heads": (2, 4)}),
    "mixer": (
        "mixer_s16_224",
        {"patch_size": 8, "width": 24, "token_mlp_dim": 8, "channel_mlp_dim": 40},
    ),
}


def tiny(family, **overrides):
    name, shape = MODELS[family]
    depth = {} if family == "swin" else {"depth": 2}
    window = {"window_size": 4} if family == "swin" else {}
    return create_model(name, 5, image_size=32, **shape, **depth, **window, **overrides)


def adapted(model, patterns=EVERYTHING, freeze=()):
    return adapters.Transformed(model, RANK, SCALE, patterns, freeze)


def randomised(tree):
    return jax.tree.map(lambda x: 0.2 * RNG.normal(size=x.shape).astype(np.float32), tree)


def images():
    return RNG.normal(size=(2, 32, 32, 3)).astype(np.float32)


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("family", MODELS)
def test_it_starts_as_the_model_it_adapts(family):
    model, x = tiny(family), images()
    variables = adapted(model).init(jax.random.key(0), x, train=False)
    own, beside = adapters.split(variables["params"])
    jax.tree.map(np.testing.assert_array_equal, own, init_params(model, jax.random.key(0)))
    parts = flatten_dict(beside["adapters"], sep="/")
    assert all((value == 0).all() == path.endswith("/b") for path, value in parts.items())
    head = {name: randomised(tree) if "head" in name else tree for name, tree in own.items()}
    found = adapted(model).apply({"params": {**head, **beside}}, x)
    np.testing.assert_array_equal(found, model.apply({"params": head}, x))


def by_hand(path, kernel, a, b):
    """W + scale A B in float64, one matrix after the other."""
    kernel, a, b = (np.asarray(x, np.float64) for x in (kernel, a, b))
    if "blocks" in path.split("/"):
        layers = [by_hand(path.replace("blocks", "x"), *p) for p in zip(kernel, a, b, strict=True)]
        return np.stack(layers)
    result = kernel.copy()
    if "qkv" in path:  # [D, 3, H, K]: A [D, 3, r], B [3, r, H, K]
        for i in range(3):
            result[:, i] += SCALE * (a[:, i] @ b[i].reshape(RANK, -1)).reshape(kernel[:, i].shape)
        return result
    outputs = kernel.shape[-1]  # the others are inputs: [H, K, D], [P, P, C, D], [D, M]
    return result + SCALE * (a.reshape(-1, RANK) @ b.reshape(RANK, outputs)).reshape(kernel.shape)


@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize("family", MODELS)
def test_merged_and_unmerged_are_one_model(family, scan):
    model = tiny(family, scan=scan)
    shapes = jax.eval_shape(lambda: adapted(model).init(jax.random.key(0), images()))
    params = randomised(shapes["params"])
    merged = adapters.merge(params, SCALE)
    own, beside = adapters.split(params)
    flat, parts = (flatten_dict(tree, sep="/") for tree in (own, beside["adapters"]))
    for path, value in flatten_dict(merged, sep="/").items():
        assert isinstance(value, np.ndarray)
        if path.endswith("/kernel") and not path.startswith("head"):
            value_by_hand = by_hand(path, flat[path], parts[f"{path}/a"], parts[f"{path}/b"])
            np.testing.assert_allclose(value, value_by_hand, rtol=1e-5, atol=1e-6, err_msg=path)
        else:
            np.testing.assert_array_equal(value, flat[path], err_msg=path)
    x = images()
    close(adapted(model).apply({"params": params}, x), model.apply({"params": merged}, x))


def test_scanned_adapters_are_those_of_each_layer():
    plain, x = tiny("vit"), images()
    params = adapted(plain).init(jax.random.key(0), x)["params"]
    params = randomised(params)
    scanned = adapted(tiny("vit", scan=True)).apply({"params": stack_layers(params)}, x)
    close(adapted(plain).apply({"params": params}, x), scanned)


def test_gradients_and_optimiser_state_only_where_something_trains():
    model = adapted(tiny("vit"), (r".*/attn/.*/kernel",))
    params = randomised(model.init(jax.random.key(0), images())["params"])
    x = images()
    grads = jax.grad(lambda p: jnp.sum(jnp.sin(model.apply({"params": p}, x))))(params)
    config = default_config()
    config.optimiser.name = "adamw"
    state = create_optimiser(config, lambda step: 1e-3, params).init(params)
    width, depth = 24, 2
    trainable = depth * 4 * 2 * width * RANK + (width + 1) * 5
    trains = {
        path: path.startswith(("adapters/", "head/")) for path in flatten_dict(params, sep="/")
    }
    for path, grad in flatten_dict(grads, sep="/").items():
        assert (grad != 0).any() == trains[path], path
    moments = [leaf for leaf in jax.tree.leaves(state) if leaf.ndim]
    assert sum(leaf.size for leaf in moments) == 2 * trainable


def test_the_base_of_a_frozen_model_has_no_gradient():
    model = adapters.Transformed(tiny("vit"), 0, 1.0, (), (r"(?!head/).*",))
    params = randomised(model.init(jax.random.key(0), images())["params"])
    x = images()
    grads = jax.grad(lambda p: jnp.sum(jnp.sin(model.apply({"params": p}, x))))(params)
    for path, grad in flatten_dict(grads, sep="/").items():
        assert (grad != 0).any() == path.startswith("head/"), path


def test_layers_and_groups_of_adapters_are_those_of_their_kernels():
    model = tiny("vit", scan=True)
    params = jax.eval_shape(lambda: adapted(model).init(jax.random.key(0), images()))["params"]
    ids, _ = parameters.layer_ids(params)
    np.testing.assert_array_equal(ids["adapters"]["blocks"]["mlp"]["fc1"]["kernel"]["a"], [1, 2])
    assert ids["adapters"]["patch_embed"]["kernel"]["a"] == 0
    groups = parameters.scanned_groups(params)
    assert groups["adapters"]["blocks"]["mlp"]["fc1"]["kernel"]["a"] == "adapters/blocks"


@pytest.mark.parametrize(
    ("patterns", "rank", "message"),
    [
        ((r".*/atn/.*/kernel",), 2, r"adapters.patterns: '.\*/atn/.\*/kernel' matches no kernel"),
        (("head/kernel",), 2, "adapters.patterns: 'head/kernel' matches no kernel"),
        ((r"block_00/mlp/fc1/kernel",), 24, r"adapters.rank=24 is not below 24, the rank of block"),
    ],
)
def test_refusals(patterns, rank, message):
    model = adapters.Transformed(tiny("vit"), rank, SCALE, patterns, ())
    with pytest.raises(UserError, match=message):
        model.init(jax.random.key(0), images())


LORA = {
    "adapters__rank": 2,
    "adapters__scale": 0.5,
    "train__duration": "8 steps",
    "schedule__warmup": "2 steps",
    "evaluation__every": "4 steps",
    "checkpoint__every": "4 steps",
    "model__scan": True,
}


def test_a_run_resumes_and_leaves_a_plain_model(tmp_path):
    """Sharded, scanned, averaged; what is loaded gives the numbers that evaluation recorded."""
    mesh = {"mesh__data": 2, "mesh__fsdp": 2, "mesh__tensor": 2}
    config = runs.tiny_config(**LORA, **mesh)
    results = loop.train(config, tmp_path / "whole")
    half = runs.copy_until(tmp_path / "whole", tmp_path / "cut", 4)
    loop.train(config, half)
    runs.assert_same_bits(tmp_path / "whole", half)

    run = trained.load(tmp_path / "whole")
    assert "adapters" not in run.params
    raw = checkpoint.load(tmp_path / "whole", ema=False).params
    fresh = adapters.transform(trained.build_model(config, 10, run.ops), config)
    start = fresh.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))["params"]
    assert jax.tree.structure(raw) == jax.tree.structure(start)
    assert (raw["adapters"]["blocks"]["attn"]["qkv"]["kernel"]["b"] != 0).any()

    from vit_jax.evaluation import classification

    again = classification.evaluate_checkpoint(tmp_path / "whole")
    assert again["accuracy"] == pytest.approx(results["test"]["accuracy"])
    assert again["loss"] == pytest.approx(results["test"]["loss"], rel=1e-4)
