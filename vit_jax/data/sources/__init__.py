# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Where examples come from."""

from vit_jax.data.sources import folder, tfds, vtab  # noqa: F401  (each registers its scheme)
from vit_jax.data.sources.base import SOURCES, Source, create_source

__all__ = ["SOURCES", "Source", "create_source"]
