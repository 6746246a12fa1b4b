# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
r"""Which shape for which compute: the sweeps of "Getting ViT in Shape" (arXiv 2305.13035).

Width, depth and width of the MLP of ViT/14 are each varied around one shape, for several durations
which share their training; measured by 10-shot regression on ImageNet.

Replaced:  JFT-3B by ImageNet-21k (14 M)
From memory, not read again: the centre and the values of the sweeps, the durations, the optimiser's
settings
Command:   vit-jax scaling run configs/scaling/sovit_shapes.py:data=folder:imagenet21k --workdir=DIR
           data: ImageNet-21k; imagenet: what few-shot regression learns from and is tested on
           vit-jax scaling plot DIR --figure=shape --x=depth --where width=768 mlp_dim=2160 \
               --value=few_shot_error --to=depth.png
Cost:      6.283e+21 FLOPs (8.975e+21 if nothing were shared), by --dry-run
Hardware:  written for TPU pods; not run
"""

import pathlib

from vit_jax.config import parse_arg
from vit_jax.scaling.study import FewShot, Study, seeds

RECIPE = pathlib.Path(__file__).with_name("scaling_vit.py")
CENTRE = {"width": 768, "depth": 12, "mlp_dim": 2160}
SWEEPS = {
    "width": (608, 768, 928, 1088, 1328, 1648),
    "depth": (8, 10, 12, 16, 20, 24),
    "mlp_dim": (1088, 1360, 1728, 2160, 2592, 3072),
}
THOUSANDS = (60, 120, 240, 480)  # of steps


def get_study(arg=None):
    """Returns the study; arguments: data, imagenet."""
    arg = parse_arg(arg, data="folder:imagenet21k", imagenet="tfds:imagenet2012")
    shapes = {"centre": CENTRE} | {
        f"{field} {value}": CENTRE | {field: value}
        for field, values in SWEEPS.items()
        for value in values
        if value != CENTRE[field]
    }
    return Study(
        recipe=f"{RECIPE}:data={arg.data}",
        axes={
            "shape": {label: _fields(shape) for label, shape in shapes.items()},
            "duration": {f"{k}k": {"train.duration": f"{k}_000 steps"} for k in THOUSANDS},
            "seed": seeds(1),
        },
        fields={"model.overrides.patch_size": 14, "model.overrides.num_heads": 16},
        share="duration",
        few_shot=FewShot(10, source=arg.imagenet, split="validation", train_split="train"),
    )


def _fields(shape):
    fields = {f"model.overrides.{field}": value for field, value in shape.items()}
    return fields | {f"column.{field}": value for field, value in shape.items()}
