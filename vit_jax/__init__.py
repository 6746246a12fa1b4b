# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Vision transformers and their relatives in JAX."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vit_jax.models import create_model, list_models, model_info
    from vit_jax.training.start import load_weights
    from vit_jax.weights import save_weights

__all__ = ["create_model", "list_models", "load_weights", "model_info", "save_weights"]
__version__ = "0.1.0"

_ROOMS = {"load_weights": "vit_jax.training.start", "save_weights": "vit_jax.weights"}


def __getattr__(name: str) -> Any:
    """Imports models and weights when first asked for: `vit-jax --help` answers without JAX."""
    if name in __all__:
        return getattr(importlib.import_module(_ROOMS.get(name, "vit_jax.models")), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
