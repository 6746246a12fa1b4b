# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Patterns, layer numbers and factors on trees named like a ViT's and a Swin's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax.errors import UserError
from vit_jax.layers.stack import stack_layers, unstack_layers
from vit_jax.optim import parameters


def leaf(*shape):
    return jnp.zeros(shape, jnp.float32)


def block():
    return {"attn": {"qkv": {"kernel": leaf(4, 3, 2, 2), "bias": leaf(3, 2, 2)}}, "norm1": leaf(4)}


def vit(depth=3):
    return {
        "patch_embed": {"kernel": leaf(2, 2, 3, 4), "bias": leaf(4)},
        "cls_token": leaf(1, 1, 4),
        "reg_tokens": leaf(1, 4, 4),
        "pos_embed": leaf(1, 5, 4),
        "pre_norm": {"scale": leaf(4)},
        **{f"block_{i:02d}": block() for i in range(depth)},
        "norm": {"scale": leaf(4)},
        "pool": {"probe": leaf(1, 1, 4)},
        "pre_logits": {"kernel": leaf(4, 4)},
        "head": {"kernel": leaf(4, 2)},
    }


def swin(depths=(2, 4, 2)):
    stages = {
        f"stage_{s}": {f"block_{i:02d}": block() for i in range(depth)}
        | ({"merge": {"kernel": leaf(8, 4)}} if s else {})
        for s, depth in enumerate(depths)
    }
    ahead = {"patch_embed": {"kernel": leaf(2, 2, 3, 4), "norm": {"scale": leaf(4)}}}
    return ahead | stages | {"norm": {"scale": leaf(4)}, "head": {"kernel": leaf(4, 2)}}


def by_path(tree):
    names = jax.tree.leaves(parameters.paths(tree))
    return dict(zip(names, jax.tree.leaves(tree), strict=True))


def test_paths_join_the_keys():
    tree = {"block_00": {"attn": {"qkv": {"kernel": leaf(1)}}}, "pos_embed": leaf(1)}
    assert jax.tree.leaves(parameters.paths(tree)) == ["block_00/attn/qkv/kernel", "pos_embed"]


def test_match_is_on_the_whole_path():
    found = by_path(parameters.match(vit(), [r".*/kernel", "pos_embed"]))
    assert {path for path, hit in found.items() if hit} == {
        "patch_embed/kernel", "pos_embed", "pre_logits/kernel", "head/kernel",
        *(f"block_{i:02d}/attn/qkv/kernel" for i in range(3)),
    }  # fmt: skip
    assert not any(jax.tree.leaves(parameters.match(vit(), ["kernel", "embed", "block_00"])))


def test_layers_of_a_vit():
    ids, depth = parameters.layer_ids(vit())
    ids = by_path(ids)
    assert depth == 3
    for name in ("patch_embed/kernel", "cls_token", "reg_tokens", "pos_embed", "pre_norm/scale"):
        assert ids[name] == 0
    for i in range(3):
        assert ids[f"block_{i:02d}/attn/qkv/kernel"] == i + 1
    for name in ("norm/scale", "pool/probe", "pre_logits/kernel", "head/kernel"):
        assert ids[name] == 4


def test_layers_of_a_swin():
    ids, depth = parameters.layer_ids(swin())
    ids = by_path(ids)
    assert depth == 8
    assert ids["patch_embed/norm/scale"] == 0
    first = {"stage_0": 1, "stage_1": 3, "stage_2": 7}
    for stage, start in first.items():
        assert ids[f"{stage}/block_01/norm1"] == start + 1
        assert ids.get(f"{stage}/merge/kernel", start) == start
    assert ids["norm/scale"] == ids["head/kernel"] == 9


def test_more_than_ten_stages_and_a_hundred_blocks_keep_their_order():
    ids, depth = parameters.layer_ids({f"block_{i:02d}": {"scale": leaf(1)} for i in range(101)})
    assert depth == 101
    assert by_path(ids)["block_100/scale"] == 101


@pytest.mark.parametrize("tree", [vit(), swin()], ids=["vit", "swin"])
def test_scanned_layers_are_the_unrolled_ones(tree):
    unrolled, depth = parameters.layer_ids(tree)
    scanned, scanned_depth = parameters.layer_ids(stack_layers(tree))
    assert scanned_depth == depth
    assert by_path(unstack_layers(scanned)) == by_path(unrolled)


@pytest.mark.parametrize("tree", [vit(), swin()], ids=["vit", "swin"])
def test_scanned_factors_are_the_unrolled_ones(tree):
    stacked = stack_layers(tree)
    factors = parameters.layer_factors(stacked, 0.7)
    full = jax.tree.map(lambda f, p: np.broadcast_to(f, p.shape), factors, stacked)
    ids, depth = parameters.layer_ids(tree)
    for path, factor in by_path(unstack_layers(full)).items():
        np.testing.assert_allclose(factor, 0.7 ** (depth + 1 - by_path(ids)[path]), rtol=1e-6)


def test_factors_need_only_shapes():
    abstract = jax.eval_shape(lambda: stack_layers(swin()))
    shapes = jax.tree.map(np.shape, parameters.layer_factors(abstract, 0.5))
    assert shapes["stage_1"]["blocks"]["odd"]["attn"]["qkv"]["kernel"] == (2, 1, 1, 1, 1)


def test_the_first_matching_multiplier_counts():
    factors = by_path(parameters.pattern_factors(vit(), [("head/.*", 10.0), (".*/kernel", 0.5)]))
    assert (factors["head/kernel"], factors["pre_logits/kernel"], factors["cls_token"]) == (
        10,
        0.5,
        1,
    )


def test_a_pattern_without_parameter_names_a_near_path():
    with pytest.raises(
        UserError, match=r"optimiser.freeze: 'heads/kernel'.*'head/kernel'"
    ) as error:
        parameters.check_patterns(vit(), ["heads/kernel"], field="optimiser.freeze")
    assert "\n" not in str(error.value)


def test_a_pattern_of_one_scanned_block_says_why_not():
    with pytest.raises(UserError, match=r"scanned blocks are one parameter"):
        parameters.check_patterns(stack_layers(vit()), ["block_00/.*"], field="optimiser.freeze")


def test_a_broken_pattern_is_named():
    with pytest.raises(UserError, match=r"optimiser.freeze: '\*head' is not a regular expression"):
        parameters.check_pattern("*head", field="optimiser.freeze")
