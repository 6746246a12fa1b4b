# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""How many examples and classes a recipe trains on, without its data where they are well known."""

import re

from etils import epath
from ml_collections import ConfigDict

from vit_jax.data import ops
from vit_jax.errors import UserError
from vit_jax.evaluation import classification
from vit_jax.training.program import Facts

# Data set -> classes, examples of each part. ImageNet-21k is the release of arXiv 2106.10270.
KNOWN = {
    "imagenet2012": (1000, {"train": 1_281_167, "validation": 50_000}),
    "imagenet21k": (21_843, {"train": 14_197_122}),
    "cifar10": (10, {"train": 50_000, "test": 10_000}),
    "cifar100": (100, {"train": 50_000, "test": 10_000}),
}


HINT = "tell how many: --examples=N --classes=N"


def training_facts(
    config: ConfigDict, examples: int = 0, classes: int = 0, hint: str = HINT
) -> Facts:
    """Returns the facts of a configuration's training split.

    Args:
        config: names the source and its part.
        examples: in the training split; 0: as is well known, else the data are opened.
        classes: of the source; 0: the same.
        hint: what else can be done where the data are not here.

    Raises:
        UserError: neither given nor known, and the data are not here.
    """
    known = None
    if not _is_here(config.data.source):
        known = _known(config.data.source, config.data.train_split)
    if known is None and not (examples and classes):
        known = _opened(config, hint)
    found_classes, found_examples = known or (0, 0)
    names = tuple(map(str, range(classes or found_classes)))
    return Facts(names, examples or found_examples, ops.parse(config.data.eval_ops))


def _is_here(source: str) -> bool:
    """Says whether a source is a folder that can be looked into, whatever it is called."""
    kind, _, path = source.partition(":")
    return kind == "folder" and epath.Path(path).is_dir()


def _known(source: str, split: str) -> tuple[int, int] | None:
    kind, _, name = source.partition(":")
    if kind == "tfds":
        name = re.split(r"[:/]", name)[0]  # without its configuration and version
    match = re.fullmatch(r"(\w+)(?:\[(\d*)(%?):(\d*)(%?)\])?", split)
    if name not in KNOWN or match is None or match[1] not in KNOWN[name][1]:
        return None
    classes, parts = KNOWN[name]
    size = parts[match[1]]

    def position(text: str, percent: str, default: int) -> int:
        if not text:
            return default
        return round(int(text) * size / 100) if percent else min(int(text), size)

    return classes, position(match[4] or "", match[5] or "", size) - position(
        match[2] or "", match[3] or "", 0
    )


def _opened(config: ConfigDict, hint: str) -> tuple[int, int]:
    try:
        source = classification.open_split(config, "train")
    except UserError as error:
        raise UserError(f"{error}; or {hint}") from None
    if source is None:
        raise UserError(f"data.train_split is empty; {hint}")
    return len(source.class_names), len(source)
