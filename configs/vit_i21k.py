# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
r"""ViT pretraining on ImageNet-21k as in "How to train your ViT?" (arXiv 2106.10270).

Regularisation did not help in the paper at this data size; augmentation grows with the model.

Command:   vit-jax train --config=configs/vit_i21k.py:model=vit_base_patch16_224,data=folder:PATH --workdir=DIR
Data:      a folder with one sub-folder a class (WNID), or a TFDS data set of your own; split off by hash
Hardware:  written for a TPU v3-32 slice or larger
Accuracy:  ours: not run. Paper, B/16 fine-tuned on ImageNet-1k at 384 px: 85.49 %
"""

from vit_jax.config import check_choice, default_config, parse_arg
from vit_jax.models import list_models, model_info

# RandAugment (layers, magnitude) and mixup alpha by model (Figure 4); others as L/16.
AUGMENTATION = {
    "vit_tiny_patch16_224": (None, 0.0),
    "vit_small_patch32_224": (None, 0.0),
    "vit_small_patch16_224": ((2, 0), 0.0),
    "vit_base_patch32_224": ((2, 10), 0.2),
    "vit_base_patch16_224": ((2, 10), 0.2),
    "vit_large_patch16_224": ((2, 15), 0.5),
}


def get_config(arg=None):
    """Returns the configuration; arguments: model, data."""
    arg = parse_arg(arg, model="vit_base_patch16_224", data="folder:imagenet21k")
    info = model_info(arg.model)
    check_choice("model", info.name, list_models("vit_*_224"))
    config = default_config()
    config.model.name = info.name
    config.model.dtype = "bfloat16"
    config.model.overrides = {"pool": "gap", "head_bias": -10.0}

    config.data.source = arg.data
    config.data.train_split = "train"
    config.data.validation_split = "validation"
    config.data.test_split = ""
    randaugment, config.mixing.mixup_alpha = AUGMENTATION.get(info.name, ((2, 15), 0.5))
    ops = ["decode", "inception_crop(224)", "flip"]
    ops += [f"randaugment{randaugment}"] if randaugment else []
    config.data.train_ops = "|".join([*ops, "value_range(-1, 1)"])
    config.data.eval_ops = "decode|resize_small(256)|central_crop(224)|value_range(-1, 1)"

    config.objective.name = "sigmoid_cross_entropy"
    config.optimiser.name = "adamw"
    config.optimiser.learning_rate = 1e-3
    config.optimiser.weight_decay = 0.1
    config.optimiser.clip_norm = 1.0
    config.optimiser.options = {"mu_dtype": "bfloat16"}
    config.schedule.name = "cosine"
    config.schedule.warmup = "10_000 steps"

    config.train.batch_size = 4096
    config.train.duration = "300 epochs"
    config.evaluation.every = "5000 steps"
    config.checkpoint.every = "1000 steps"
    return config
