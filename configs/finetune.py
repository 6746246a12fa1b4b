# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
r"""Fine-tuning on your own pictures, by five methods; docs/finetuning.md compares them.

Command:   vit-jax train --config=configs/finetune.py:init=WORKDIR,data=folder:pictures --workdir=DIR
           init: a workdir of ours or one step of it (which know their model), or with model=NAME
                 weights of others: a file, a folder of transformers, hf:ORG/NAME, timm:NAME
           model=NAME alone: random parameters
           data: a folder with one sub-folder a class (split 80/10/10 by itself), or with train/ and,
                 if there are, val/ and test/; or tfds:NAME, which has "train" and "test"
           size=384: another resolution; lr, batch, epochs, ema=0.999; flip=False: where left and
           right matter; erase=0.25: random erasing; rank=8: of LoRA
Methods:   method=full        SGD 0.03, momentum 0.9, no decay, clip 1, cosine: ViT, arXiv 2010.11929,
                              appendix B.1.1 (there 20,000 steps of 512 images; lr is worth choosing)
           method=adamw       AdamW 1e-3 x batch / 256, decay 0.05, layer-wise decay 0.75, smoothing
                              0.1, drop path 0.1: MAE, arXiv 2111.06377, appendix A.1 (there 50 epochs
                              or more, RandAugment, Mixup 0.8 and CutMix 1.0)
           method=head_first  the head alone for a fifth of the run, then all as `full`: LP-FT, arXiv
                              2202.10054 (there two runs, the first to its end)
           method=linear      the head alone, SGD 0.1 x batch / 256 without decay: MAE, A.1 (there with
                              LARS, and batch normalisation ahead of the head)
           method=lora        adapters of rank 8 in the attention (a Mixer: the MLPs) and the head,
                              AdamW 5e-4, linear fall: LoRA, arXiv 2106.09685, appendix D, there for
                              language
Off here, by --config: objective.label_smoothing=0.1, mixing.mixup_alpha=0.8, mixing.cutmix_alpha=1.0
Hardware:  any; --config.model.dtype=bfloat16 on an accelerator
Accuracy:  docs/finetuning.md has what was run, on little data; nothing of ImageNet's size was
"""

import dataclasses

from vit_jax.config import check_choice, default_config, parse_arg
from vit_jax.data.ops import Ops, evaluation_ops, parse
from vit_jax.data.sources.folder import find_splits
from vit_jax.errors import UserError
from vit_jax.models import model_info
from vit_jax.training import workdir

ALL_BUT_THE_HEAD = r"(?!head).*"


def full(config, arg):
    """All parameters by SGD."""
    config.optimiser.name = "sgd"
    config.optimiser.learning_rate = arg.lr or 0.03
    config.optimiser.options = {"momentum": 0.9}
    config.optimiser.clip_norm = 1.0
    config.schedule.warmup = "5%"


def adamw(config, arg):
    """All parameters by AdamW, the lower layers more slowly."""
    config.model.overrides.drop_path = 0.1
    config.optimiser.name = "adamw"
    config.optimiser.learning_rate = arg.lr or 1e-3 * arg.batch / 256
    config.optimiser.options = {"b1": 0.9, "b2": 0.999}
    config.optimiser.weight_decay = 0.05
    config.optimiser.layer_decay = 0.75
    config.optimiser.clip_norm = 0.0
    config.objective.label_smoothing = 0.1
    config.schedule.warmup = "10%"


def head_first(config, arg):
    """The head, then all parameters."""
    full(config, arg)
    config.optimiser.freeze = (ALL_BUT_THE_HEAD,)
    config.optimiser.freeze_for = "20%"


def linear(config, arg):
    """The head alone."""
    config.optimiser.name = "sgd"
    config.optimiser.learning_rate = arg.lr or 0.1 * arg.batch / 256
    config.optimiser.options = {"momentum": 0.9}
    config.optimiser.clip_norm = 0.0
    config.optimiser.freeze = (ALL_BUT_THE_HEAD,)
    config.model.overrides.drop_path = 0.0
    config.schedule.warmup = "10%"


def lora(config, arg):
    """Low-rank adapters and the head."""
    config.optimiser.name = "adamw"
    config.optimiser.learning_rate = arg.lr or 5e-4
    config.schedule.name = "linear"
    config.schedule.warmup = "6%"
    config.adapters.rank = arg.rank
    if model_info(config.model.name).family == "mixer":
        config.adapters.patterns = (r".*_mlp/.*/kernel",)


METHODS = {f.__name__: f for f in (full, adamw, head_first, linear, lora)}


def get_config(arg=None):
    """Returns the configuration; the header says what the arguments are."""
    arg = parse_arg(
        arg, model="", init="", data="folder:pictures", method="full", size=0, lr=0.0, batch=64,
        epochs=10, ema=0.0, flip=True, erase=0.0, rank=8,
    )  # fmt: skip
    check_choice("method", arg.method, METHODS)
    config = default_config()
    eval_ops = choose_model(config, arg)

    config.data.source = arg.data
    choose_splits(config, arg.data)
    config.data.eval_ops = eval_ops.spec
    steps = [f"decode(channels={eval_ops.channels})", f"inception_crop({eval_ops.image_size})"]
    steps += ["flip"] if arg.flip else []
    steps += [f"random_erasing({arg.erase})"] if arg.erase else []
    config.data.train_ops = "|".join([*steps, eval_ops.device_op.spec])

    config.schedule.name = "cosine"
    METHODS[arg.method](config, arg)
    config.train.batch_size = arg.batch
    config.train.duration = f"{arg.epochs} epochs"
    config.train.ema_decay = arg.ema
    config.evaluation.use_ema = arg.ema > 0
    config.evaluation.every = "1 epochs"
    config.checkpoint.every = "1 epochs"
    config.checkpoint.keep_best = 1
    return config


def choose_model(config, arg) -> Ops:
    """Sets the model and what it starts from; returns the preprocessing it is used to."""
    saved = workdir.saved_config(arg.init) if arg.init else None
    if saved is None and not arg.model:
        if not arg.init:
            raise UserError("what to train is missing; write init=WORKDIR, or model=NAME")
        raise UserError(f"init={arg.init!r} is no run of ours; name its model too, model=NAME")
    if saved is None:
        config.model.name = arg.model
        config.model.init_from = arg.init
        info = model_info(arg.model)
        return evaluation_ops(
            (arg.size, arg.size) if arg.size else info.image_size,
            info.mean,
            info.std,
            crop_fraction=info.crop_fraction,
            interpolation=info.interpolation,
        )
    if arg.model and model_info(arg.model).name != model_info(saved.model.name).name:
        raise UserError(f"init={arg.init!r} is a {saved.model.name}; leave out model={arg.model!r}")
    config.model.update(saved.model.to_dict())
    config.model.update({"num_classes": 0, "init_from": arg.init, "init_options": {}})
    ops = parse(saved.data.eval_ops)
    if not arg.size:
        return ops
    config.model.overrides = {k: v for k, v in config.model.overrides.items() if k != "image_size"}
    return resized(ops, arg.size)


def resized(ops, size) -> Ops:
    """Returns ops whose images come out as `size` x `size`, all else in proportion."""
    scale = size / min(ops.image_size)

    def scaled(op):
        if not hasattr(op, "size"):
            return op
        old = op.size
        new = round(old * scale) if isinstance(old, int) else tuple(round(n * scale) for n in old)
        return dataclasses.replace(op, size=new)

    return Ops(tuple(scaled(op) for op in ops.ops))


def choose_splits(config, data):
    """Names the parts of the data: what is there, and else a tenth of the training part."""
    scheme, _, path = data.partition(":")
    has = find_splits(path) if scheme == "folder" else {"train", "test"}
    if scheme == "digits" or (scheme == "folder" and not has):
        return  # a folder without parts is split by itself
    if "validation" not in has:
        config.data.train_split = "train[:90%]"
        config.data.validation_split = "train[90%:]"
    if "test" not in has:
        config.data.test_split = ""
