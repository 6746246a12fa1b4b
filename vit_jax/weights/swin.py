# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""timm's SwinTransformer (swin_transformer.py, from timm 0.9 on)."""

from vit_jax.models.swin import SwinSpec
from vit_jax.weights.names import TIMM_LAYOUTS, TIMM_NAMES, NameMap, same


def name_map(spec: SwinSpec) -> NameMap:
    """Returns timm's names of a Swin Transformer's tensors; its indices and masks are ignored."""
    names = (
        (r"^patch_embed/(kernel|bias)$", r"patch_embed/proj/\1"),
        (r"^stage_", "layers/"),
        (r"/merge/", "/downsample/"),
        (r"/relative_position_bias$", "/relative_position_bias_table"),
        (r"^head/", "head/fc/"),
        *TIMM_NAMES,
    )
    return NameMap(
        names,
        ((r"/relative_position_bias$", same), *TIMM_LAYOUTS),
        ignored=r"\.(relative_position_index|attn_mask)$",
    )
