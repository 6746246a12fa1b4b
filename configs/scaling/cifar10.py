# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
r"""Does convolutional bias win on little data, and how much data is augmentation worth? On CIFAR-10.

Figure 3 of the ViT paper (arXiv 2010.11929) and Figure 1 of AugReg (arXiv 2106.10270) at a size that
two CPU cores can train: five families of about equal cost a picture, trained on 2 to 100 % of the
50,000 training pictures with and without augmentation and regularisation, 200,000 pictures shown to
each, the 10,000 test pictures evaluated once, at the end.

Command:   vit-jax scaling run configs/scaling/cifar10.py:data=folder:PATH --workdir=DIR
           data: tfds:cifar10, or a folder with train/CLASS/ and test/CLASS/
           one of the runs: vit-jax train --config=configs/scaling/cifar10.py:model=vit --workdir=DIR
Cost:      7.719e+14 FLOPs, by --dry-run
Hardware:  two CPU cores, a run on each at a time: five hours
Accuracy:  docs/cifar10_study.md
"""

from vit_jax.config import check_choice, default_config, parse_arg
from vit_jax.scaling.study import Study, seeds

TRANSFORMER = {"pool": "gap", "position": "sincos", "num_heads": 2, "width": 64}

# A model, the overrides that make it small, its learning rate: chosen on train[90%:] after 400 steps
# on train[:25%], 1e-3 against 3e-3, of the ResNet 1e-2 as well; between two that were about as good.
# The hybrid has that of the ViT.
MODELS = {
    "resnet": (
        "resnet18",
        {"root": "7x7", "width": 32, "depths": (2, 2, 1)},
        5e-3,
    ),
    "vit": (
        "vit_tiny_patch16_224",
        {**TRANSFORMER, "patch_size": 4, "depth": 2, "mlp_dim": 128},
        3e-3,
    ),
    "hybrid": (
        "vit_tiny_patch16_224",
        {
            **TRANSFORMER,
            "stem_depths": (),
            "stem_width": 32,
            "patch_size": 1,
            "depth": 2,
            "mlp_dim": 64,
        },
        3e-3,
    ),
    "swin": (
        "swin_tiny_patch4_window7_224",
        {"patch_size": 4, "window_size": 4, "width": 40, "depths": (2, 2), "num_heads": (2, 4)},
        2e-3,
    ),
    "mixer": (
        "mixer_s16_224",
        {
            "patch_size": 4,
            "width": 64,
            "depth": 2,
            "token_mlp_dim": 64,
            "channel_mlp_dim": 256,
        },
        3e-3,
    ),
}
NAMES = {"resnet": "ResNet", "vit": "ViT", "hybrid": "hybrid", "swin": "Swin", "mixer": "Mixer"}
PERCENT = (2, 5, 10, 25, 50, 100)


def get_study(arg=None):
    """Returns the study; argument: data."""
    arg = parse_arg(arg, data="tfds:cifar10")
    return Study(
        recipe=f"{__file__}:data={arg.data}",
        axes={
            "seed": seeds(2),
            "data": {f"{p}%": {"data.train_split": f"train[:{p}%]"} for p in PERCENT},
            "augmentation": {"off": {"recipe.augment": False}, "on": {"recipe.augment": True}},
            "family": {NAMES[model]: {"recipe.model": model} for model in MODELS},
        },
    )


def get_config(arg=None):
    """Returns the configuration of a run; arguments: model, data, augment."""
    arg = parse_arg(arg, model="vit", data="tfds:cifar10", augment=True)
    check_choice("model", arg.model, MODELS)
    config = default_config()
    config.model.name, config.model.overrides, learning_rate = MODELS[arg.model]

    config.data.source = arg.data
    config.data.validation_split = ""
    augmentation = "random_crop(32, padding=4)|flip" if arg.augment else "resize(32)"
    config.data.train_ops = f"decode|{augmentation}|normalise(cifar10)"
    config.data.eval_ops = "decode|resize(32)|normalise(cifar10)"
    config.data.cache = True
    if arg.augment:
        config.mixing.mixup_alpha = 0.2
        config.model.overrides.drop_path = 0.1

    config.optimiser.name = "adamw"
    config.optimiser.learning_rate = learning_rate
    config.optimiser.weight_decay = 0.05
    config.schedule.name = "cosine"
    config.schedule.warmup = "100 steps"

    config.train.batch_size = 128
    config.train.duration = "1560 steps"
    config.evaluation.every = ""
    config.evaluation.batch_size = 500
    config.checkpoint.every = "400 steps"
    config.checkpoint.keep_last = 1
    config.log.every_steps = 40
    config.log.tensorboard = False
    config.log.pictures = False
    return config
