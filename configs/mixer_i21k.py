# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
r"""MLP-Mixer pretraining on ImageNet-21k (arXiv 2105.01601, Table 5).

Command:   vit-jax train --config=configs/mixer_i21k.py:model=mixer_b16_224,data=folder:PATH --workdir=DIR
Data:      a folder with one sub-folder a class (WNID), or a TFDS data set of your own; split off by hash
Hardware:  written for a TPU v3-32 slice or larger
Accuracy:  ours: not run. Paper, B/16 fine-tuned on ImageNet-1k at 224 px: 80.64 %
"""

from vit_jax.config import default_config, parse_arg


def get_config(arg=None):
    """Returns the configuration; arguments: model, data."""
    arg = parse_arg(arg, model="mixer_b16_224", data="folder:imagenet21k")
    config = default_config()
    config.model.name = arg.model
    config.model.dtype = "bfloat16"
    config.model.overrides = {"drop_path": 0.1, "head_bias": -10.0}

    config.data.source = arg.data
    config.data.train_split = "train"
    config.data.validation_split = "validation"
    config.data.test_split = ""
    config.data.train_ops = "decode|inception_crop(224)|flip|randaugment(2, 10)|value_range(-1, 1)"
    config.data.eval_ops = "decode|resize_small(256)|central_crop(224)|value_range(-1, 1)"
    config.mixing.mixup_alpha = 0.5

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
