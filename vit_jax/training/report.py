# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What a run tells people: what its data is made of, and what to do when it is over."""

import os
import shlex
from collections.abc import Mapping, Sequence

import numpy as np
from tabulate import tabulate

from vit_jax.data.pipeline import EvalPipeline, TrainPipeline
from vit_jax.data.sources import Source
from vit_jax.paths import is_remote

LISTED_CLASSES = 20  # up to so many have a line each
NAMED = 5  # classes or files that a line names at most
UNBALANCED = 10  # times the smallest class, from where the largest is worth a remark


def data(splits: dict[str, Source]) -> str:
    """Returns how many images of each class a run has, and what it leaves out.

    Args:
        splits: "train" first, then those that are evaluated; all with the same classes.
    """
    names = next(iter(splits.values())).class_names
    counted = {name: source.class_counts() for name, source in splits.items()}
    counts = {name: found for name, found in counted.items() if found is not None}
    show = _table if len(names) <= LISTED_CLASSES else _ranges
    lines = show(names, counts) if counts else []
    for split, of_class in counts.items():
        if absent := [name for name, n in zip(names, of_class, strict=True) if not n]:
            lines.append(f"{split} has no image of {_some(absent)}")
    lines += _remark(names, counts)
    left_out = {source.left_out: split for split, source in reversed(splits.items())}
    lines += [f"left out where {split} lies: {what}" for what, split in left_out.items() if what]
    return "\n".join(lines)


def _table(names: Sequence[str], counts: Mapping[str, np.ndarray]) -> list[str]:
    rows = [[name, *(int(c[i]) for c in counts.values())] for i, name in enumerate(names)]
    return tabulate(rows, headers=["class", *counts], disable_numparse=[0]).splitlines()


def _ranges(names: Sequence[str], counts: Mapping[str, np.ndarray]) -> list[str]:
    lines = []
    for split, of_class in counts.items():
        order = np.argsort(of_class, kind="stable")
        few, many = ([f"{names[i]} {of_class[i]:,}" for i in o[:3]] for o in (order, order[::-1]))
        lines.append(
            f"{split}: {of_class.min():,} to {of_class.max():,} images a class, median "
            f"{np.median(of_class):,.0f}; fewest {', '.join(few)}; most {', '.join(many)}"
        )
    return lines


def _remark(names: Sequence[str], counts: Mapping[str, np.ndarray]) -> list[str]:
    """Returns a line on a training split whose classes differ much in size."""
    of_class = counts.get("train")
    if of_class is None or not of_class.min() or of_class.max() < UNBALANCED * of_class.min():
        return []
    small, large = names[int(of_class.argmin())], names[int(of_class.argmax())]
    return [
        f"train has {of_class.max() / of_class.min():.0f} times as many images of {large!r} as of "
        f"{small!r}: accuracy will tell little of the small classes; objective.class_weights "
        "weighs them"
    ]


def unreadable(pipelines: Mapping[str, TrainPipeline | EvalPipeline]) -> str:
    """Returns which images this process could not read, or an empty string."""
    lines = []
    for split, pipeline in pipelines.items():
        if bad := pipeline.bad_records:
            files = _some([f"{pipeline.source.name(i)} ({why})" for i, why in sorted(bad.items())])
            instead = "replaced by others" if split == "train" else "left out"
            lines.append(f"{split}: {len(bad)} unreadable images were {instead}: {files}")
    return "\n".join(lines)


def commands(folder: str | os.PathLike, evaluated: dict[str, EvalPipeline]) -> str:
    """Returns the commands that use what the run in a folder has trained."""
    folder = os.fspath(folder)
    name = folder.rpartition("/")[2] if is_remote(folder) else folder  # of files written here
    split, image = next(reversed(evaluated), "train"), "IMAGE..."
    if evaluated and os.path.isfile(first := evaluated[split].source.name(0)):
        image = first
    lines = {
        "evaluate": ["evaluate", f"--workdir={folder}", f"--split={split}"],
        "predict": ["predict", f"--checkpoint={folder}", image],
        "export": ["export", folder, "--format=stablehlo", f"--to={name}.stablehlo"],
        "convert": ["convert", folder, f"--to={name}.safetensors"],
    }
    return "\n".join(
        f"{verb + ':':<10}vit-jax {' '.join(map(_quote, words))}" for verb, words in lines.items()
    )


def _quote(word: str) -> str:
    return word if word == "IMAGE..." else shlex.quote(word)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
