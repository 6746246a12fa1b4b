# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""One map a family and layout, both ways: names of real checkpoints, every variant, every bit."""

import pathlib

import jax
import numpy as np
import pytest
import real_names
from converted_models import CLASSES, VARIANTS, has_place, random_params, small, template
from flax.training.checkpoints import convert_pre_linen
from flax.traverse_util import flatten_dict, unflatten_dict

from vit_jax import create_model
from vit_jax.errors import UserError
from vit_jax.weights.conversion import LAYOUTS, choose_layout, name_map

REAL = {
    "AugReg Ti/16": (real_names.AUGREG_TI16, "vision_transformer", "ViT-Ti/16", {}),
    "AugReg R26+S/32": (real_names.AUGREG_R26_S32, "vision_transformer", "R26+S/32", {}),
    "Mixer-B/16": (real_names.MIXER_B16, "vision_transformer", "Mixer-B/16", {}),
    "big_vision S/16": (
        real_names.BIG_VISION_S16,
        "big_vision",
        "ViT-S/16",
        {"pool": "gap", "position": "sincos"},
    ),
    "SigLIP": (
        real_names.BIG_VISION_SIGLIP,
        "big_vision",
        "ViT-B/16",
        {"pool": "map", "num_classes": 0, "depth": 2, "image_size": 256},
    ),
    "DeiT-Ti distilled": (real_names.DEIT_TI_DISTILLED, "official", "DeiT-Ti-distilled", {}),
    "DeiT-III-S": (real_names.DEIT3_S, "official", "DeiT-III-S", {}),
    "Swin-T": (real_names.SWIN_T_OFFICIAL, "official", "Swin-T", {}),
    "transformers ViT": (real_names.HUGGING_FACE_VIT, "transformers", "ViT-Ti/16", {}),
    "transformers DeiT": (real_names.HUGGING_FACE_DEIT, "transformers", "DeiT-Ti-distilled", {}),
    "transformers Swin": (
        real_names.HUGGING_FACE_SWIN,
        "transformers",
        "Swin-T",
        {"num_classes": 3, "width": 8, "depths": (2, 1), "num_heads": (2, 4)},
    ),
}


@pytest.mark.parametrize("case", REAL)
def test_names_and_shapes_are_those_of_a_real_checkpoint(case):
    text, layout, name, overrides = REAL[case]
    model = create_model(name, **overrides)
    shapes = template(model)
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    theirs = name_map(model.spec, layout).dump(zeros)
    assert {key: array.shape for key, array in theirs.items()} == real_names.expand(text)
    chosen, found = choose_layout(theirs, model.spec, shapes)
    assert found.keys(list(flatten_dict(shapes, sep="/"))) == theirs.keys()
    assert chosen == layout or case == "DeiT-Ti distilled"  # whose names are timm's as well


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_survives_the_way_there_and_back(name):
    model = small(name)
    params = random_params(model)
    for layout in LAYOUTS[type(model.spec)]:
        names = name_map(model.spec, layout)
        if not has_place(name, layout):
            with pytest.raises(UserError, match="no place for"):
                names.dump(params)
            continue
        theirs = names.dump(params)
        assert sum(a.size for a in theirs.values()) == sum(a.size for a in jax.tree.leaves(params))
        _, found = choose_layout(theirs, model.spec, template(model))
        ours = found.load(theirs, template(model))
        jax.tree.map(np.testing.assert_array_equal, ours, params)
        again = names.dump(ours)
        assert again.keys() == theirs.keys()
        assert all(again[key].tobytes() == theirs[key].tobytes() for key in theirs)


def test_parts_of_a_projection_are_its_rows_in_torch():
    """q, k and v lie one after the other in timm's matrix; Flax has them apart, head by head."""
    model = small("vit_tiny_patch16_224")
    params = random_params(model)
    torch, split, flax = (
        name_map(model.spec, layout).dump(params)
        for layout in ("timm", "transformers", "vision_transformer")
    )
    block = "Transformer/encoderblock_1/MultiHeadDotProductAttention_1"
    for i, part in enumerate(("query", "key", "value")):
        rows = torch["blocks.1.attn.qkv.weight"][24 * i : 24 * (i + 1)]
        there = split[f"vit.encoder.layer.1.attention.attention.{part}.weight"]
        np.testing.assert_array_equal(there, rows)
        np.testing.assert_array_equal(flax[f"{block}/{part}/kernel"].reshape(24, 24).T, rows)
        bias = torch["blocks.1.attn.qkv.bias"][24 * i : 24 * (i + 1)]
        np.testing.assert_array_equal(flax[f"{block}/{part}/bias"].reshape(-1), bias)
    out = flax[f"{block}/out/kernel"].reshape(24, 24).T
    np.testing.assert_array_equal(out, torch["blocks.1.attn.proj.weight"])


def test_flax_renumbers_one_google_layout_into_the_other():
    model = small("vit_tiny_patch16_224", pre_logits=24)
    params = random_params(model)
    old = name_map(model.spec, "vision_transformer").dump(params)
    renumbered = flatten_dict(convert_pre_linen(unflatten_dict(old, sep="/")), sep="/")
    renumbered["pos_embedding"] = renumbered.pop("Transformer/posembed_input/pos_embedding")
    new = name_map(model.spec, "big_vision").dump(params)
    assert renumbered.keys() == new.keys()
    for key, array in new.items():
        np.testing.assert_array_equal(renumbered[key], array, err_msg=key)


@pytest.mark.parametrize("prefix", ["", "opt/target/", "params/", "params/img/"])
def test_a_trainers_state_and_scanned_blocks_are_read(prefix):
    model = small("vit_tiny_patch16_224", pool="map")
    params = random_params(model)
    theirs = name_map(model.spec, "big_vision").dump(params)
    blocks = [f"Transformer/encoderblock_{i}/" for i in range(2)]
    stacked = {k: a for k, a in theirs.items() if not k.startswith("Transformer/encoderblock_")}
    for key in [k for k in theirs if k.startswith(blocks[0])]:
        rest = key.removeprefix(blocks[0])
        stacked[f"Transformer/encoderblock/{rest}"] = np.stack([theirs[b + rest] for b in blocks])
    stored = {prefix + key: array for key, array in stacked.items()}
    if prefix == "params/img/":
        stored |= {"params/txt/head/bias": np.zeros(3), "params/t": np.zeros(1)}
    layout, names = choose_layout(stored, model.spec, template(model))
    assert layout == "big_vision"
    ours = names.load(stored, template(model))
    jax.tree.map(np.testing.assert_array_equal, ours, params)


def test_norms_of_newer_hybrids_have_one_axis():
    model = small("R26+S/32")
    params = random_params(model)
    names = name_map(model.spec, "vision_transformer")
    theirs = {k: a.reshape(-1) if "gn" in k else a for k, a in names.dump(params).items()}
    ours = names.load(theirs, template(model))
    jax.tree.map(np.testing.assert_array_equal, ours, params)


def test_names_that_transformers_uses_in_memory_are_read():
    """As `state_dict()` has them since version 5, see its modeling_vit.py and modeling_swin.py."""
    renamed = {
        "vit_tiny_patch16_224": (
            ("vit.encoder.layer.", "vit.layers."),
            (".attention.attention.query.", ".attention.q_proj."),
            (".attention.attention.key.", ".attention.k_proj."),
            (".attention.attention.value.", ".attention.v_proj."),
            (".attention.output.dense.", ".attention.o_proj."),
            (".intermediate.dense.", ".mlp.fc1."),
            (".output.dense.", ".mlp.fc2."),
        ),
        "swin_tiny_patch4_window7_224": (
            (".attention.self.query.", ".attention.q_proj."),
            (".attention.self.key.", ".attention.k_proj."),
            (".attention.self.value.", ".attention.v_proj."),
            (".attention.output.dense.", ".attention.o_proj."),
            (".attention.self.relative", ".attention.relative_position_bias.relative"),
            (".intermediate.dense.", ".mlp.fc1."),
            (".output.dense.", ".mlp.fc2."),
        ),
    }  # fmt: skip
    for name, pairs in renamed.items():
        model = small(name)
        params = random_params(model)
        theirs = name_map(model.spec, "transformers").dump(params)
        for old, new in pairs:
            theirs = {key.replace(old, new): array for key, array in theirs.items()}
        assert any(".q_proj." in key for key in theirs)
        layout, names = choose_layout(theirs, model.spec, template(model))
        assert layout == "transformers"
        ours = names.load(theirs, template(model))
        jax.tree.map(np.testing.assert_array_equal, ours, params)


def test_a_backbone_without_its_prefix_is_read():
    model = small("vit_tiny_patch16_224", num_classes=0, pre_logits=24)
    params = random_params(model)
    theirs = name_map(model.spec, "transformers").dump(params)
    assert "vit.pooler.dense.weight" in theirs
    bare = {key.removeprefix("vit."): array for key, array in theirs.items()}
    _, names = choose_layout(bare, model.spec, template(model))
    jax.tree.map(np.testing.assert_array_equal, names.load(bare, template(model)), params)


def test_buffers_of_swin_are_left_aside():
    model = small("swin_tiny_patch4_window7_224")
    params = random_params(model)
    names = name_map(model.spec, "official")
    buffers = {
        "layers.0.blocks.0.attn.relative_position_index": np.zeros((49, 49), np.int64),
        "layers.0.blocks.1.attn_mask": np.zeros((4, 49, 49), np.float32),
    }
    ours = names.load(names.dump(params) | buffers, template(model))
    jax.tree.map(np.testing.assert_array_equal, ours, params)


def test_unknown_names_are_listed():
    model = small("vit_tiny_patch16_224")
    seen = {f"backbone.conv{i}.weight": np.zeros((3, 3)) for i in range(30)}
    with pytest.raises(UserError, match=r"no layout known for this ViT .*conv0.*\(20 more\)") as e:
        choose_layout(seen, model.spec, template(model))
    assert "\n" not in str(e.value)
    with pytest.raises(UserError, match="did you mean 'official'"):
        choose_layout(seen, model.spec, template(model), "oficial")


def test_sizes_that_must_agree_are_checked():
    model, wider = (small("vit_tiny_patch16_224", mlp_dim=m) for m in (32, 40))
    theirs = name_map(model.spec, "timm").dump(random_params(model))
    with pytest.raises(UserError, match=r"blocks.0.mlp.fc1.weight is \[32, 24\], the model's"):
        name_map(wider.spec, "timm").load(theirs, template(wider))
    other = small("vit_tiny_patch16_224", num_classes=CLASSES + 1)
    with pytest.raises(UserError, match=r"head.weight is \[5, 24\], the model's head/kernel"):
        name_map(other.spec, "timm").load(theirs, template(other))


def test_the_table_of_the_docs_has_every_variant_in_every_layout():
    page = pathlib.Path(__file__).parents[2] / "docs" / "weights.md"
    lines = page.read_text().partition("<!-- table")[2].partition("<!-- end")[0].splitlines()
    head, _, *rows = [[c.strip() for c in line.strip("|").split("|")] for line in lines[1:]]
    assert sorted(name for row in rows for name in row[0].split(", ")) == sorted(VARIANTS)
    for names, *cells in rows:
        for name in names.split(", "):
            filled = {layout for layout, cell in zip(head[1:], cells, strict=True) if cell != "-"}
            layouts = LAYOUTS[type(small(name).spec)]
            assert filled == {layout for layout in layouts if has_place(name, layout)}
        assert all(cell in ("-", "bits") or float(cell) < 1e-4 for cell in cells)
