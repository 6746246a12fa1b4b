# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""From the parameters of a trained model to those another one starts from: fine-tuning."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from flax.traverse_util import flatten_dict, unflatten_dict

from vit_jax.errors import UserError
from vit_jax.layers.stack import stack_layers, unstack_layers

HEAD = "head/"  # the one part that another task may need anew


@dataclasses.dataclass(frozen=True)
class Report:
    """What became of every parameter, by path.

    Attributes:
        loaded: taken over.
        initialised: the new model's own: its head, where the number of classes differs.
        ignored: of the old model, without a place in the new one: its head.
    """

    loaded: tuple[str, ...]
    initialised: tuple[str, ...]
    ignored: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f"{len(self.loaded)} arrays loaded"]
        for verb, paths in (("initialised", self.initialised), ("ignored", self.ignored)):
            parts += [f"{verb}: {', '.join(paths)}"] if paths else []
        return "; ".join(parts)


def transfer(trained: Mapping[str, Any], fresh: Mapping[str, Any]) -> tuple[dict[str, Any], Report]:
    """Returns `fresh` with the parameters of `trained`, and the report.

    Either may be scanned or unrolled. A head of another shape keeps its fresh values.

    Args:
        trained: parameters as arrays.
        fresh: parameters of the new model, just initialised.

    Raises:
        UserError: anything but the head is missing, left over or of another shape; all are listed.
    """
    ours = flatten_dict(unstack_layers(fresh), sep="/")
    scanned = ours.keys() != flatten_dict(fresh, sep="/").keys()
    theirs = flatten_dict(unstack_layers(trained), sep="/")
    loaded, initialised, problems = [], [], []
    for path, leaf in ours.items():
        if path in theirs and theirs[path].shape == leaf.shape:
            loaded.append(path)
        elif path.startswith(HEAD):
            initialised.append(path)
        else:
            there = list(theirs[path].shape) if path in theirs else "absent"
            problems.append(f"{path} is {list(leaf.shape)} here and {there} there")
    ignored = [path for path in theirs if path not in loaded]
    homeless = [p for p in ignored if p not in ours and not p.startswith(HEAD)]
    problems += [f"{path} has no place here" for path in homeless]
    if problems:
        raise UserError(
            f"the trained parameters do not fit the model: {'; '.join(problems)}; use the model "
            "and the image size of the checkpoint"
        )
    merged = unflatten_dict({p: theirs[p] if p in loaded else ours[p] for p in ours}, sep="/")
    report = Report(tuple(loaded), tuple(initialised), tuple(ignored))
    return (stack_layers(merged) if scanned else merged), report
