# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
r"""ViT on ImageNet-1k from scratch, in two settings.

`setting=plain` (default): the simple baseline of "Better plain ViT baselines for ImageNet-1k"
(arXiv 2205.01580): mean pooling, fixed sin-cos positions, light RandAugment and mixup.
`setting=augreg`: "How to train your ViT?" (arXiv 2106.10270): class token, sigmoid loss, augmentation
by strength (`aug=none|light1|light2|medium1|medium2|strong1|strong2`, by default the one that the paper's
Figure 4 shows for the model), dropout and stochastic depth of 0.1 for models that gain from it (`reg=0.1`).

Command:   vit-jax train --config=configs/vit_i1k.py --workdir=DIR
           vit-jax train --config=configs/vit_i1k.py:setting=augreg,model=vit_base_patch16_224 --workdir=DIR
Data:      tfds:imagenet2012 as ArrayRecord, or data=folder:PATH with train/ and val/
Hardware:  written for 8 to 64 accelerators of 16 GB and more
Accuracy:  ours: not run. Paper, S/16 plain: 76.5 % (90 epochs), 80.0 % (300: --config.train.duration='300 epochs')
"""

from vit_jax.config import check_choice, default_config, parse_arg
from vit_jax.models import list_models, model_info

# RandAugment (layers, magnitude) and mixup alpha of the paper's settings.
AUGMENTATION = {
    "none": (None, 0.0),
    "light1": ((2, 0), 0.0),
    "light2": ((2, 10), 0.2),
    "medium1": ((2, 15), 0.2),
    "medium2": ((2, 15), 0.5),
    "strong1": ((2, 20), 0.5),
    "strong2": ((2, 20), 0.8),
}
# AugReg's setting by model; medium2 for the others.
STRENGTH = {"vit_tiny_patch16_224": "light1", "vit_small_patch32_224": "medium1"}


def get_config(arg=None):
    """Returns the configuration; arguments: model, data, setting, aug, reg."""
    arg = parse_arg(
        arg,
        model="vit_small_patch16_224",
        data="tfds:imagenet2012",
        setting="plain",
        aug="",
        reg=0.0,
    )
    info = model_info(arg.model)
    check_choice("model", info.name, list_models("vit_*_224"))
    check_choice("setting", arg.setting, ("plain", "augreg"))
    default_aug = "light2" if arg.setting == "plain" else STRENGTH.get(info.name, "medium2")
    aug = arg.aug or default_aug
    check_choice("aug", aug, AUGMENTATION)
    config = default_config()
    config.model.name = info.name
    config.model.dtype = "bfloat16"
    width = info.spec.width  # of the layer ahead of the head

    config.data.source = arg.data
    config.data.train_split = "train[:99%]" if arg.data.startswith("tfds:") else "train"
    config.data.validation_split = "train[99%:]" if arg.data.startswith("tfds:") else ""
    config.data.test_split = "validation"
    randaugment, config.mixing.mixup_alpha = AUGMENTATION[aug]
    ops = ["decode", "inception_crop(224)", "flip"]
    ops += [f"randaugment{randaugment}"] if randaugment else []
    config.data.train_ops = "|".join([*ops, "value_range(-1, 1)"])
    config.data.eval_ops = "decode|resize_small(256)|central_crop(224)|value_range(-1, 1)"

    config.optimiser.name = "adamw"
    config.optimiser.learning_rate = 1e-3
    config.optimiser.weight_decay = 0.1
    config.optimiser.clip_norm = 1.0
    config.optimiser.options = {"mu_dtype": "bfloat16"}
    config.schedule.name = "cosine"
    config.schedule.warmup = "10_000 steps"

    if arg.setting == "augreg":
        config.model.overrides = {
            "pre_logits": width,
            "head_bias": -6.9,
            "dropout": arg.reg,
            "drop_path": arg.reg,
        }
        config.objective.name = "sigmoid_cross_entropy"
        config.train.batch_size = 4096
        config.train.duration = "300 epochs"
    else:
        config.model.overrides = {"pool": "gap", "position": "sincos", "pre_logits": width}
        config.train.batch_size = 1024
        config.train.duration = "90 epochs"
    config.evaluation.every = "2500 steps"
    config.checkpoint.every = "1000 steps"
    return config
