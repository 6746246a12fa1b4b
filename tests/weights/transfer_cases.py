# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""timm's models made for one size and loaded, by timm, into another: needs torch and timm."""

import dataclasses
import warnings
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Case:
    """A model before and after, as our spec and timm's constructor call it.

    Attributes:
        name: of ours.
        before, after: the fields of the spec that differ.
        both: the others.
        theirs: timm's arguments that are called otherwise, or differ.
    """

    name: str
    before: dict[str, Any]
    after: dict[str, Any]
    both: dict[str, Any]
    theirs: dict[str, Any]


_VIT = {"width": 16, "depth": 2, "num_heads": 2, "mlp_dim": 64}
_VIT_THEIRS = {"embed_dim": 16, "depth": 2, "num_heads": 2}
_SWIN = {"width": 8, "depths": (2, 2), "num_heads": (2, 4), "pad_first": False}
_SWIN_THEIRS = {"embed_dim": 8, "depths": (2, 2), "num_heads": (2, 4)}

CASES = {
    "vit_grid": Case(
        "vit_tiny_patch16_224",
        {"image_size": 20, "patch_size": 4},
        {"image_size": (24, 36), "patch_size": 4},
        _VIT,
        _VIT_THEIRS,
    ),
    "vit_patch": Case(
        "vit_tiny_patch16_224",
        {"image_size": 24, "patch_size": 6},
        {"image_size": (40, 24), "patch_size": 8},
        _VIT | {"num_registers": 2},
        _VIT_THEIRS | {"reg_tokens": 2},
    ),
    "vit_plain": Case(
        "vit_tiny_patch16_224",
        {"image_size": 32, "patch_size": 4},
        {"image_size": 20, "patch_size": 5},
        _VIT | {"pool": "gap", "class_token": True, "no_embed_class": True},
        _VIT_THEIRS | {"global_pool": "avg", "no_embed_class": True, "fc_norm": False},
    ),
    "swin_window": Case(
        "swin_tiny_patch4_window7_224",
        {"image_size": 32, "window_size": 4},
        {"image_size": 52, "window_size": (6, 5)},
        _SWIN | {"patch_size": 4},
        _SWIN_THEIRS | {"patch_size": 4},
    ),
    "swin_patch": Case(
        "swin_tiny_patch4_window7_224",
        {"image_size": 32, "window_size": 4, "patch_size": 4},
        {"image_size": 32, "window_size": 8, "patch_size": 2},
        _SWIN,
        _SWIN_THEIRS,
    ),
}


def reference(case: Case, seed: int) -> dict[str, np.ndarray]:
    """Returns weights of a random model before (`param/...`), images and logits after."""
    import torch
    from timm.models import swin_transformer, vision_transformer

    swin = case.name.startswith("swin")
    module = swin_transformer if swin else vision_transformer
    make = module.SwinTransformer if swin else module.VisionTransformer

    def model(sizes: dict[str, Any]) -> Any:
        sizes = dict(sizes)
        return make(img_size=sizes.pop("image_size"), num_classes=5, **sizes, **case.theirs).eval()

    rng = np.random.default_rng(seed)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # timm's, of torch
        before, after = model(case.before), model(case.after)
        for parameter in before.parameters():
            shape = tuple(parameter.shape)
            scale = 0.3 if len(shape) == 1 else np.prod(shape[1:]) ** -0.5
            parameter.copy_(torch.from_numpy(scale * rng.standard_normal(shape)))
        after.load_state_dict(module.checkpoint_filter_fn(before.state_dict(), after))
        size = np.broadcast_to(case.after["image_size"], 2)
        images = rng.standard_normal((2, *size, 3)).astype(np.float32)
        logits = after(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    weights = {f"param/{name}": value.numpy() for name, value in before.state_dict().items()}
    return weights | {"images": images, "logits": logits}
