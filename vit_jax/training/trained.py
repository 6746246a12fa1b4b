# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What makes a checkpoint self-contained: written beside the parameters, read back as a model."""

import dataclasses
import json
import os
from typing import Any

from flax import linen as nn
from ml_collections import ConfigDict

from vit_jax import config as config_lib
from vit_jax.data import ops as ops_lib
from vit_jax.models import create_model
from vit_jax.training import checkpoint


def build_model(config: ConfigDict, num_classes: int, ops: ops_lib.Ops) -> nn.Module:
    """Returns the configured model, for images of the size the ops make."""
    settings = config.model
    height, width = ops.image_size
    chosen = {
        "image_size": height if height == width else (height, width),
        "dtype": settings.dtype,
        "param_dtype": settings.param_dtype,
        "remat": settings.remat,
        "scan": settings.scan,
    }
    return create_model(settings.name, num_classes, **(chosen | settings.overrides.to_dict()))


def describe(config: ConfigDict, class_names: tuple[str, ...], ops: ops_lib.Ops) -> dict[str, Any]:
    """Returns the metadata of a checkpoint, as JSON: all that using it takes besides arrays."""
    return {
        "config": json.loads(config_lib.to_json(config)),
        "class_names": list(class_names),
        "num_classes": config.model.num_classes or len(class_names),
        "ops": ops.spec,
    }


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained model, ready for use.

    Attributes:
        step: the step it was saved after.
        model: the module.
        params: numpy arrays; the averaged ones if the run evaluated these.
        model_state: the module's other collections.
        ops: the preprocessing it was evaluated with.
        class_names: of its outputs; numbers where outputs have no name.
        config: of its run.
    """

    step: int
    model: nn.Module
    params: Any
    model_state: Any
    ops: ops_lib.Ops
    class_names: tuple[str, ...]
    config: ConfigDict


def load(path: str | os.PathLike) -> Trained:
    """Reads a trained model from a workdir or from one step of it.

    Raises:
        UserError: there is no usable checkpoint.
    """
    saved = checkpoint.load(os.fspath(path))
    config = config_lib.from_json(json.dumps(saved.metadata["config"]))
    if config.train.ema_decay and not config.evaluation.use_ema:
        saved = checkpoint.load(os.fspath(path), ema=False)
    ops = ops_lib.parse(saved.metadata["ops"])
    num_classes, names = saved.metadata["num_classes"], saved.metadata["class_names"]
    unnamed = [str(i) for i in range(len(names), num_classes)]
    return Trained(
        step=saved.step,
        model=build_model(config, num_classes, ops),
        params=saved.params,
        model_state=saved.model_state,
        ops=ops,
        class_names=(*names, *unnamed),
        config=config,
    )
