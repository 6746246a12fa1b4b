# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Writes swin_*.npz beside itself: tiny Swin Transformers of PyTorch with every tensor random.

    pip install torch timm "transformers>=5"
    python tests/models/golden/make_golden_swin.py

Each file holds `param/*` under timm's names and `image` (both exact in float16), `out/*` (logits
and the map each stage ends with) and `spec`, the fields of our spec as JSON.
"""

import json
import pathlib
from typing import Any

import numpy as np
import timm
import torch
import transformers

CLASSES = 5
COMMON: dict[str, Any] = {"width": 12, "depths": (2, 2), "num_heads": (2, 3), "window_size": 4}

# name -> (reference, image size, what differs from COMMON)
CASES: dict[str, tuple[str, tuple[int, int], dict[str, Any]]] = {
    "shifted": ("timm", (64, 64), {}),
    "clamped": ("timm", (24, 64), {"window_size": 8}),
    "rectangular": ("timm", (32, 72), {"window_size": (2, 3), "qkv_bias": False}),
    "padded": ("transformers", (59, 50), {}),
    "padded_timm": ("timm", (56, 44), {"pad_first": False}),
}


def timm_model(spec: dict[str, Any]) -> torch.nn.Module:
    """Returns timm's model of a spec."""
    return timm.create_model(
        "swin_tiny_patch4_window7_224",
        img_size=spec["image_size"],
        embed_dim=spec["width"],
        depths=spec["depths"],
        num_heads=spec["num_heads"],
        window_size=spec["window_size"],
        qkv_bias=spec.get("qkv_bias", True),
        num_classes=CLASSES,
    )


def transformers_model(spec: dict[str, Any]) -> torch.nn.Module:
    """Returns the model of transformers; it takes images of any size."""
    config = transformers.SwinConfig(
        image_size=64,
        embed_dim=spec["width"],
        depths=spec["depths"],
        num_heads=spec["num_heads"],
        window_size=spec["window_size"],
        num_labels=CLASSES,
    )
    return transformers.SwinForImageClassification(config)


def randomise(model: torch.nn.Module, rng: np.random.Generator) -> None:
    """Fills every parameter, zeros and ones included, with random numbers exact in float16."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            scale = p[0].numel() ** -0.5 if p.ndim > 1 and "position" not in name else 0.3
            centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            value = centre + scale * rng.standard_normal(tuple(p.shape))
            p.copy_(torch.from_numpy(value.astype(np.float16).astype(np.float32)))


# A state of transformers under timm's names, but for the stage of a merge and for q, k and v apart.
RENAMED = {
    "swin.embeddings.patch_embeddings.projection": "patch_embed.proj",
    "swin.embeddings.norm": "patch_embed.norm",
    "swin.layernorm": "norm",
    "swin.encoder.": "",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "attention.relative_position_bias.": "attn.",
    "attention.o_proj": "attn.proj",
    "classifier": "head.fc",
}


def timm_names(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns a state of transformers under timm's names: merges open their stage, qkv is one."""
    renamed = {}
    for name, value in state.items():
        for old, new in RENAMED.items():
            name = name.replace(old, new)
        if ".downsample." in name:
            _, stage, rest = name.split(".", 2)
            name = f"layers.{int(stage) + 1}.{rest}"
        renamed[name] = value
    for name in [name for name in renamed if ".attention.q_proj." in name]:
        qkv = [renamed.pop(name.replace("q_proj", f"{letter}_proj")) for letter in "qkv"]
        renamed[name.replace("attention.q_proj", "attn.qkv")] = np.concatenate(qkv)
    return renamed


def run(
    source: str, size: tuple[int, int], changes: dict[str, Any], seed: int
) -> dict[str, np.ndarray]:
    """Returns the arrays of one file: a reference of some spec, its image and its outputs."""
    spec = COMMON | {"image_size": size} | changes
    model = (timm_model if source == "timm" else transformers_model)(spec).eval()
    rng = np.random.default_rng(seed)
    randomise(model, rng)
    layers = model.layers if source == "timm" else model.swin.encoder.layers
    found: dict[str, np.ndarray] = {}
    for stage, layer in enumerate(layers):
        last = sum(spec["depths"][: stage + 1]) - 1

        def keep(module: Any, inputs: Any, output: Any, name: str = f"block_{last:02d}") -> None:
            found[name] = (output[0] if isinstance(output, tuple) else output).numpy()

        layer.blocks[-1].register_forward_hook(keep)
    image = rng.standard_normal((2, *size, 3)).astype(np.float16)
    with torch.no_grad():
        output = model(torch.from_numpy(image.astype(np.float32)).permute(0, 3, 1, 2))
    found["logits"] = (output if source == "timm" else output.logits).numpy()
    state = {name: p.detach().numpy() for name, p in model.named_parameters()}
    state = state if source == "timm" else timm_names(state)
    spec["num_classes"] = CLASSES
    return {
        "spec": np.array(json.dumps(spec)),
        "image": image,
        **{f"param/{name}": value.astype(np.float16) for name, value in state.items()},
        **{f"out/{name}": value for name, value in found.items()},
    }


def main() -> None:
    """Writes all files."""
    for seed, (case, arguments) in enumerate(CASES.items()):
        path = pathlib.Path(__file__).with_name(f"swin_{case}.npz")
        np.savez_compressed(path, **run(*arguments, seed))
        print(path, path.stat().st_size)


if __name__ == "__main__":
    main()
