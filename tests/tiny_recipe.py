# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""A run of a few seconds with augmentation, mixing, dropout, averaging and evaluation.

Lines, evaluations and checkpoints fall on different steps, so that a run can be cut between them.
"""

from vit_jax.config import default_config


def get_config(arg=None):
    """Returns the configuration; takes no argument."""
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
    config.data.train_ops = "decode(channels=1)|random_crop(8, padding=1)|normalise(half)"
    config.data.eval_ops = "decode(channels=1)|resize(8)|normalise(half)"
    config.data.threads = 2
    config.mixing.mixup_alpha = 0.2
    config.objective.label_smoothing = 0.1
    config.optimiser.weight_decay = 0.05
    config.schedule.warmup = "10 steps"
    config.train.batch_size = 32
    config.train.duration = "60 steps"
    config.train.ema_decay = 0.9
    config.evaluation.every = "15 steps"
    config.evaluation.batch_size = 64
    config.checkpoint.every = "4 steps"
    config.checkpoint.keep_last = 100
    config.log.every_steps = 3
    config.log.tensorboard = False
    config.log.pictures = False
    return config
