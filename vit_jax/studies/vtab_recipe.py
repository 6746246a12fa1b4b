# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
r"""One run of VTAB-1k (arXiv 1910.04867), which `vit-jax vtab` starts.

SGD with momentum 0.9 on batches of 512, a cosine schedule, gradients clipped at norm 1, no weight
decay, as the ViT paper (arXiv 2010.11929, appendix B.1.1) has it. The model to start from and its
images are set by overrides.
"""

from vit_jax.config import default_config, parse_arg

WARMUP_STEPS = 500


def get_config(arg=None):
    """Returns the configuration; arguments: task, lr, steps, final.

    With `final` the 1000 examples are trained on and the test part is evaluated; without, 800 are
    and the other 200 are.
    """
    arg = parse_arg(arg, task="caltech101", lr=0.01, steps=2500, final=False)
    config = default_config()
    config.data.source = f"vtab:{arg.task}"
    config.data.train_split = "train800val200" if arg.final else "train800"
    config.data.validation_split = "" if arg.final else "val200"
    config.data.test_split = "test" if arg.final else ""

    config.optimiser.name = "sgd"
    config.optimiser.learning_rate = arg.lr
    config.optimiser.options = {"momentum": 0.9}
    config.optimiser.clip_norm = 1.0
    config.schedule.name = "cosine"
    config.schedule.warmup = f"{min(WARMUP_STEPS, arg.steps // 5)} steps"

    config.train.batch_size = 512
    config.train.duration = f"{arg.steps} steps"
    config.evaluation.every = ""
    config.checkpoint.every = "500 steps"
    config.checkpoint.keep_last = 1
    config.log.tensorboard = False
    config.log.pictures = False
    return config
