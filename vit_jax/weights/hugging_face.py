# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Hugging Face transformers: the names its families share, and the config.json beside weights."""

import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from vit_jax.errors import UserError
from vit_jax.models.swin import SwinSpec
from vit_jax.models.vit import ViTSpec

CONFIG = "config.json"

BLOCK_NAMES = (
    (r"/norm1/", "/layernorm_before/"),
    (r"/norm2/", "/layernorm_after/"),
    (r"/attn/out/", "/attention/output/dense/"),
    (r"/mlp/fc1/", "/intermediate/dense/"),
    (r"/mlp/fc2/", "/output/dense/"),
    (r"/q/(?=\w+$)", "/query/"),
    (r"/k/(?=\w+$)", "/key/"),
    (r"/v/(?=\w+$)", "/value/"),
    (r"\b(kernel|scale)$", "weight"),
    (r"/", "."),
)
# What version 5 calls the same in memory, and so in a saved `state_dict()`.
SYNONYMS = (
    (r"\.q_proj\.", ".query."),
    (r"\.k_proj\.", ".key."),
    (r"\.v_proj\.", ".value."),
    (r"\.attention\.o_proj\.", ".attention.output.dense."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
)
_ACTIVATIONS = {"gelu_tanh": "gelu_pytorch_tanh"}


def make_config(spec: Any, class_names: Sequence[str], dtype: str) -> dict[str, Any]:
    """Returns the config.json of a model, from which `from_pretrained` builds the same.

    Raises:
        UserError: transformers has no such model; names the fields of the spec.
    """
    kinds: dict[type, Callable[[Any], dict[str, Any]]] = {ViTSpec: _vit, SwinSpec: _swin}
    if type(spec) not in kinds:
        raise UserError("transformers has no MLP-Mixer; write a .safetensors or an .npz file")
    named = {str(i): name for i, name in enumerate(class_names)}
    shared = {
        "dtype": dtype,
        "hidden_act": _ACTIVATIONS.get(spec.activation, spec.activation),
        "id2label": named,
        "image_size": spec.image_size,
        "label2id": {name: int(i) for i, name in named.items()},
        "layer_norm_eps": spec.norm_eps,
        "num_channels": 3,
        "patch_size": spec.patch_size,
        "qkv_bias": spec.qkv_bias,
    }
    return kinds[type(spec)](spec) | shared


def _vit(spec: ViTSpec) -> dict[str, Any]:
    both = spec.num_classes and spec.pre_logits is not None
    _refuse(
        spec,
        stem_depths=spec.stem_depths is not None,
        pool=spec.pool != "cls",
        num_registers=spec.num_registers > 0,
        position=spec.position != "learned",
        no_embed_class=spec.no_embed_class,
        pre_norm=spec.pre_norm,
        norm_after_pool=spec.norm_after_pool,
        pre_logits=bool(both),
        layer_scale=spec.layer_scale is not None,
        qk_norm=spec.qk_norm,
        num_classes=spec.distilled and not spec.num_classes,
    )
    kind, task = ("DeiT", "WithTeacher") if spec.distilled else ("ViT", "")
    architecture = f"{kind}ForImageClassification{task}" if spec.num_classes else f"{kind}Model"
    return {
        "architectures": [architecture],
        "hidden_size": spec.width,
        "intermediate_size": spec.mlp_dim,
        "model_type": kind.lower(),
        "num_attention_heads": spec.num_heads,
        "num_hidden_layers": spec.depth,
        "pooler_act": "tanh",
        "pooler_output_size": spec.pre_logits or spec.width,
    }


def _swin(spec: SwinSpec) -> dict[str, Any]:
    windows = {spec.stage_window(stage) for stage in range(len(spec.depths))}
    _refuse(
        spec,
        window_size=windows != {(spec.window_size, spec.window_size)},
        pad_first=not spec.pad_first,
    )
    return {
        "architectures": ["SwinForImageClassification" if spec.num_classes else "SwinModel"],
        "depths": list(spec.depths),
        "embed_dim": spec.width,
        "mlp_ratio": spec.mlp_ratio,
        "model_type": "swin",
        "num_heads": list(spec.num_heads),
        "window_size": spec.window_size,
    }


def _refuse(spec: Any, **obstacles: bool) -> None:
    fields = [f"{name}={getattr(spec, name)!r}" for name, holds in obstacles.items() if holds]
    if fields:
        raise UserError(
            f"transformers has no model with {', '.join(fields)}; write a .safetensors file"
        )


def write_config(config: dict[str, Any], folder: pathlib.Path) -> None:
    """Writes config.json."""
    text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")


def class_names(folder: pathlib.Path) -> tuple[str, ...]:
    """Returns the classes that a folder's config.json names, in order; () where it names none."""
    named = _read_config(folder).get("id2label")
    if not isinstance(named, dict) or sorted(named) != sorted(str(i) for i in range(len(named))):
        return ()
    return tuple(str(named[str(i)]) for i in range(len(named)))


def notes(folder: pathlib.Path, spec: Any) -> tuple[str, ...]:
    """Returns what a folder's config.json says otherwise than a spec, of what names do not show."""
    config = _read_config(folder)
    ours = {
        "layer_norm_eps": ("norm_eps", spec.norm_eps),
        "hidden_act": ("activation", _ACTIVATIONS.get(spec.activation, spec.activation)),
    }
    return tuple(
        f"{CONFIG} says {name}={config[name]!r}, the model has {field}={value!r}"
        for name, (field, value) in ours.items()
        if config.get(name, value) != value
    )


def _read_config(folder: pathlib.Path) -> dict[str, Any]:
    """Returns a folder's config.json; {} where there is none."""
    path = folder / CONFIG
    if not path.is_file():
        return {}
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        config = None
    if not isinstance(config, dict):
        raise UserError(f"{path} is no JSON object")
    return config
