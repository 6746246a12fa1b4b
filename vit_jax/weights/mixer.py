# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""An MLP-Mixer's tensors elsewhere."""

from vit_jax.models.mixer import MixerSpec
from vit_jax.weights import npz
from vit_jax.weights.names import NEVER, TIMM_NAMES, TORCH_STORAGE, Layouts, NameMap


def timm(spec: MixerSpec) -> NameMap:
    """timm: mlp_mixer.py."""
    names = (
        (r"^patch_embed/", "stem/proj/"),
        (r"/token_mlp/", "/mlp_tokens/"),
        (r"/channel_mlp/", "/mlp_channels/"),
        *TIMM_NAMES,
    )
    return NameMap(names, TORCH_STORAGE)


def google(spec: MixerSpec) -> NameMap:
    """google-research/vision_transformer and big_vision: .npz files with the same names."""
    names = (
        (r"^patch_embed/", "stem/"),
        (r"^norm/", "pre_head_layer_norm/"),
        (r"^block_0*(\d+)/", r"MixerBlock_\1/"),
        (r"/norm1/", "/LayerNorm_0/"),
        (r"/norm2/", "/LayerNorm_1/"),
        (r"/token_mlp/", "/token_mixing/"),
        (r"/channel_mlp/", "/channel_mixing/"),
        *npz.NAMES,
    )
    return npz.name_map(names, absent=NEVER)


LAYOUTS: Layouts = {"timm": timm, "vision_transformer": google, "big_vision": google}
