# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""A ViT's tensors elsewhere, hybrids and DeiTs included."""

from vit_jax.models.vit import ViTSpec
from vit_jax.weights import hugging_face, npz
from vit_jax.weights.names import (
    SPLIT_PROJECTIONS,
    TIMM_NAMES,
    TORCH_STORAGE,
    Layouts,
    NameMap,
    Pairs,
)


def timm(spec: ViTSpec) -> NameMap:
    """timm: vision_transformer.py, vision_transformer_hybrid.py, deit.py.

    The last norm is `fc_norm` behind the pooling.
    """
    names = (
        (r"^patch_embed/", "patch_embed/proj/"),
        # A ResNet of one or more stages has them beside its stem; the root alone is the backbone.
        (r"^stem/root/", f"patch_embed/backbone/{'stem/' if spec.stem_depths else ''}"),
        (r"^stem/stage_", "patch_embed/backbone/stages/"),
        (r"/(conv|norm)_proj/", r"/downsample/\1/"),
        (r"^reg_tokens$", "reg_token"),
        (r"^pre_norm/", "norm_pre/"),
        (r"^pre_logits/", "pre_logits/fc/"),
        (r"^norm/", "fc_norm/" if spec.norm_after_pool else "norm/"),
        (r"^pool/probe$", "attn_pool/latent"),
        (r"^pool/out/", "attn_pool/proj/"),
        (r"^pool/", "attn_pool/"),
        *TIMM_NAMES,
    )
    return NameMap(names, TORCH_STORAGE)


def official(spec: ViTSpec) -> NameMap:
    """facebookresearch/deit: models.py (timm's names then), models_v2.py (DeiT-III's gains)."""
    names = (
        (r"^patch_embed/", "patch_embed/proj/"),
        (r"/ls(\d)/gamma$", r"/gamma_\1"),
        *TIMM_NAMES,
    )
    absent = r"^(stem|reg_tokens|pre_norm|pre_logits|pool)(/|$)|/[qk]_norm/"
    return NameMap(names, TORCH_STORAGE, absent=absent)


def transformers(spec: ViTSpec) -> NameMap:
    """transformers: ViT..., or DeiTForImageClassificationWithTeacher where there are two heads.

    The names are those of its files; since version 5 it has others in memory.
    """
    body = "deit" if spec.distilled else "vit"
    names = (
        (r"^patch_embed/", f"{body}/embeddings/patch_embeddings/projection/"),
        (r"^cls_token$", f"{body}/embeddings/cls_token"),
        (r"^dist_token$", f"{body}/embeddings/distillation_token"),
        (r"^pos_embed$", f"{body}/embeddings/position_embeddings"),
        (r"^block_0*(\d+)/", rf"{body}/encoder/layer/\1/"),
        (r"/attn/([qkv])/", r"/attention/attention/\1/"),
        (r"^norm/", f"{body}/layernorm/"),
        (r"^pre_logits/", f"{body}/pooler/dense/"),
        (r"^head/", "cls_classifier/" if spec.distilled else "classifier/"),
        (r"^head_dist/", "distillation_classifier/"),
        *hugging_face.BLOCK_NAMES,
    )
    synonyms = (
        (r"^(?=(embeddings|encoder|layers|layernorm|pooler)\.)", f"{body}."),
        (rf"^{body}\.layers\.", f"{body}.encoder.layer."),
        (r"\.attention\.([qkv])_proj\.", r".attention.attention.\1_proj."),
        (r"^classifier\.", "cls_classifier." if spec.distilled else "classifier."),
        *hugging_face.SYNONYMS,
    )
    return NameMap(
        names,
        TORCH_STORAGE,
        splits=SPLIT_PROJECTIONS,
        absent=r"^(stem|reg_tokens|pre_norm|pool)(/|$)|/(ls\d|[qk]_norm)/",
        synonyms=synonyms,
    )


def vision_transformer(spec: ViTSpec) -> NameMap:
    """google-research/vision_transformer and AugReg: .npz files, named before Flax Linen.

    A block numbers its parts in one sequence: LayerNorm_0, attention 1, LayerNorm_2, MLP 3.
    """
    return _npz(spec, "Transformer/posembed_input/pos_embedding", attention=1, second_norm=2, mlp=3)


def big_vision(spec: ViTSpec) -> NameMap:
    """google-research/big_vision: .npz files, also of a trainer's state and with scanned blocks."""
    return _npz(spec, "pos_embedding", attention=0, second_norm=1, mlp=0)


def _npz(spec: ViTSpec, positions: str, *, attention: int, second_norm: int, mlp: int) -> NameMap:
    """The names both projects share, and how they number the parts of a block."""
    attends = f"MultiHeadDotProductAttention_{attention}"
    names = (
        (r"^stem/root/conv/", "conv_root/"),
        (r"^stem/root/norm/", "gn_root/"),
        *_bottlenecks(spec),
        (r"^patch_embed/", "embedding/"),
        (r"^cls_token$", "cls"),
        (r"^pos_embed$", positions),
        (r"^norm/", "Transformer/encoder_norm/"),
        # A MAP head's parts are numbered as in Linen in either project.
        (r"^pool/(?=[qkv]/|out/)", "MAPHead_0/MultiHeadDotProductAttention_0/"),
        (r"^pool/norm/", "MAPHead_0/LayerNorm_0/"),
        (r"^pool/mlp/", "MAPHead_0/MlpBlock_0/"),
        (r"^pool/", "MAPHead_0/"),
        (r"^block_0*(\d+)/", r"Transformer/encoderblock_\1/"),
        (r"/norm1/", "/LayerNorm_0/"),
        (r"/norm2/", f"/LayerNorm_{second_norm}/"),
        (r"/attn/", f"/{attends}/"),
        (r"/mlp/", f"/MlpBlock_{mlp}/"),
        *npz.NAMES,
    )
    absent = r"^(reg_tokens|dist_token|pre_norm|head_dist)(/|$)|/(ls\d|[qk]_norm)/"
    return npz.name_map(names, absent)


def _bottlenecks(spec: ViTSpec) -> Pairs:
    """`stem/stage_0/block_00/norm1` is `block1/unit1/gn1`."""
    stages = tuple(enumerate(spec.stem_depths or ()))
    units = [
        (rf"^stem/stage_{i}/block_{j:02d}/", f"block{i + 1}/unit{j + 1}/")
        for i, depth in stages
        for j in range(depth)
    ]
    return (*units, (r"(/unit\d+)/norm(\d|_proj)/", r"\1/gn\2/"))


LAYOUTS: Layouts = {
    "timm": timm,
    "official": official,
    "transformers": transformers,
    "vision_transformer": vision_transformer,
    "big_vision": big_vision,
}
