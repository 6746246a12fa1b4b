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
    image: tuple[int, int] = IMAGE

    def ours_model(self, **more: Any) -> Any:
        """Returns our model; `more` are further overrides, such as `scan=True`."""
        common = {"image_size": self.image, "patch_size": 4, "width": 24, "depth": 2}
        if self.name == VIT:
            common |= {"num_heads": 2, "mlp_dim": 96}
        else:
            common |= {"token_mlp_dim": 12, "channel_mlp_dim": 96}
        return create_model(self.name, num_classes=5, **common | self.ours | more)

    def timm_model(self) -> Any:
        """Returns timm's model."""
        from timm.models.deit import VisionTransformerDistilled
        from timm.models.mlp_mixer import MlpMixer
        from timm.models.vision_transformer import VisionTransformer

        common = {"img_size": self.image, "patch_size": 4, "embed_dim": 24, "num_classes": 5}
        if self.name == MIXER:
            return MlpMixer(**common, num_blocks=2, **self.timm)
        common |= {"depth": 2, "num_heads": 2} | self.timm
        stem = common.pop("stem", None)
        if stem is not None:
            common["embed_layer"] = hybrid_embed(stem)
        if common.pop("distilled", False):
            return VisionTransformerDistilled(**common)
        return VisionTransformer(**common)


def hybrid_embed(depths: tuple[int, ...]) -> Any:
    """Returns timm's patch embedding behind the ResNet of its hybrids, half as wide."""
    import functools

    from timm.layers import HybridEmbed, StdConv2dSame
    from timm.models.resnetv2 import ResNetV2, create_resnetv2_stem

    same: dict[str, Any] = {
        "stem_type": "same",
        "preact": False,
        "conv_layer": functools.partial(StdConv2dSame, eps=1e-8),
    }
    if depths:
        channels = tuple(128 * 2**i for i in range(len(depths)))
        net = ResNetV2(depths, channels, stem_chs=32, num_classes=0, global_pool="", **same)
    else:
        net = create_resnetv2_stem(3, 32, **same)
    return functools.partial(HybridEmbed, backbone=net)


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
    "deit_distilled": _vit({"distilled": True}, {"distilled": True}),
    "deit3": _vit(
        {"layer_scale": 1e-4, "no_embed_class": True}, {"init_values": 1e-4, "no_embed_class": True}
    ),
    # Sizes that the strides do not divide: "SAME" padding is uneven, and differs by axis.
    "hybrid_root": Case(
        VIT,
        {"stem": (), "patch_size": 3},
        {"stem_depths": (), "stem_width": 32, "patch_size": 3},
        image=(46, 33),
    ),
    "hybrid_stages": Case(
        VIT,
        {"stem": (2, 1), "patch_size": 1},
        {"stem_depths": (2, 1), "stem_width": 32, "patch_size": 1},
        image=(26, 35),
    ),
}


def reference(case: Case, seed: int) -> dict[str, np.ndarray]:
    """Runs timm's model with every tensor drawn at random; returns weights, images and outputs.

    Keys: `param/...` in timm's names, exact in float16, `images` `[B, H, W, C]`, `stem`,
    `block_00`, ..., `pre_logits`, `logits`, and `head`, `head_dist` of a distilled model.
    """
    import torch

    rng = np.random.default_rng(seed)
    model = case.timm_model().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            shape = tuple(parameter.shape)
            scale = 0.3 if len(shape) == 1 else np.prod(shape[1:]) ** -0.5
            values = scale * rng.standard_normal(shape) + (len(shape) == 1) * 0.7
            parameter.copy_(torch.from_numpy(values.astype(np.float16).astype(np.float32)))
    found: dict[str, Any] = {}
    model.blocks[0].register_forward_pre_hook(lambda _, args: found.update(stem=args[0]))
    for i, block in enumerate(model.blocks):
        key = f"block_{i:02d}"
        block.register_forward_hook(lambda _, args, out, key=key: found.update({key: out}))
    for head in ("head", "head_dist") if hasattr(model, "head_dist") else ():
        getattr(model, head).register_forward_hook(
            lambda _, args, out, key=head: found.update({key: out})
        )
    images = rng.standard_normal((2, *case.image, 3)).astype(np.float32)
    with torch.no_grad():
        tokens = model.forward_features(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
        found["pre_logits"] = model.forward_head(tokens, pre_logits=True)
        found["logits"] = model.forward_head(tokens)
    arrays = {name: value.numpy() for name, value in found.items()}
    weights = {f"param/{name}": value.numpy() for name, value in model.state_dict().items()}
    return {"images": images} | arrays | weights
