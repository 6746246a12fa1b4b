# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""A run of seconds on pictures that each have a colour of their own, so that a step can be asked
which pictures it saw. Lines, evaluations and checkpoints fall on different steps.

Argument: data=FOLDER, from `pictures.make`.
"""

from vit_jax.config import default_config, parse_arg


def get_config(arg=None):
    """Returns the configuration."""
    arg = parse_arg(arg, data="")
    config = default_config()
    config.model.name = "vit_tiny_patch16_224"
    config.model.overrides = {
        "patch_size": 4,
        "width": 32,
        "depth": 2,
        "num_heads": 2,
        "mlp_dim": 64,
        "dropout": 0.1,
        "drop_path": 0.1,
    }
    config.data.source = f"folder:{arg.data}"
    config.data.test_split = ""
    config.data.train_ops = "decode|flip|random_crop(8, padding=1)|normalise(half)"
    config.data.eval_ops = "decode|resize(8)|normalise(half)"
    config.data.threads = 1
    config.mixing.mixup_alpha = 0.2
    config.optimiser.weight_decay = 0.05
    config.schedule.warmup = "8 steps"
    config.train.batch_size = 16
    config.train.duration = "48 steps"
    config.train.ema_decay = 0.9
    config.evaluation.every = "5 steps"
    config.checkpoint.every = "4 steps"
    config.checkpoint.keep_last = 3
    config.log.every_steps = 3
    config.log.tensorboard = False
    config.log.pictures = False
    return config
