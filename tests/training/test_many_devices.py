# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Eight devices in one process: the same training as on one, with no switch, in less memory."""

import math

import jax
import pytest
import tiny_runs as runs

from vit_jax.parallel import sharding
from vit_jax.parallel.mesh import configured_mesh
from vit_jax.planning import memory
from vit_jax.training import loop
from vit_jax.training import program as program_lib

# Wide enough that fsdp splits the matrices of the MLP.
MODEL = (
    "{'patch_size': 4, 'width': 64, 'depth': 1, 'num_heads': 2, 'mlp_dim': 2048, "
    "'dropout': 0.1, 'drop_path': 0.1}"
)
FIELDS = {
    "model.overrides": MODEL,
    "train.duration": "6 steps",
    "schedule.warmup": "2 steps",
    "evaluation.every": "3 steps",
    "checkpoint.every": "6 steps",
    "log.every_steps": "1",
}


def wide_config(**fields):
    return runs.tiny_config(**{k.replace(".", "__"): v for k, v in FIELDS.items()}, **fields)


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    """The record of the run on one device, made by the command."""
    folder = tmp_path_factory.mktemp("one") / "run"
    runs.complete(folder, *(f"--config.{key}={value}" for key, value in FIELDS.items()))
    return runs.record(folder)


@pytest.mark.parametrize(
    "mesh",
    [
        pytest.param({}, id="no switch"),
        pytest.param({"fsdp": 8}, id="fsdp"),
        pytest.param({"fsdp": 4}, id="data x fsdp", marks=pytest.mark.slow),
        pytest.param({"fsdp": 2, "tensor": 2}, id="data x fsdp x tensor"),
    ],
)
def test_the_same_curve_as_on_one_device(one_device, tmp_path, mesh):
    """Losses of every step and evaluation; dropout, mixup and averaging are on."""
    config = wide_config(**{f"mesh__{axis}": size for axis, size in mesh.items()})
    assert config.mesh.data == -1
    loop.train(config, tmp_path / "run")
    record = runs.record(tmp_path / "run")
    assert [(x["step"], x["split"]) for x in record] == [
        (x["step"], x["split"]) for x in one_device
    ]
    assert sum(line["split"] == "train" for line in record) == 6
    for line, expected in zip(record, one_device, strict=True):
        assert line["loss"] == pytest.approx(expected["loss"], rel=2e-5), line["step"]


def compiled_usage(fsdp, **fields):
    """What the training step takes on each of eight devices, and the state alone."""
    config = wide_config(mesh__fsdp=fsdp, **fields)
    mesh = configured_mesh(config.mesh)
    with jax.set_mesh(mesh):
        data = program_lib.open_data(config, mesh)
        steps = program_lib.resolve_steps(config, data.train_examples)
        program = program_lib.build(config, data, steps, mesh)
        usage = memory.usage(program_lib.compile_step(program, mesh))
    return usage, program.abstract_state


def test_auto_spreads_a_state_that_is_too_large_for_one(one_device, tmp_path, capsys):
    """Of its state alone a device has room for four fifths; it trains as one device does."""
    _, state = compiled_usage(fsdp=1)
    room = sharding.shard_bytes(state) * 4 / 5 / memory.GIB
    config = wide_config(memory="auto", memory_gib=room)
    loop.train(config, tmp_path / "run")
    output = capsys.readouterr().out
    assert "the state alone takes" in output
    assert "memory=auto: goes on with --config.mesh.fsdp=" in output
    losses = [line["loss"] for line in runs.record(tmp_path / "run")]
    assert losses == pytest.approx([line["loss"] for line in one_device], rel=2e-5)


def test_memory_of_a_device_falls_with_fsdp():
    found = {fsdp: compiled_usage(fsdp) for fsdp in (1, 2, 8)}
    totals = [usage.total for usage, _ in found.values()]
    assert totals == sorted(totals, reverse=True)
    batch = 32 // 8 * (8 * 8 * 1 + 4)  # uint8 images and int32 labels
    for fsdp, (usage, state) in found.items():
        # By hand: matrices of more than 2^16 elements are split over fsdp, all else is whole.
        large = [leaf for leaf in jax.tree.leaves(state) if leaf.size > sharding.SMALL_ELEMENTS]
        small = [leaf for leaf in jax.tree.leaves(state) if leaf.size <= sharding.SMALL_ELEMENTS]
        assert len(large) == 2 * 4  # two matrices, each with two moments and an average
        expected = sum(4 * math.prod(leaf.shape) for leaf in large) // fsdp
        expected += sum(leaf.size * leaf.dtype.itemsize for leaf in small)
        assert usage.held == expected + batch
        assert sharding.shard_bytes(state) == expected
    assert found[8][0].total < 0.5 * found[1][0].total


def test_scanned_blocks_keep_their_rows():
    """Of activations a device has its own rows, not those of all: they are most of this step."""
    fields = {"model__scan": True, "train__batch_size": 1024}
    whole, split = (compiled_usage(fsdp, **fields)[0].working for fsdp in (1, 8))
    assert split < 1.1 * whole
