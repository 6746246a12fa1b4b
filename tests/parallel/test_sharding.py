# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Where arrays go: rules that always divide, optimisers that follow, rows that cover a batch."""

import itertools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import struct
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import PartitionSpec as P

from vit_jax import create_model
from vit_jax.errors import UserError
from vit_jax.parallel import sharding
from vit_jax.parallel.mesh import AXES, create_mesh
from vit_jax.training import adapters


def abstract(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


FACTORS = [f for f in itertools.product((1, 2, 4, 8), repeat=4) if math.prod(f) == 8]
MESHES = {factors: create_mesh(dict(zip(AXES, factors, strict=True))) for factors in FACTORS}
EIGHT = MESHES[2, 2, 1, 2]
NAMES = st.sampled_from(
    [
        "attn/qkv/kernel",
        "attn/qkv/bias",
        "attn/out/kernel",
        "mlp/fc1/kernel",
        "mlp/fc1/bias",
        "mlp/fc2/kernel",
        "relative_position_bias",
        "head/kernel",
        "head/bias",
        "pos_embed",
        "patch_embed/kernel",
        "norm/scale",
        "pool/q/kernel",
        "pool/kv/kernel",
    ]
)
PREFIXES = st.sampled_from(["", "block_00/", "blocks/", "stage_1/blocks/even/"])
SHAPES = st.lists(st.integers(1, 12) | st.sampled_from([64, 96, 192, 1000]), max_size=5)


def test_tokens_are_split_evenly_or_not_and_maps_only_evenly():
    mesh = MESHES[2, 1, 4, 1]
    kept = jax.jit(lambda x, tokens: sharding.keep_rows(x * 2, tokens=tokens), static_argnums=1)
    with jax.set_mesh(mesh):
        for shape, split in {
            (2, 8, 3): True,
            (2, 4, 3): True,
            (2, 3, 3): False,
            (2, 8, 5, 3): True,
            (2, 7, 8, 3): False,
        }.items():
            got = kept(jnp.ones(shape), True)
            assert got.sharding.spec == (P("data", "sequence") if split else P("data")), shape
            assert kept(jnp.ones(shape), False).sharding.spec == P("data")
        assert sharding.splits_tokens()
        # 197 tokens, as inside a step: an output of a program has to divide.
        text = jax.jit(lambda x: sharding.keep_rows(x * 2).sum()).lower(jnp.ones((2, 197, 3)))
    assert re.search(r"sdy.sharding_constraint.*197", text.as_text())


@given(NAMES, PREFIXES, SHAPES, st.sampled_from(FACTORS))
def test_every_spec_divides_its_shape(name, prefix, shape, factors):
    mesh = MESHES[factors]
    place = sharding.shardings({prefix + name: abstract(*shape)}, mesh)[prefix + name]
    place.shard_shape(tuple(shape))  # raises if a dimension does not divide
    used = [axis for axis in place.spec if axis]
    assert len(used) == len(set(used))
    if prefix.endswith(("blocks/", "even/")) and place.spec:
        assert place.spec[0] is None  # the layer axis stays whole


def specs(tree, mesh=EIGHT):
    places = sharding.shardings(tree, mesh)
    return {path: place.spec for path, place in sharding.named_leaves(places)}


def test_a_vit_is_split_by_heads_and_hidden_units():
    model = create_model("vit_small_patch16_224", num_classes=1000)
    params = jax.eval_shape(
        lambda: model.init(jax.random.key(0), jnp.zeros((1, 224, 224, 3)))["params"]
    )
    found = specs(params)
    block = {path.removeprefix("block_03/"): s for path, s in found.items() if "block_03" in path}
    assert block["attn/qkv/kernel"] == P("fsdp", None, "tensor")  # [384, 3, 6, 64]
    assert block["attn/qkv/bias"] == P(None, "tensor")
    assert block["attn/out/kernel"] == P("tensor", None, "fsdp")  # [6, 64, 384]
    assert block["mlp/fc1/kernel"] == P("fsdp", "tensor")  # [384, 1536]
    assert block["mlp/fc1/bias"] == P("tensor")
    assert block["mlp/fc2/kernel"] == P("tensor", "fsdp")
    assert block["mlp/fc2/bias"] == P()
    assert found["head/kernel"] == P("fsdp", "tensor")
    assert found["pos_embed"] == P(None, "fsdp")  # [197, 384]
    three_heads = specs(params, MESHES[2, 1, 1, 4])["block_03/attn/qkv/kernel"]
    assert three_heads == P()  # 6 heads cannot go four ways


@pytest.mark.parametrize("name", ["vit_small_patch16_224", "swin_tiny_patch4_window7_224"])
def test_scanned_blocks_are_split_like_unrolled_ones(name):
    def params(scan):
        model = create_model(name, scan=scan)
        image = jnp.zeros((1, 224, 224, 3))
        return jax.eval_shape(lambda: model.init(jax.random.key(0), image)["params"])

    unrolled, scanned = specs(params(False)), specs(params(True))
    stacked = {path: spec for path, spec in scanned.items() if "blocks" in path.split("/")}
    assert stacked
    assert {path: s for path, s in scanned.items() if path not in stacked}.items() <= (
        unrolled.items()
    )
    for path, spec in stacked.items():
        head, tail = path.split("blocks/")
        tail = tail.removeprefix("even/").removeprefix("odd/")
        # A layer below the size worth splitting may be above it when stacked.
        spec_of_one = unrolled[f"{head}block_00/{tail}"]
        without = [None if axis == "fsdp" else axis for axis in spec[1:]]
        assert tuple(spec_of_one) in (tuple(spec[1:]), tuple(P(*_strip(without))))


def _strip(axes):
    while axes and axes[-1] is None:
        axes = axes[:-1]
    return axes


def abstract_model(name, rank=0, **overrides):
    model = create_model(name, **overrides)
    params = init_params(model)
    if rank:
        patterns = (".*/(qkv|out|fc1|fc2)/kernel",)
        beside = jax.eval_shape(
            lambda key: adapters.create(params, key, rank=rank, patterns=patterns),
            jax.random.key(0),
        )
        params |= {"adapters": beside}
    return params


def init_params(model):
    image = jnp.zeros((1, *model.spec.size, 3))
    return jax.eval_shape(lambda: model.init(jax.random.key(0), image)["params"])


# What no rule splits, because it is small, or because the sum it needs would cost more.
WHOLE = (
    r"(patch_embed|stem|merge|norm\d?|ls\d)/|pos_embed|_token|probe|(out|fc2)/bias|q_norm|k_norm"
)
ADAPTERS_WHOLE = r"(qkv|fc1)/kernel/a|(out|fc2)/kernel/b"


FAMILIES = {
    "vit": ("vit_small_patch16_224", {}),
    "map": ("vit_small_patch16_224", {"pool": "map", "scan": True}),
    "lora": ("vit_small_patch16_224", {"rank": 4}),
    "lora_scanned": ("vit_small_patch16_224", {"rank": 4, "scan": True}),
    "hybrid": ("vit_small_r26_s32_224", {}),
    "deit": ("deit_small_distilled_patch16_224", {}),
    "swin": ("swin_tiny_patch4_window7_224", {"num_heads": (4, 8, 16, 32), "width": 128}),
    "mixer": ("mixer_s16_224", {}),
    "mixer_scanned": ("mixer_s16_224", {"scan": True}),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_tensor_splits_all_heads_and_hidden_units_of_every_family(family):
    name, fields = FAMILIES[family]
    depth = {"depths": (2, 2, 2, 2)} if family == "swin" else {"depth": 2}
    params, mesh = abstract_model(name, **fields | depth), MESHES[4, 1, 1, 2]
    for path, spec in specs(params, mesh).items():
        adapter = path.startswith("adapters/")
        whole = re.search(ADAPTERS_WHOLE if adapter else WHOLE, path)
        assert ("tensor" in spec) != bool(whole), path
    assert sharding.undivided(params, sharding.shardings(params, mesh)) == []


def test_what_does_not_divide_is_said():
    params = abstract_model("vit_small_patch16_224", depth=2)  # 6 heads
    places = sharding.shardings(params, MESHES[1, 2, 1, 4])
    assert sharding.undivided(params, places) == [
        "mesh.tensor=4 does not divide 6: every device has all of block_00/attn/out/kernel "
        "and 5 more"
    ]
    odd = {"table": abstract(301, 301)}
    said = sharding.undivided(odd, sharding.shardings(odd, EIGHT))
    assert said == ["mesh.fsdp=2 does not divide 301: every device has all of table"]


class State(struct.PyTreeNode):
    params: dict
    opt_state: tuple
    ema_params: dict | None = None


@pytest.mark.parametrize("factors", [(8, 1, 1, 1), (4, 2, 1, 1), (2, 2, 1, 2)], ids=str)
@pytest.mark.parametrize("scan", [False, True])
def test_a_spread_optimiser_is_split_over_data_too(factors, scan):
    """Bytes by hand: of large arrays each device keeps its part of data, fsdp and tensor."""
    params = abstract_model("vit_small_patch16_224", depth=2, scan=scan)
    state = State(params, jax.eval_shape(optax.adamw(1e-3).init, params), params)
    mesh = MESHES[factors]
    places = sharding.shardings(state, mesh, spread_optimiser=True)
    plain = sharding.shardings(state, mesh)
    assert jax.tree.leaves(places.params) == jax.tree.leaves(plain.params)
    whole, owners = (dict(sharding.named_leaves(tree)) for tree in (params, plain.params))
    for part in (places.ema_params, places.opt_state[0].mu, places.opt_state[0].nu):
        for path, place in sharding.named_leaves(part):
            leaf = whole[path]
            large = leaf.size > sharding.SMALL_ELEMENTS
            here = math.prod(place.shard_shape(leaf.shape))
            before = math.prod(owners[path].shard_shape(leaf.shape))
            assert here == (before // factors[0] if large else before), path


def test_a_spread_array_is_a_part_of_what_the_device_has():
    """Of its part over fsdp a device keeps a part over data: nothing moves but over data."""
    tree = {"mlp": {"fc1": {"kernel": abstract(384, 1536)}}}
    state = State(tree, ({"trace": tree},))
    places = sharding.shardings(state, MESHES[4, 2, 1, 1], spread_optimiser=True)
    param = places.params["mlp"]["fc1"]["kernel"]
    kept = places.opt_state[0]["trace"]["mlp"]["fc1"]["kernel"]
    assert (param.spec, kept.spec) == (P(None, "fsdp"), P(None, ("fsdp", "data")))
    assert "-, fsdp x data" in sharding.table([tree["mlp"]["fc1"]["kernel"]], [kept])
    shape = (384, 1536)
    for device, index in kept.devices_indices_map(shape).items():
        ours, larger = index[1], param.devices_indices_map(shape)[device][1]
        assert larger.start <= ours.start < ours.stop <= larger.stop


def test_gradients_go_where_the_spread_optimiser_is():
    tree = {"mlp": {"fc1": {"kernel": jnp.ones((384, 1536)), "bias": jnp.ones(1536)}}}
    assert sharding.spread(tree) is tree
    mesh = MESHES[4, 2, 1, 1]
    with jax.set_mesh(mesh):
        got = jax.jit(lambda tree: sharding.spread(jax.tree.map(lambda x: x + 1, tree)))(tree)
    assert got["mlp"]["fc1"]["kernel"].sharding.spec == P(None, ("fsdp", "data"))
    assert got["mlp"]["fc1"]["bias"].sharding.spec == P()


@pytest.mark.parametrize(
    "optimiser",
    [optax.adamw(1e-3), optax.adafactor(1e-3), optax.contrib.muon(1e-3)],
    ids=["adamw", "adafactor", "muon"],
)
def test_optimiser_state_follows_its_parameter(optimiser):
    params = {
        "block_00": {
            "mlp": {"fc1": {"kernel": abstract(384, 1536), "bias": abstract(1536)}},
            "attn": {"out": {"kernel": abstract(6, 64, 384)}},
        }
    }
    state = State(params, jax.eval_shape(optimiser.init, params))
    places = sharding.shardings(state, EIGHT)
    wanted = dict(sharding.named_leaves(places.params))
    shapes = {path: leaf.shape for path, leaf in sharding.named_leaves(params)}
    followed = 0
    leaves = zip(
        sharding.named_leaves(state.opt_state), jax.tree.leaves(places.opt_state), strict=True
    )
    for (path, leaf), place in leaves:
        place.shard_shape(leaf.shape)
        for name in wanted:
            if path.endswith("/" + name) and leaf.shape == shapes[name]:
                assert place == wanted[name]
                followed += 1
    assert followed >= 1


def test_small_arrays_stay_whole():
    at = math.isqrt(sharding.SMALL_ELEMENTS)
    tree = {"a": abstract(at, at), "b": abstract(at, at + 2), "c": abstract(at + 1, at + 1)}
    assert specs(tree) == {"a": P(), "b": P(None, "fsdp"), "c": P()}


def test_own_rules_take_over():
    rules = (("table", ("fsdp", "tensor")),)
    place = sharding.shardings({"x": {"table": abstract(4, 6)}}, EIGHT, rules)
    assert place["x"]["table"].spec == P("fsdp", "tensor")
    assert sharding.shardings({"untable": abstract(4, 6)}, EIGHT, rules)["untable"].spec == P()


def test_the_table_tells_the_memory():
    tree = {"fc1": {"kernel": abstract(1024, 2048)}, "scale": abstract(1024)}
    text = sharding.table(tree, sharding.shardings(tree, EIGHT))
    kernel, scale, total = text.splitlines()[2:]
    assert kernel.split() == ["fc1/kernel", "1024x2048", "fsdp,", "tensor", "2.00"]
    assert scale.split() == ["scale", "1024", "whole", "0.00"]
    assert total.split() == ["total", "2.00"]


@pytest.mark.parametrize("factors", FACTORS, ids=str)
def test_a_batch_comes_back_as_it_went(factors):
    mesh = MESHES[factors]
    rng = np.random.default_rng(0)
    batch = {
        "image": rng.integers(0, 256, (16, 4, 4, 3), np.uint8),
        "label": rng.integers(0, 9, 16, np.int32),
    }
    assert sharding.local_rows(mesh, 16).tolist() == list(range(16))
    placed = sharding.put_batch(batch, mesh, 16)
    for name, array in placed.items():
        np.testing.assert_array_equal(array, batch[name], strict=True)
        rows = 16 // (factors[0] * factors[1])
        assert {shard.data.shape[0] for shard in array.addressable_shards} == {rows}


def test_rows_of_another_process_are_not_asked_for(monkeypatch):
    """Half of the devices, not adjacent in the batch, as if the others were elsewhere."""
    mesh = create_mesh({"data": 4, "fsdp": 2})
    place = sharding.batch_sharding(mesh)
    here = {d for d in mesh.devices.flat if d.id % 4 in (1, 2)}
    every = place.devices_indices_map((16,))
    expected = sorted(r for d in here for r in range(16)[every[d][0]])
    monkeypatch.setattr(
        type(place),
        "addressable_devices_indices_map",
        lambda self, shape: {d: i for d, i in every.items() if d in here},
    )
    sharding.local_rows.cache_clear()
    rows = sharding.local_rows(mesh, 16)
    sharding.local_rows.cache_clear()
    assert rows.tolist() == expected == [2, 3, 4, 5, 10, 11, 12, 13]


@pytest.mark.parametrize(("size", "steps", "near"), [(12, 1, "16"), (0, 1, "8"), (24, 2, "32")])
def test_a_batch_that_does_not_divide_is_refused(size, steps, near):
    with pytest.raises(UserError, match=rf"batch_size={size} cannot be split.* such as {near}$"):
        sharding.check_batch_size(MESHES[8, 1, 1, 1], size, steps)


def test_missing_rows_are_noticed():
    with pytest.raises(ValueError, match="got 8 rows, this process holds 16"):
        sharding.put_batch({"x": np.zeros(8)}, EIGHT, 16)


def test_hints_do_nothing_without_a_mesh():
    x = jnp.ones((8, 3))
    assert sharding.constrain(x, sharding.BATCH_AXES) is x
    hinted = jax.jit(lambda x: sharding.constrain(x, sharding.BATCH_AXES))
    with jax.set_mesh(EIGHT):
        assert hinted(x).sharding.spec == P(("data", "fsdp"))


def test_rows_are_kept_where_they_divide():
    x, few, one = jnp.ones((8, 3)), jnp.ones((6, 3)), jnp.ones((1, 3))
    kept = jax.jit(lambda x: sharding.keep_rows(x) + 0)
    with jax.set_mesh(EIGHT):
        assert kept(x).sharding.spec == P(("data", "fsdp"))
        assert kept(few).shape == few.shape
        assert kept(one).shape == one.shape
        hidden = jax.jit(lambda x: sharding.keep_rows(x * 2, hidden=True))
        split = jax.NamedSharding(EIGHT, P(("data", "fsdp"), "tensor"))
        assert hidden(jax.device_put(jnp.ones((8, 4)), split)).sharding.spec == split.spec
    other = jax.make_mesh((8,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    with jax.set_mesh(other):
        assert sharding.keep_rows(x) is x
    assert sharding.keep_rows(x) is x
