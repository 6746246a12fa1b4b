# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Which outputs of a model the labels of a data set mean.

Without a name, classes are matched by what they are called. `imagenet`, and `imagenet_v2` and
`imagenet_sketch`, which have the same 1,000 classes, match whatever names an ImageNet class.
`imagenet_a` and `imagenet_r` compare the 200 classes of these data sets alone, as their authors do.
`imagenet_real:FILE` takes the labels of the ILSVRC 2012 validation images from ReaL's file.
"""

import dataclasses
import json
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from vit_jax.data.sources import Source
from vit_jax.errors import UserError
from vit_jax.evaluation import imagenet
from vit_jax.registry import near_misses

NAMES = (
    "imagenet", "imagenet_v2", "imagenet_sketch", "imagenet_a", "imagenet_r", "imagenet_real",
)  # fmt: skip
_REAL = "imagenet_real"
_VALIDATION_FILE = re.compile(r"ILSVRC2012_val_(\d{8})")
_VALIDATION_IMAGES = 50_000


@dataclasses.dataclass(frozen=True)
class LabelMap:
    """From the labels of a data set and the outputs of a model to the classes compared.

    Attributes:
        num_classes: C, of those compared.
        targets: the class of each label of the data, int `[labels]`; -1 for none of them.
        right: where an example may have several: its classes, by the example's index.
    """

    num_classes: int
    targets: np.ndarray
    right: Sequence[Sequence[int]] = ()

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the batch with labels that are classes; examples without one are masked out."""
        known = (batch["mask"] > 0) & (batch["label"] >= 0)
        if self.right:
            return self._with_several(batch, known)
        label: np.ndarray = self.targets[np.where(known, batch["label"], 0)]
        mask = np.asarray(known & (label >= 0), np.float32)
        return {**batch, "label": np.maximum(label, 0).astype(np.int32), "mask": mask}

    def _with_several(
        self, batch: dict[str, np.ndarray], known: np.ndarray
    ) -> dict[str, np.ndarray]:
        labels = np.zeros((len(known), self.num_classes), np.float32)
        for row in np.flatnonzero(known):
            classes = list(self.right[batch["index"][row]])
            labels[row, classes] = 1 / max(len(classes), 1)
        return {**batch, "label": labels, "mask": np.sign(labels.max(-1))}


def resolve(
    name: str, source: Source, model_names: tuple[str, ...]
) -> tuple[LabelMap, np.ndarray | None]:
    """Returns the label map, and which outputs of the model its classes are (None: all, in order).

    Args:
        name: as the module's docstring lists them; "" to match names.
        source: the data.
        model_names: of the model's outputs.

    Raises:
        UserError: an unknown name, or classes that do not fit.
    """
    if not name:
        return _by_name(source.class_names, model_names), None
    name, _, path = name.partition(":")
    if name not in NAMES:
        hint = near_misses(name, NAMES) or f"; known: {', '.join(NAMES)}"
        raise UserError(f"--labels: unknown name {name!r}{hint}")
    if path and name != _REAL:
        raise UserError(f"--labels={name} takes no file")
    letter = name.removeprefix("imagenet_")
    chosen = imagenet.subset(letter) if letter in imagenet.SUBSETS else np.arange(1000)
    outputs = _imagenet_outputs(name, model_names)[chosen]
    if name == _REAL:
        right = _real_labels(path, source)
        return LabelMap(1000, np.arange(len(source.class_names)), right), outputs
    meant = imagenet.indices(source.class_names)
    if meant is None:
        raise UserError(
            f"--labels={name}: the data has the classes {some(source.class_names)}, which should "
            "be WordNet ids (n01440764, ...) or numbers of ImageNet classes"
        )
    position = np.full(1000, -1)
    position[chosen] = np.arange(len(chosen))
    return LabelMap(len(chosen), position[meant]), outputs


def resolve_all(
    name: str, source: Source, models: Sequence[tuple[str, ...]]
) -> tuple[LabelMap, tuple[np.ndarray | None, ...]]:
    """Returns the label map that models share, and which outputs of each its classes are.

    Args:
        name: see `resolve`.
        source: the data.
        models: the names of the outputs of each; where classes are matched by name, in any order.

    Raises:
        UserError: as `resolve`, or models of unlike classes.
    """
    first = models[0]
    if name:
        found = [resolve(name, source, names) for names in models]
        return found[0][0], tuple(outputs for _, outputs in found)
    for names in models:
        if sorted(names) != sorted(first):
            raise UserError(
                f"the checkpoints have the classes {some(first)} and {some(names)}: an average "
                "needs the same"
            )
    positions = [{n: i for i, n in enumerate(names)} for names in models]
    orders = [np.array([position[n] for n in first]) for position in positions]
    return resolve(name, source, first)[0], (None, *orders[1:])


def some(names: Sequence[str]) -> str:
    """Returns the first few names, and how many there are."""
    return ", ".join(names[:5]) + (f", ... ({len(names)})" if len(names) > 5 else "")


def _by_name(data_names: tuple[str, ...], model_names: tuple[str, ...]) -> LabelMap:
    position = {name: index for index, name in enumerate(model_names)}
    if all(name in position for name in data_names):
        return LabelMap(len(model_names), np.array([position[name] for name in data_names]))
    meant, outputs = imagenet.indices(data_names), imagenet.indices(model_names)
    named = not (data_names[0].isdigit() or model_names[0].isdigit())
    if named and meant is not None and outputs is not None and len(outputs) == 1000:
        return LabelMap(1000, np.argsort(outputs)[meant])
    raise UserError(
        f"the data has the classes {some(data_names)}, the model {some(model_names)}; "
        "they must be the same"
    )


def _imagenet_outputs(name: str, model_names: tuple[str, ...]) -> np.ndarray:
    """Returns the output of each of the 1,000 classes."""
    meant = imagenet.indices(model_names)
    if meant is None or len(meant) != 1000:
        raise UserError(
            f"--labels={name} needs a model of the 1,000 ImageNet classes; this one has "
            f"{len(model_names)}: {some(model_names)}"
        )
    return np.argsort(meant)


def _real_labels(path: str, source: Source) -> list[list[int]]:
    """Returns the ReaL labels (arXiv 2006.07159) of each example of a source."""
    if not path:
        raise UserError(
            f"--labels={_REAL} needs a file: get real.json from "
            f"github.com/google-research/reassessed-imagenet and write --labels={_REAL}:real.json"
        )
    try:
        labels: Any = json.loads(pathlib.Path(path).expanduser().read_text())
        ok = len(labels) == _VALIDATION_IMAGES and all(isinstance(row, list) for row in labels)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"--labels={_REAL}:{path} cannot be read: {error}") from None
    if not ok:
        raise UserError(f"--labels={_REAL}:{path} is no list of {_VALIDATION_IMAGES} lists")
    found = []
    for index in range(len(source)):
        match = _VALIDATION_FILE.search(source.file_name(index))
        if match is None:
            raise UserError(
                f"--labels={_REAL}: {source.file_name(index)} is no ILSVRC2012_val_*.JPEG; these "
                "labels are of the 50,000 validation images alone"
            )
        found.append(labels[int(match[1]) - 1])
    return found
