# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
r"""Swin Transformer on ImageNet-1k from scratch (arXiv 2103.14030, section A2.1).

Command:   vit-jax train --config=configs/swin_i1k.py:model=swin_tiny_patch4_window7_224 --workdir=DIR
Data:      tfds:imagenet2012 as ArrayRecord, or data=folder:PATH with train/ and val/
Hardware:  written for 8 accelerators of 32 GB and more
Accuracy:  ours: not run. Paper: T 81.3 %, S 83.0 %, B 83.5 %
           (L, and sizes over 224, come from ImageNet-22k and fine-tuning there: not this recipe)
"""

from vit_jax.config import check_choice, default_config, parse_arg
from vit_jax.models import list_models, model_info

# Stochastic depth of the paper by variant.
DROP_PATH = {"tiny": 0.2, "small": 0.3, "base": 0.5, "large": 0.2}


def get_config(arg=None):
    """Returns the configuration; arguments: model, data."""
    arg = parse_arg(arg, model="swin_tiny_patch4_window7_224", data="tfds:imagenet2012")
    info = model_info(arg.model)
    check_choice("model", info.name, list_models("swin_*_224"))
    config = default_config()
    config.model.name = info.name
    config.model.dtype = "bfloat16"
    config.model.overrides = {"drop_path": DROP_PATH[info.name.split("_")[1]]}

    config.data.source = arg.data
    config.data.train_split = "train"
    config.data.validation_split = ""
    config.data.test_split = "validation"
    config.data.train_ops = (
        "decode|inception_crop(224, method=bicubic)|flip"
        "|randaugment(2, 9, probability=0.5, magnitude_std=0.5, increasing=True)|random_erasing(0.25)|normalise(imagenet)"
    )
    config.data.eval_ops = (
        "decode|resize_small(256, method=bicubic)|central_crop(224)|normalise(imagenet)"
    )
    config.mixing.mixup_alpha = 0.8
    config.mixing.cutmix_alpha = 1.0
    config.mixing.switch_probability = 0.5
    config.objective.label_smoothing = 0.1

    config.optimiser.name = "adamw"
    config.optimiser.learning_rate = 1e-3
    config.optimiser.weight_decay = 0.05
    config.optimiser.clip_norm = 5.0
    config.schedule.name = "cosine"
    config.schedule.warmup = "20 epochs"
    config.schedule.end_fraction = 0.01

    config.train.batch_size = 1024
    config.train.duration = "300 epochs"
    config.evaluation.every = "10 epochs"
    config.checkpoint.every = "1 epochs"
    return config
