# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What attention maps take, against the maps that the models really make."""

import json

import jax
import numpy as np
import pytest

from vit_jax import cli
from vit_jax.inspection import memory
from vit_jax.models import create_model, init_variables, list_models, model_info

SHALLOW, SHALLOW_SWIN = {"depth": 1}, {"depths": (1, 2), "num_heads": (3, 6)}
VARIETY = [
    ("vit_tiny_patch16_224", SHALLOW),
    ("vit_tiny_patch16_224", SHALLOW | {"pool": "map"}),
    ("vit_tiny_patch16_224", SHALLOW | {"pool": "gap", "num_registers": 4, "image_size": (64, 96)}),
    ("deit_tiny_distilled_patch16_224", SHALLOW),
    ("vit_small_r26_s32_224", SHALLOW | {"stem_depths": (1, 1, 1, 1)}),
    ("swin_tiny_patch4_window7_224", SHALLOW_SWIN),
    ("swin_tiny_patch4_window7_224", SHALLOW_SWIN | {"image_size": (100, 60)}),
    ("mixer_s32_224", SHALLOW),
    ("resnet18", {"depths": (1,)}),
]


@pytest.mark.parametrize(("name", "fields"), VARIETY)
def test_counts_are_those_of_the_real_maps(name, fields):
    """Block by block: entries of the arrays that `attention_maps=True` returns."""
    model = create_model(name, 2, **fields)
    shape = (*model.spec.size, 3)
    params, rest = jax.eval_shape(lambda: init_variables(model, jax.random.key(0), shape))
    _, found = jax.eval_shape(
        lambda p, r, x: model.apply({"params": p, **r}, x, attention_maps=True),
        params,
        rest,
        jax.ShapeDtypeStruct((1, *shape), np.float32),
    )
    real = {n.removesuffix("/attention"): s.shape[1:] for n, s in found.items() if "attention" in n}
    counted = {maps.name: maps for maps in memory.attention_maps(model.spec)}
    assert counted.keys() == real.keys()
    for block, sizes in real.items():
        maps = counted[block]
        assert (maps.count, maps.queries, maps.keys) == (np.prod(sizes[:-2]), *sizes[-2:])
    assert memory.attention_bytes(model.spec) == 4 * sum(np.prod(s) for s in real.values())


def test_attention_over_pixels_of_the_lecture_notes():
    """R = 128, 48 layers, 16 heads, float32: 768 GiB."""
    assert memory.pixel_attention_bytes(128, layers=48, heads=16) == 768 * 2**30


@pytest.mark.parametrize("size", ["0", "224x0"])
def test_a_picture_without_pixels_is_refused(size, capsys):
    command = ["models", "swin_tiny*", "--attention-memory", f"--image-size={size}"]
    assert cli.main(command) == 2
    assert "a side has at least 1 pixel" in capsys.readouterr().err


def test_a_size_may_fit_and_its_double_not():
    """Of 29 pixels a stem of stride 4 leaves a map of 8, of 58 one of 15."""
    row = memory.row("vit_tiny_r_s16_p8_224", (29, 29))
    assert (row["entries_a_map"], row["side_doubled"]) == (4, None)


def test_patches_of_16_pixels_have_38416_pairs():
    """196 patches of 224 x 224 pixels: 196^2 entries a map without a class token."""
    spec = create_model("ViT-B/16", 2, pool="gap").spec
    assert {maps.queries * maps.keys for maps in memory.attention_maps(spec)} == {38_416}


@pytest.mark.parametrize("name", list_models("swin_*"))
def test_windows_grow_with_the_area(name):
    spec = model_info(name).spec
    sizes = [tuple(n * side for side in spec.size) for n in (1, 2, 4)]
    bytes_of = [memory.attention_bytes(spec, size) for size in sizes]
    assert [b / bytes_of[0] for b in bytes_of] == [1, 4, 16]


def test_patches_grow_with_the_square_of_the_area():
    spec = create_model("ViT-B/16", 2, pool="gap").spec
    now, twice = (memory.attention_bytes(spec, (n, n)) for n in (224, 448))
    assert twice / now == 16


def test_the_command_prints_a_row_a_model(capsys):
    assert cli.main(["models", "*_base_patch*_224", "--attention-memory", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    row = rows["vit_base_patch16_224"]
    assert row["entries_a_map"] == 197**2
    assert row["maps"] == 144
    assert row["mib"] == pytest.approx(197**2 * 144 * 4 / 2**20, abs=0.01)
    assert row["over_pixels_gib"] == pytest.approx(224**4 * 144 * 4 / 2**30, rel=1e-3)
    assert row["side_doubled"] == pytest.approx((785 / 197) ** 2, abs=0.01)


def test_the_command_takes_a_size_and_leaves_out_what_does_not_fit(capsys):
    words = ["models", "vit_small_patch*_224", "--attention-memory", "--image-size=384x192"]
    assert cli.main([*words, "--json"]) == 0
    out = capsys.readouterr()
    assert {row["image_size"] for row in json.loads(out.out)} == {"384x192"}
    assert "vit_small_patch14_224" in out.err
    assert cli.main([*words[:1], "vit_small_patch14_224", *words[2:]]) == 2
    assert "is not divisible by patch_size 14" in capsys.readouterr().err


def test_a_size_without_the_table_is_refused(capsys):
    assert cli.main(["models", "resnet18", "--image-size=64"]) == 2
    assert "--attention-memory" in capsys.readouterr().err
