# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Every factorisation of eight devices takes the steps of one; devices say what they should.

With UPDATE_GOLDEN=1 in the environment the tables of golden/ are written anew.
"""

import functools
import importlib.metadata
import itertools
import math
import os
import pathlib

import jax
import mesh_steps
import numpy as np
import pytest
from mesh_steps import Setting

from vit_jax.parallel import collectives, sharding
from vit_jax.parallel.mesh import AXES, create_mesh

GOLDEN = pathlib.Path(__file__).with_name("golden")
STEPS = 3
FACTORS = [f for f in itertools.product((1, 2, 4, 8), repeat=4) if math.prod(f) == 8]


@pytest.fixture(autouse=True)
def small_arrays_are_split(monkeypatch):
    """So that models which compile fast have matrices that fsdp splits."""
    monkeypatch.setattr(sharding, "SMALL_ELEMENTS", 256)


def mesh_of(**shape):
    return create_mesh(shape, jax.devices()[: math.prod(shape.values())])


@functools.cache
def made(setting, **shape):
    return setting.compiled(mesh_of(**shape))


@functools.cache
def params_of(family):
    return mesh_steps.random_params(Setting(family))


@functools.cache
def truth(family):
    """The state after the steps in float64; scanned or not, it is the same."""
    return mesh_steps.exact(Setting(family, scan=True), mesh_of(data=1), params_of(family), STEPS)


def errors(setting, **shape):
    """The relative distance to the truth of parameters, momenta and averages."""
    params = params_of(setting.family)
    found = mesh_steps.train(setting, mesh_of(**shape), params, STEPS, made(setting, **shape))
    exact, parts = truth(setting.family), ("params", "opt_state", "ema_params")
    return [_distance(getattr(found, part), getattr(exact, part)) for part in parts]


def _distance(tree, expected):
    pairs = list(zip(jax.tree.leaves(tree), jax.tree.leaves(expected), strict=True))
    apart = sum(np.square(np.float64(a) - b).sum() for a, b in pairs)
    return math.sqrt(apart / sum(np.square(b).sum() for _, b in pairs))


@functools.cache
def errors_of_one_device(family, scan):
    return errors(Setting(family, scan), data=1)


def check_numbers(setting, **shape):
    """No further from the truth than one device, but for the order of its sums."""
    one = errors_of_one_device(setting.family, setting.scan)
    assert max(one) < 1e-6
    for got, expected in zip(errors(setting, **shape), one, strict=True):
        assert got < 2 * expected


VIT = Setting("vit", scan=True)
SPREAD = Setting("vit", scan=True, spread_optimiser=True)
QUICK = {
    "fsdp": (VIT, {"fsdp": 4}),
    "tensor_sequence": (VIT, {"sequence": 2, "tensor": 4}),
    "spread": (SPREAD, {"data": 2, "fsdp": 2, "tensor": 2}),
}


@pytest.mark.parametrize("case", QUICK)
def test_some_meshes_take_the_steps_of_one_device(case):
    setting, shape = QUICK[case]
    check_numbers(setting, **shape)


@pytest.mark.slow
@pytest.mark.parametrize("factors", FACTORS, ids=str)
@pytest.mark.parametrize("scan", [False, True], ids=["unrolled", "scanned"])
@pytest.mark.parametrize("family", mesh_steps.MODELS)
def test_every_mesh_takes_the_steps_of_one_device(family, scan, factors):
    check_numbers(Setting(family, scan), **dict(zip(AXES, factors, strict=True)))


@pytest.mark.slow
@pytest.mark.parametrize("family", mesh_steps.MODELS)
@pytest.mark.parametrize("shape", [{"data": 8}, {"data": 4, "fsdp": 2}, {"data": 2, "tensor": 4}])
def test_a_spread_optimiser_takes_the_same_steps(family, shape):
    check_numbers(Setting(family, scan=True, spread_optimiser=True), **shape)


# Layouts whose collectives are kept: what is compiled for numbers above, and each axis alone.
LAYOUTS = QUICK | {
    "fsdp_unrolled": (Setting("vit"), {"fsdp": 4}),
    "tensor": (VIT, {"tensor": 4}),
    "tensor_unrolled": (Setting("vit"), {"tensor": 4}),
    "sequence": (VIT, {"sequence": 4}),
    "spread_data": (SPREAD, {"data": 4}),
    "mixer_fsdp": (Setting("mixer", scan=True), {"fsdp": 4}),
    "mixer_tensor": (Setting("mixer", scan=True), {"tensor": 2}),
    "mixer_sequence": (Setting("mixer", scan=True), {"sequence": 4}),
    "swin_fsdp": (Setting("swin", scan=True), {"fsdp": 4}),
    "swin_tensor": (Setting("swin", scan=True), {"tensor": 2}),
    "swin_sequence": (Setting("swin", scan=True), {"sequence": 2}),
}


def said(setting, **shape):
    return collectives.read(made(setting, **shape)[0].as_text(), mesh_of(**shape))


@pytest.mark.skipif(
    not importlib.metadata.version("jaxlib").startswith("0.10."),
    reason="another XLA may lay out and say things differently; its numbers are compared above",
)
@pytest.mark.parametrize(
    "layout", [x if x in QUICK else pytest.param(x, marks=pytest.mark.slow) for x in LAYOUTS]
)
def test_devices_say_what_they_said(layout):
    setting, shape = LAYOUTS[layout]
    table, path = mesh_steps.census(said(setting, **shape)), GOLDEN / f"{layout}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(table)
    assert table == path.read_text()


def test_golden_has_nothing_else():
    found = {path.stem for path in GOLDEN.glob("*.txt")}
    assert {name for name in found if not name.startswith("tpu_")} == set(LAYOUTS)


OTHER_FSDP = ("fsdp_unrolled", "mixer_fsdp", "swin_fsdp")


def sizes_of(params, split_only=True):
    """Elements of the arrays of a layer, of those that fsdp splits."""
    sizes = {}
    for path, leaf in sharding.named_leaves(params):
        scanned = "blocks" in path.split("/")
        if leaf.size > sharding.SMALL_ELEMENTS or not split_only:
            sizes[path] = (leaf.size // leaf.shape[0], leaf.shape[0]) if scanned else (leaf.size, 1)
    return sizes


@pytest.mark.parametrize(
    "layout",
    ["fsdp"] + [pytest.param(x, marks=pytest.mark.slow) for x in OTHER_FSDP],
)
def test_fsdp_gathers_weights_and_never_activations(layout):
    """Each weight for each pass, each gradient once; nothing else that grows with the batch."""
    setting, shape = LAYOUTS[layout]
    rows = said(setting, **shape)
    split = sizes_of(made(setting, **shape)[1].params)
    gathered = [x for row in rows if row.kind == "all-gather" for x in row.shapes * row.times]
    weights = {size for size, _ in split.values()}
    assert {mesh_steps.count_elements(x) for x in gathered} <= weights
    layers = sum(count for _, count in split.values())
    assert layers <= len(gathered) <= 2 * layers  # forward; and backward, unless it was kept
    every = sizes_of(made(setting, **shape)[1].params, split_only=False)
    summed = [x for row in rows if row.kind != "all-gather" for x in row.shapes * row.times]
    assert {row.kind for row in rows} == {"all-gather", "all-reduce"}
    # A window's bias is summed up over devices before it is over windows: pairs of 16 pixels.
    summed = [shape for shape in summed if not shape.endswith(",16,16]")]
    large = [x for x in map(mesh_steps.count_elements, summed) if x > sharding.SMALL_ELEMENTS]
    expected = [size for size, count in every.values() for _ in range(count)]
    assert sorted(large) == sorted(x for x in expected if x > sharding.SMALL_ELEMENTS)


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["tensor", "tensor_unrolled", "mixer_tensor", "swin_tensor"])
def test_tensor_sums_twice_a_block_and_pass(layout):
    setting, shape = LAYOUTS[layout]
    rows = said(setting, **shape)
    assert {(row.kind, row.axes) for row in rows} == {("all-reduce", ("tensor",))}
    blocks = 4 if setting.family == "swin" else 2
    per_example = {"vit": [17 * 32], "mixer": [16 * 32], "swin": [16**2 * 16, 8**2 * 32]}
    activations = {mesh_steps.BATCH * size for size in per_example[setting.family]}
    sums = [x for row in rows for x in row.shapes * row.times]
    assert sum(mesh_steps.count_elements(x) in activations for x in sums) == (2 + 2) * blocks
