# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What cannot work is refused here, in the first second, with the reason."""

from ml_collections import ConfigDict

from vit_jax.config.loading import check_structure


def validate(config: ConfigDict, *, num_devices: int | None = None) -> None:
    """Raises UserError for the first thing in the configuration that cannot work."""
    check_structure(config)
