# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The folder of one run, on disk or gs://: its configuration, and whether another may go on."""

import json
import os
from typing import Any

from etils import epath
from ml_collections import ConfigDict

from vit_jax import config as config_lib
from vit_jax.errors import UserError
from vit_jax.weights import sources

CONFIG = "config.json"
CHECKPOINTS = "checkpoints"
METADATA = "metadata.json"  # of one checkpoint

# Fields (and sections, with a dot) that the saved state or the record so far depend on. Others may
# change between two starts: the run goes on under the new ones.
FIXED = (
    "seed",
    "model.name",
    "model.num_classes",
    "model.param_dtype",
    "model.scan",
    "model.overrides.",
    "data.source",
    "data.train_split",
    "objective.name",
    "optimiser.name",
    "optimiser.options.",
    "optimiser.freeze",
    "optimiser.freeze_for",
    "optimiser.clip_norm",
    "optimiser.decay_patterns",
    "optimiser.layer_decay",
    "optimiser.multipliers",
    "adapters.",
    "train.batch_size",
    "train.ema_decay",
)

# Those that the result does not depend on, but for rounding: they say what is kept, shown and
# bearable, and how the work is laid out.
NEUTRAL = (
    "data.cache",
    "data.data_dir",
    "data.max_bad_fraction",
    "data.prefetch_batches",
    "data.threads",
    "evaluation.batch_size",
    "checkpoint.every",
    "checkpoint.keep_at",
    "checkpoint.keep_last",
    "log.",
    "mesh.",
    "memory",
    "memory_gib",
    "model.remat",
    "train.max_nonfinite_steps",
    "train.watchdog_seconds",
)


def saved_config(path: str | os.PathLike) -> ConfigDict | None:
    """Returns the configuration of a run; None if there is none.

    Args:
        path: its workdir, the checkpoints in it, or one step of them, which may have been moved.
    """
    place = epath.Path(path)
    step = place.is_dir() and place.name.isdigit()
    for folder in (place, place.parent, place.parent.parent):
        if (folder / CHECKPOINTS).is_dir() and (folder / CONFIG).is_file():
            return config_lib.from_json((folder / CONFIG).read_text())
        if not step and place.name != CHECKPOINTS:
            return None
    if step and (place / METADATA).is_file():
        saved = json.loads((place / METADATA).read_text())
        return config_lib.from_json(json.dumps(saved["config"]))
    return None


def changes(folder: str | os.PathLike, config: ConfigDict) -> list[tuple[str, Any, Any]]:
    """Returns (field, before, now) of what differs from the run in the folder, if there is one."""
    path = epath.Path(folder) / CONFIG
    if not path.exists():
        return []
    return config_lib.diff(config_lib.from_json(path.read_text()), config)


def has_begun(folder: str | os.PathLike) -> bool:
    """Says whether there is a checkpoint that the run goes on from."""
    return any((epath.Path(folder) / CHECKPOINTS).glob("[0-9]*"))


def is_among(field: str, fields: tuple[str, ...]) -> bool:
    """Says whether `FIXED` or `NEUTRAL` names a field, or its section."""
    return f"{field}.".startswith(tuple(name.rstrip(".") + "." for name in fields))


def check(folder: str | os.PathLike, config: ConfigDict) -> None:
    """Refuses a new run without what it starts from, and an old one under what does not fit it.

    Raises:
        UserError: names the first such field.
    """
    if not has_begun(folder):
        if config.model.init_from:
            sources.check(config.model.init_from, "model.init_from")
        return
    for field, before, now in changes(folder, config):
        if is_among(field, FIXED):
            raise UserError(
                f"{folder} holds a run with {field}={before!r}, not {now!r}; "
                "choose another --workdir, or the old value to go on"
            )


def show_changes(differences: list[tuple[str, Any, Any]]) -> str:
    """Returns one line a difference."""
    return "\n".join(f"  {field}: {before!r} -> {now!r}" for field, before, now in differences)
