# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
r"""MLP-Mixer pretraining on ImageNet-21k (arXiv 2105.01601, Table 5).

Command:   vit-jax train --config=configs/mixer_i21k.py:model=mixer_b16_224,data=folder:PATH --workdir=DIR
Data:      a folder with one sub-folder a class (WNID), or a TFDS data set of your own; split off by hash
Hardware:  written for a TPU v3-32 slice or larger
           The augmentation of each size is Table 5's as we recall it: check it before a long run
Accuracy:  ours: not run. Paper, B/16 fine-tuned on ImageNet-1k at 224 px: 80.64 %
"""

from vit_jax.config import check_choice, default_config, parse_arg
from vit_jax.models import list_models, model_info

# RandAugment's magnitude and mixup's alpha by size. Other sizes, which the paper trains on JFT: as B.
AUGMENTATION = {"b": (10, 0.2), "l": (20, 0.5)}


def get_config(arg=None):
    """Returns the configuration; arguments: model, data."""
    arg = parse_arg(arg, model="mixer_b16_224", data="folder:imagenet21k")
    info = model_info(arg.model)
    check_choice("model", info.name, list_models("mixer_*_224"))
    config = default_config()
    config.model.name = info.name
    config.model.dtype = "bfloat16"
    config.model.overrides = {"drop_path": 0.1, "head_bias": -10.0}

    config.data.source = arg.data
    config.data.train_split = "train"
    config.data.validation_split = "validation"
    config.data.test_split = ""
    magnitude, config.mixing.mixup_alpha = AUGMENTATION.get(
        info.name.removeprefix("mixer_")[0], AUGMENTATION["b"]
    )
    config.data.train_ops = (
        f"decode|inception_crop(224)|flip|randaugment(2, {magnitude})|value_range(-1, 1)"
    )
    config.data.eval_ops = "decode|resize_small(256)|central_crop(224)|value_range(-1, 1)"

    config.objective.name = "sigmoid_cross_entropy"
    config.optimiser.name = "adamw"
    config.optimiser.learning_rate = 1e-3
    config.optimiser.weight_decay = 0.1
    config.optimiser.clip_norm = 1.0
    config.schedule.name = "linear"
    config.schedule.warmup = "10_000 steps"
    config.schedule.end_fraction = 0.01

    config.train.batch_size = 4096
    config.train.duration = "300 epochs"
    config.evaluation.every = "5000 steps"
    config.checkpoint.every = "1000 steps"
    return config
