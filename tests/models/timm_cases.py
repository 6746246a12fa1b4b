# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Small models built twice: by timm, which needs torch and runs at will, and by vit_jax."""

import dataclasses
from typing import Any

import numpy as np

from vit_jax import create_model

IMAGE = (24, 16)  # not square, so that rows and columns cannot be mixed up
VIT = "vit_tiny_patch16_224"
MIXER = "mixer_s16_224"


@dataclasses.dataclass(frozen=True)
class Case:
    """A variation: what timm's constructor is told, and what ours is."""

    name: str
    timm: dict[str, Any]
    ours: dict[str, Any]

    def ours_model(self, **more: Any) -> Any:
        """Returns our model; `more` are further overrides, such as `scan=True`."""
        common = {"image_size": IMAGE, "patch_size": 4, "width": 24, "depth": 2}
        if self.name == VIT:
            common |= {"num_heads": 2, "mlp_dim": 96}
        else:
            common |= {"token_mlp_dim": 12, "channel_mlp_dim": 96}
        return create_model(self.name, num_classes=5, **common | self.ours | more)

    def timm_model(self) -> Any:
        """Returns timm's model."""
        from timm.models.mlp_mixer import MlpMixer
        from timm.models.vision_transformer import VisionTransformer

        common = {"img_size": IMAGE, "patch_size": 4, "embed_dim": 24, "num_classes": 5}
        if self.name == VIT:
            return VisionTransformer(**common, depth=2, num_heads=2, **self.timm)
        return MlpMixer(**common, num_blocks=2, **self.timm)


def _vit(ours: dict[str, Any], timm: dict[str, Any]) -> Case:
    return Case(VIT, timm, ours)


CASES = {
    "vit_cls": _vit({}, {}),
    "vit_gap": _vit(
        {"pool": "gap"}, {"class_token": False, "global_pool": "avg", "fc_norm": False}
    ),
    "vit_gap_norm_after": _vit(
        {"pool": "gap", "class_token": True, "norm_after_pool": True},
        {"global_pool": "avg", "fc_norm": True},
    ),
    "vit_map": _vit({"pool": "map"}, {"class_token": False, "global_pool": "map"}),
    "vit_registers": _vit(
        {"num_registers": 3, "no_embed_class": True, "qkv_bias": False},
        {"reg_tokens": 3, "no_embed_class": True, "qkv_bias": False},
    ),
    "vit_everything": _vit(
        {"num_registers": 2, "qk_norm": True, "layer_scale": 0.1, "pre_norm": True},
        {"reg_tokens": 2, "qk_norm": True, "init_values": 0.1, "pre_norm": True},
    ),
    "mixer": Case(MIXER, {}, {}),
}


def reference(case: Case, seed: int) -> dict[str, np.ndarray]:
    """Runs timm's model with every tensor drawn at random; returns weights, images and outputs.

    Keys: `param/...` in timm's names, `images` `[B, H, W, C]`, `stem`, `block_00`, ...,
    `pre_logits`, `logits`.
    """
    import torch

    rng = np.random.default_rng(seed)
    model = case.timm_model().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            shape = tuple(parameter.shape)
            scale = 0.3 if len(shape) == 1 else np.prod(shape[1:]) ** -0.5
            values = scale * rng.standard_normal(shape) + (len(shape) == 1) * 0.7
            parameter.copy_(torch.from_numpy(values))
    found: dict[str, Any] = {}
    model.blocks[0].register_forward_pre_hook(lambda _, args: found.update(stem=args[0]))
    for i, block in enumerate(model.blocks):
        key = f"block_{i:02d}"
        block.register_forward_hook(lambda _, args, out, key=key: found.update({key: out}))
    images = rng.standard_normal((2, *IMAGE, 3)).astype(np.float32)
    with torch.no_grad():
        tokens = model.forward_features(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
        found["pre_logits"] = model.forward_head(tokens, pre_logits=True)
        found["logits"] = model.forward_head(tokens)
    arrays = {name: value.numpy() for name, value in found.items()}
    weights = {f"param/{name}": value.numpy() for name, value in model.state_dict().items()}
    return {"images": images} | arrays | weights
