# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Rows as text."""

from collections.abc import Sequence
from typing import Any


def table(rows: Sequence[dict[str, Any]], float_format: str = "g") -> str:
    """Returns rows of one kind as a table with a head."""
    from tabulate import tabulate

    return tabulate(rows, headers="keys", floatfmt=float_format)
