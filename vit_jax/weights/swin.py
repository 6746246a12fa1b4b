# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""A Swin Transformer's tensors elsewhere."""

from vit_jax.models.swin import SwinSpec
from vit_jax.weights import hugging_face
from vit_jax.weights.names import (
    SPLIT_PROJECTIONS,
    TIMM_NAMES,
    TORCH_STORAGE,
    Layouts,
    NameMap,
    Pairs,
)

AUTHORS_NAMES: Pairs = (
    (r"^patch_embed/(kernel|bias)$", r"patch_embed/proj/\1"),
    (r"^stage_", "layers/"),
    (r"/relative_position_bias$", "/relative_position_bias_table"),
    *TIMM_NAMES,
)
"""The authors' names, which timm kept."""

BUFFERS = r"\.(relative_position_index|attn_mask)$"  # derived from the sizes, not learned


def timm(spec: SwinSpec) -> NameMap:
    """timm: swin_transformer.py from timm 0.9 on."""
    names = (
        (r"/merge/", "/downsample/"),
        (r"^head/", "head/fc/"),
        *AUTHORS_NAMES,
    )
    return NameMap(names, TORCH_STORAGE, ignored=BUFFERS)


def official(spec: SwinSpec) -> NameMap:
    """microsoft/Swin-Transformer: a merge closes the stage before the one it leads into."""
    names = (
        *_merges_at_the_end(spec, "layers"),
        *AUTHORS_NAMES,
    )
    return NameMap(names, TORCH_STORAGE, ignored=BUFFERS)


def transformers(spec: SwinSpec) -> NameMap:
    """transformers: SwinForImageClassification, by the names of its files."""
    names = (
        *_merges_at_the_end(spec, "swin/encoder/layers"),
        (r"^patch_embed/(kernel|bias)$", r"swin/embeddings/patch_embeddings/projection/\1"),
        (r"^patch_embed/norm/", "swin/embeddings/norm/"),
        (r"^stage_", "swin/encoder/layers/"),
        (r"/block_0*(\d+)/", r"/blocks/\1/"),
        (r"/attn/([qkv])/", r"/attention/self/\1/"),
        (r"/attn/relative_position_bias$", "/attention/self/relative_position_bias_table"),
        (r"^norm/", "swin/layernorm/"),
        (r"^head/", "classifier/"),
        *hugging_face.BLOCK_NAMES,
    )
    synonyms = (
        (r"^(?=(embeddings|encoder|layernorm)\.)", "swin."),
        (r"\.attention\.([qkv])_proj\.", r".attention.self.\1_proj."),
        (r"\.attention\.relative_position_bias\.", ".attention.self."),
        *hugging_face.SYNONYMS,
    )
    return NameMap(
        names, TORCH_STORAGE, splits=SPLIT_PROJECTIONS, ignored=BUFFERS, synonyms=synonyms
    )


def _merges_at_the_end(spec: SwinSpec, layers: str) -> Pairs:
    """Our merge opens stage i + 1, theirs closes stage i."""
    stages = range(1, len(spec.depths))
    return tuple((rf"^stage_{i}/merge/", f"{layers}/{i - 1}/downsample/") for i in stages)


LAYOUTS: Layouts = {"timm": timm, "official": official, "transformers": transformers}
