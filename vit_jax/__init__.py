# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Vision transformers and their relatives in JAX."""

from vit_jax.models import create_model, list_models, model_info

__all__ = ["create_model", "list_models", "model_info"]
__version__ = "0.1.0"
