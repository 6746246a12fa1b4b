# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
r"""What a ViT learns on six classes of CIFAR-10 at 32 pixels is worth on the other four at 48.

The classes are parted by two folders of links; cifar10 has train/CLASS/ and test/CLASS/:

    for part in train test; do
      mkdir -p six/$part four/$part
      for c in airplane automobile bird cat deer dog; do ln -s "$PWD/cifar10/$part/$c" six/$part/; done
      for c in frog horse ship truck; do ln -s "$PWD/cifar10/$part/$c" four/$part/; done
    done

Command:   vit-jax train --config=configs/cifar10_transfer.py:data=folder:six --workdir=PRETRAINED
           vit-jax train --config=configs/cifar10_transfer.py:data=folder:four,size=48,init=PRETRAINED \
             --workdir=DIR
           init left out: from scratch, all else alike; docs/transfer.md has the three seeds
Hardware:  two busy CPU cores, two to ten minutes each
Accuracy:  test, four classes, seeds 0 to 2: 78.5, 77.6, 77.5 % from PRETRAINED; 70.4, 68.2, 70.9 % from scratch
"""

from vit_jax.config import default_config, parse_arg


def get_config(arg=None):
    """Returns the configuration; arguments: data, size, init, epochs (0: 6, at other sizes 10)."""
    arg = parse_arg(arg, data="folder:six", size=32, init="", epochs=0)
    config = default_config()
    config.model.name = "vit_tiny_patch16_224"
    config.model.overrides = {
        "patch_size": 8,
        "width": 96,
        "mlp_dim": 384,
        "depth": 4,
        "pool": "gap",
    }
    config.model.init_from = arg.init

    pretraining = arg.size == 32
    config.data.source = arg.data
    # The other task has few examples: 4,000.
    config.data.train_split = "train[:98%]" if pretraining else "train[:20%]"
    config.data.validation_split = "train[98%:]"
    config.data.test_split = "test"
    crop = f"random_crop({arg.size}, padding={arg.size // 8})"
    config.data.train_ops = f"decode|resize({arg.size})|{crop}|flip|normalise(cifar10)"
    config.data.eval_ops = f"decode|resize({arg.size})|normalise(cifar10)"
    config.data.cache = True

    config.objective.label_smoothing = 0.1
    config.optimiser.name = "adamw"
    config.optimiser.learning_rate = 1e-3
    config.optimiser.weight_decay = 0.05
    config.schedule.name = "cosine"
    config.schedule.warmup = "5%"

    config.train.batch_size = 256 if pretraining else 128
    config.train.duration = f"{arg.epochs or (6 if pretraining else 10)} epochs"
    config.evaluation.every = ""
    config.checkpoint.every = ""
    config.log.pictures = False
    return config
