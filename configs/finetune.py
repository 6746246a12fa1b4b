# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
r"""Fine-tuning as in the ViT paper (arXiv 2010.11929, section 4.1 and appendix B.1.1).

SGD with momentum 0.9, no weight decay, gradients clipped at norm 1, a cosine schedule, a new head
that starts at zero. The model and its image size are those of the run that `init` names.

Command:   vit-jax train --config=configs/finetune.py:init=WORKDIR,data=folder:pictures --workdir=DIR
           lr: the paper tries 0.003, 0.01, 0.03 and 0.06 on the validation part
           flip=False: where left and right matter
Data:      a folder with one sub-folder a class (split by itself), or with train/, val/ and test/
"""

import json
import pathlib

from vit_jax.config import default_config, from_json, parse_arg
from vit_jax.data.ops import parse
from vit_jax.errors import UserError


def get_config(arg=None):
    """Returns the configuration; arguments: init, data, lr, epochs, flip."""
    arg = parse_arg(arg, init="", data="folder:pictures", lr=0.01, epochs=10, flip=True)
    saved = pathlib.Path(arg.init) / "config.json"
    if not arg.init or not saved.is_file():
        raise UserError(f"init={arg.init!r} is no workdir of a run; write init=WORKDIR")
    source = from_json(saved.read_text())
    config = default_config()
    config.model.update(json.loads(source.model.to_json()))
    config.model.num_classes = 0
    config.model.init_from = arg.init

    config.data.source = arg.data
    eval_ops = parse(source.data.eval_ops)
    ending = eval_ops.spec.rsplit("|", 1)[1]
    ops = [f"decode(channels={eval_ops.channels})", f"inception_crop({eval_ops.image_size})"]
    ops += ["flip"] if arg.flip else []
    config.data.train_ops = "|".join([*ops, ending])
    config.data.eval_ops = source.data.eval_ops

    config.optimiser.name = "sgd"
    config.optimiser.learning_rate = arg.lr
    config.optimiser.options = {"momentum": 0.9}
    config.optimiser.clip_norm = 1.0
    config.schedule.name = "cosine"
    config.schedule.warmup = "5%"

    config.train.batch_size = 64
    config.train.duration = f"{arg.epochs} epochs"
    config.evaluation.every = "1 epochs"
    config.checkpoint.every = "1 epochs"
    config.checkpoint.keep_best = 1
    return config
