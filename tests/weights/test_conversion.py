# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Any source into a model: what fits is loaded, the rest is said or refused, never dropped."""

import jax
import numpy as np
import pytest
from converted_models import images, like, logits, random_params, small

import vit_jax
from vit_jax.config import default_config
from vit_jax.data import ops as ops_lib
from vit_jax.errors import UserError
from vit_jax.layers.stack import stack_layers
from vit_jax.training import trained
from vit_jax.weights import files
from vit_jax.weights.conversion import name_map

NAME = "vit_tiny_patch16_224"


@pytest.fixture
def model():
    return small(NAME)


@pytest.fixture
def params(model):
    return random_params(model)


def state(model, params, layout="timm"):
    return name_map(model.spec, layout).dump(params)


def load(model, tensors, folder, **options):
    """Returns what `load_weights` gives and says of tensors in a file."""
    path, said = folder / "x.safetensors", []
    path.unlink(missing_ok=True)
    files.write(tensors, path)
    found = vit_jax.load_weights(path, model, say=said.append, **options)
    return found, said[-1].removeprefix(f"{path}: ")


def test_the_report_is_always_printed(model, params, tmp_path, capsys):
    files.write(state(model, params), tmp_path / "x.safetensors")
    vit_jax.load_weights(tmp_path / "x.safetensors", model)
    assert (
        capsys.readouterr().out == f"{tmp_path / 'x.safetensors'}: timm layout; 32 arrays loaded\n"
    )


def test_scanned_models_and_other_dtypes(model, params, tmp_path):
    half = {k: a.astype(np.float16) for k, a in state(model, params).items()}
    rounded = jax.tree.map(lambda a: a.astype(np.float16).astype(np.float32), params)
    found, _ = load(like(model, scan=True), half, tmp_path)
    jax.tree.map(np.testing.assert_array_equal, found, stack_layers(rounded))
    found, _ = load(like(model, param_dtype="bfloat16"), half, tmp_path)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(found)} == {"bfloat16"}


def test_another_size_and_head_are_reported(model, params, tmp_path):
    height, width = model.spec.size
    larger = like(model, image_size=(2 * height, width), num_classes=3)
    found, said = load(larger, state(model, params), tmp_path, grid=(2, 3))
    assert "resized: pos_embed (2x3 to 4x3 patches)" in said
    assert "initialised: head/bias, head/kernel" in said
    assert "ignored: head/bias, head/kernel" in said
    assert not found["head"]["kernel"].any()
    logits(larger, found, images(larger))


def test_missing_tensors_are_refused_unless_they_may_start_anew(model, params, tmp_path):
    theirs = state(model, params)
    for name in ("blocks.1.mlp.fc1.bias", "norm.weight"):
        del theirs[name]
    with pytest.raises(UserError, match=r"missing blocks\.1\.mlp\.fc1\.bias \[32\]; missing norm"):
        load(model, theirs, tmp_path)
    _, said = load(model, theirs, tmp_path, initialise=["norm/scale", ".*/fc1/bias"])
    assert said.startswith("timm layout; 29 arrays loaded; initialised: ")
    with pytest.raises(UserError, match="initialise: 'nrom/scale' matches no parameter"):
        load(model, state(model, params), tmp_path, initialise=["nrom/scale"])


def test_one_of_two_heads_alone_is_refused(tmp_path):
    """As files of transformers' DeiTForImageClassification have it."""
    model = small("deit_tiny_distilled_patch16_224")
    theirs = state(model, random_params(model))
    for name in ("head_dist.weight", "head_dist.bias"):
        del theirs[name]
    with pytest.raises(UserError, match=r"missing head_dist\.\w+ .*mean with those of head"):
        load(model, theirs, tmp_path)
    found, said = load(model, theirs, tmp_path, initialise=["head_dist/.*"])
    assert "initialised: head_dist/bias, head_dist/kernel" in said
    assert not found["head_dist"]["kernel"].any()


def test_a_missing_part_of_a_projection_is_refused(model, params, tmp_path):
    theirs = state(model, params, "transformers")
    key = "vit.encoder.layer.0.attention.attention.key.weight"
    del theirs[key]
    with pytest.raises(UserError, match=f"missing {key} .24, 24."):
        load(model, theirs, tmp_path)


def test_left_over_tensors_are_refused_unless_they_are_ignored(model, params, tmp_path):
    theirs = state(model, params) | {"norm.running_mean": np.zeros(24), "ls.0": np.zeros(2)}
    with pytest.raises(UserError, match=r"unused ls\.0 \[2\]; unused norm\.running_mean \[24\]"):
        load(model, theirs, tmp_path)
    with pytest.raises(UserError, match=r"unused ls\.0"):
        load(model, theirs, tmp_path, ignore=[r"norm\.running.*"])
    found, said = load(model, theirs, tmp_path, ignore=[r"norm\.running.*", r"ls\.0"])
    jax.tree.map(np.testing.assert_array_equal, found, params)
    assert "ignored: ls.0, norm.running_mean" in said
    with pytest.raises(UserError, match="ignore='lss' matches no tensor that is left over"):
        load(model, theirs, tmp_path, ignore=["lss"])


def test_a_deeper_source_is_refused(model, params, tmp_path):
    with pytest.raises(
        UserError, match=r"unused blocks\.1\.attn\.proj\.bias .*\(2 more\)"
    ) as error:
        load(like(model, depth=1), state(model, params), tmp_path)
    assert "\n" not in str(error.value)


def test_a_pooler_goes_into_a_model_that_has_one_and_is_never_lost(model, params, tmp_path):
    backbone = like(model, num_classes=0, pre_logits=24)
    theirs = state(backbone, random_params(backbone), "transformers")
    load(backbone, theirs, tmp_path)
    _, said = load(model, theirs, tmp_path)
    assert "ignored: pre_logits/bias, pre_logits/kernel" in said
    assert "initialised: head/bias, head/kernel" in said


@pytest.mark.parametrize("path", ["run", "run/checkpoints", "run/checkpoints/00000003"])
def test_checkpoints_of_ours_are_sources(tmp_path, path):
    config = default_config()
    config.model.name = NAME
    config.model.overrides = {"width": 24, "num_heads": 2, "mlp_dim": 32, "depth": 2}
    ops = ops_lib.parse("decode|resize(32)|normalise(half)")
    model = small(NAME, image_size=32)
    params, said = random_params(model), []
    trained.save(
        tmp_path / "run", params=params, config=config, class_names=tuple("abcde"), ops=ops, step=3
    )
    found = vit_jax.load_weights(tmp_path / path, model, say=said.append)
    jax.tree.map(np.testing.assert_array_equal, found, params)
    assert said == [f"{tmp_path / path}: vit_jax layout; 32 arrays loaded"]
    found = vit_jax.load_weights(tmp_path / path, like(model, image_size=64), say=said.append)
    assert "resized: pos_embed (2x2 to 4x4 patches)" in said[-1]
    with pytest.raises(UserError, match="leave out layout='timm'"):
        vit_jax.load_weights(tmp_path / path, model, layout="timm")


@pytest.mark.parametrize(
    ("target", "layout", "message"),
    [
        ("x.safetensors", "big_vision", "does not go into 'x.safetensors'"),
        ("x.npz", "timm", "does not go into 'x.npz'"),
        ("x", "timm", "does not go into 'x'"),
        ("x.pth", "", "files of torch are not written"),
    ],
)
def test_targets_and_layouts_must_go_together(model, params, tmp_path, target, layout, message):
    with pytest.raises(UserError, match=message):
        vit_jax.save_weights(params, model, tmp_path / target, layout)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (NAME, {"pool": "gap"}, "transformers has no model with pool='gap'"),
        (NAME, {"pool": "map"}, "the layout has no place for pool/"),
        (NAME, {"no_embed_class": True}, "no_embed_class=True"),
        (NAME, {"position": "sincos"}, "position='sincos'"),
        (NAME, {"pre_logits": 8}, "pre_logits=8"),
        ("swin_tiny_patch4_window7_224", {"image_size": 96}, "window_size=7"),
        ("swin_tiny_patch4_window7_224", {"pad_first": False}, "pad_first=False"),
    ],
)
def test_what_transformers_cannot_build_is_refused(tmp_path, name, changes, message):
    model = small(name, **changes)
    with pytest.raises(UserError, match=message):
        vit_jax.save_weights(random_params(model), model, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_a_config_that_says_otherwise_is_told(model, params, tmp_path):
    vit_jax.save_weights(params, like(model, norm_eps=1e-12), tmp_path / "x")
    said = []
    vit_jax.load_weights(tmp_path / "x", model, say=said.append)
    assert said[0].endswith("config.json says layer_norm_eps=1e-12, the model has norm_eps=1e-06")
    vit_jax.load_weights(tmp_path / "x", like(model, norm_eps=1e-12), say=said.append)
    assert said[1].endswith("32 arrays loaded")
