# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Weights of other projects in our models and ours in theirs: numpy arrays, no torch needed."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from vit_jax.layers.stack import stack_layers, unstack_layers
from vit_jax.models import init_params
from vit_jax.models.mixer import MixerSpec
from vit_jax.models.swin import SwinSpec
from vit_jax.models.vit import ViTSpec
from vit_jax.weights import mixer, swin, vit
from vit_jax.weights.names import NameMap

_NAME_MAPS: dict[type, Callable[[Any], NameMap]] = {
    ViTSpec: vit.name_map,
    MixerSpec: mixer.name_map,
    SwinSpec: swin.name_map,
}


def from_timm(state_dict: Mapping[str, np.ndarray], model: Any) -> dict[str, Any]:
    """Returns the parameters of `model` with timm's values, in its `param_dtype`, scanned if it is.

    Args:
        state_dict: timm's names to arrays: `{k: v.numpy() for k, v in model.state_dict().items()}`.

    Raises:
        UserError: tensors are missing, left over or of another shape; all of them are listed.
    """
    unrolled = type(model)(dataclasses.replace(model.spec, scan=False))
    template = jax.eval_shape(functools.partial(init_params, unrolled), jax.random.key(0))
    params = _name_map(model).load(state_dict, template)
    return stack_layers(params) if model.spec.scan else params


def to_timm(params: Mapping[str, Any], model: Any) -> dict[str, np.ndarray]:
    """Returns the parameters of `model`, scanned or not, under timm's names and in its layouts."""
    return _name_map(model).dump(unstack_layers(params))


def _name_map(model: Any) -> NameMap:
    return _NAME_MAPS[type(model.spec)](model.spec)
