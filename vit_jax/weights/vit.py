# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""timm's VisionTransformer (vision_transformer.py)."""

from vit_jax.models.vit import ViTSpec
from vit_jax.weights.names import TIMM_LAYOUTS, TIMM_NAMES, NameMap, table


def name_map(spec: ViTSpec) -> NameMap:
    """Returns timm's names of a ViT's tensors; its last norm is `fc_norm` behind the pooling."""
    names = (
        (r"^patch_embed/", "patch_embed/proj/"),
        (r"^reg_tokens$", "reg_token"),
        (r"^pre_norm/", "norm_pre/"),
        (r"^pre_logits/", "pre_logits/fc/"),
        (r"^norm/", "fc_norm/" if spec.norm_after_pool else "norm/"),
        (r"^pool/probe$", "attn_pool/latent"),
        (r"^pool/out/", "attn_pool/proj/"),
        (r"^pool/", "attn_pool/"),
        *TIMM_NAMES,
    )
    return NameMap(names, ((r"pos_embed$|_tokens?$|probe$", table), *TIMM_LAYOUTS))
