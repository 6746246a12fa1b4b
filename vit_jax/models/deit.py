# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""DeiT (arXiv 2012.12877) and DeiT-III (arXiv 2204.07118): variants of the Vision Transformer."""

import dataclasses

from vit_jax.models.catalogue import IMAGENET_MEAN, IMAGENET_STD, ModelInfo, register
from vit_jax.models.vit import ViT, ViTSpec, spec_of

# Size: short name, image sizes; every patch is 16 x 16.
DEIT = {"tiny": ("Ti", (224,)), "small": ("S", (224,)), "base": ("B", (224, 384))}
# Size: short name, patch, image sizes. Rates of stochastic depth depend on the recipe: 0.05 (S),
# 0.2 (B), 0.45 (L), 0.6 (H) in 800 epochs of ImageNet-1k, in all blocks alike.
DEIT3 = {
    "small": ("S", 16, (224, 384)),
    "medium": ("M", 16, (224,)),
    "base": ("B", 16, (224, 384)),
    "large": ("L", 16, (224, 384)),
    "huge": ("H", 14, (224,)),
}


def _register(name: str, alias: str, spec: ViTSpec) -> None:
    at = "" if spec.image_size == 224 else f"@{spec.image_size}"
    info = ModelInfo(
        name=f"{name}_patch{spec.patch_size}_{spec.image_size}",
        family="vit",
        module=ViT,
        spec=spec,
        aliases=(alias + at,),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        crop_fraction=1.0 if at else 0.9,
    )
    register(info)


def _register_variants() -> None:
    for size, (short, images) in DEIT.items():
        for image in images:
            spec = spec_of(size, image_size=image, patch_size=16, drop_path=0.1)
            _register(f"deit_{size}", f"DeiT-{short}", spec)
            distilled = dataclasses.replace(spec, distilled=True)
            _register(f"deit_{size}_distilled", f"DeiT-{short}-distilled", distilled)
    for size, (short, patch, images) in DEIT3.items():
        for image in images:
            spec = spec_of(
                size,
                image_size=image,
                patch_size=patch,
                layer_scale=1e-4,
                no_embed_class=True,
                drop_path_grows=False,
            )
            _register(f"deit3_{size}", f"DeiT-III-{short}", spec)


_register_variants()
