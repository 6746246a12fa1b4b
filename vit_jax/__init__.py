# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Vision transformers and their relatives in JAX."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vit_jax.models import create_model, list_models, model_info

__all__ = ["create_model", "list_models", "model_info"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Imports the models when first asked for: `vit-jax --help` answers without JAX."""
    if name in __all__:
        from vit_jax import models

        return getattr(models, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
