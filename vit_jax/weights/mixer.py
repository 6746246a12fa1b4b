# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""timm's MlpMixer (mlp_mixer.py)."""

from vit_jax.models.mixer import MixerSpec
from vit_jax.weights.names import TIMM_LAYOUTS, TIMM_NAMES, NameMap


def name_map(spec: MixerSpec) -> NameMap:
    """Returns timm's names of a Mixer's tensors."""
    names = (
        (r"^patch_embed/", "stem/proj/"),
        (r"/token_mlp/", "/mlp_tokens/"),
        (r"/channel_mlp/", "/mlp_channels/"),
        *TIMM_NAMES,
    )
    return NameMap(names, TIMM_LAYOUTS)
