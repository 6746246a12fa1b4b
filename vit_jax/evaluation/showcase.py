# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The pictures of a run, each drawn by one process into its workdir."""

import os
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from etils import epath

from vit_jax import pictures
from vit_jax.data.ops import Ops
from vit_jax.data.pipeline import EvalPipeline
from vit_jax.data.tensorflow import import_tensorflow
from vit_jax.evaluation.answers import Answers
from vit_jax.training import goodput

SAMPLES, EXAMPLES = 8, 32  # pictures in a grid: before training, and after it


def draw_curves(workdir: str | os.PathLike) -> epath.Path:
    """Draws `curves.png` from the metrics so far."""
    folder = epath.Path(workdir)
    return pictures.curves(folder / "metrics.jsonl", folder / "curves.png")


def draw_goodput(workdir: str | os.PathLike) -> epath.Path:
    """Draws `goodput.png`: where the time of each start so far went."""
    starts = goodput.read(workdir)
    path = epath.Path(workdir) / "goodput.png"
    return pictures.times(path, goodput.account(starts), goodput.describe(starts))


def draw_samples(
    workdir: str | os.PathLike, batch: Mapping[str, jax.Array], class_names: Sequence[str]
) -> epath.Path:
    """Draws `samples.png`: the first training examples of this process, augmented, not yet mixed.

    Args:
        workdir: of the run; made if missing.
        batch: "image" uint8 `[B, H, W, C]` and "label" int `[B]`, on the mesh.
        class_names: of the labels.
    """
    folder = epath.Path(workdir)
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = (_local_rows(batch[name])[:SAMPLES] for name in ("image", "label"))
    path = folder / "samples.png"
    return pictures.grid(path, images, [class_names[i] for i in labels], columns=4)


def _local_rows(array: jax.Array) -> np.ndarray:
    """Returns the rows that this process's devices hold, each once."""
    shards = {shard.index[0].start or 0: shard.data for shard in array.addressable_shards}
    return np.concatenate([np.asarray(shards[start]) for start in sorted(shards)])


def draw_answers(
    workdir: str | os.PathLike,
    split: str,
    answers: Answers,
    pipeline: EvalPipeline,
    ops: Ops,
    class_names: Sequence[str],
) -> list[epath.Path]:
    """Draws what a model says of a split; returns the paths of what there was to draw.

    `predictions.png` shows examples from all over the split, `confusion.png` which class is taken
    for which, `mistakes.png` the wrong answers with the highest loss.

    Args:
        workdir: of the run.
        split: its name.
        answers: on it.
        pipeline: of it.
        ops: the preprocessing of evaluation; images are shown as the model sees them.
        class_names: of the labels and guesses.
    """
    folder = epath.Path(workdir)
    title = f"{split}: {answers.accuracy:.2%} of {len(answers):,} right"

    def draw(name: str, shown: Answers, title: str) -> epath.Path:
        images = [_image(pipeline, ops, int(index)) for index in shown.index]
        labels = [class_names[i] for i in shown.label]
        guesses = [class_names[i] for i in shown.guess]
        told = list(zip(guesses, shown.confidence, strict=True))
        return pictures.grid(folder / name, images, labels, told, title=title)

    if not len(answers):
        return []
    spread = np.linspace(0, len(answers) - 1, min(EXAMPLES, len(answers)), dtype=int)
    path = folder / "confusion.png"
    paths = [draw("predictions.png", answers.rows(spread), title)]
    if len(class_names) <= pictures.LARGEST_MATRIX:
        counts = answers.confusion(len(class_names))
        paths.append(pictures.confusion(path, counts, class_names, title))
    elif pairs := answers.confused_pairs():
        totals = np.bincount(answers.label, minlength=len(class_names))
        paths.append(pictures.confused_pairs(path, pairs, totals, class_names, title))
    if len(mistakes := answers.mistakes()):
        shown = mistakes.rows(slice(EXAMPLES))
        worst = f"{split}: the worst {len(shown)} of {len(mistakes):,} mistakes"
        paths.append(draw("mistakes.png", shown, worst))
    return paths


def _image(pipeline: EvalPipeline, ops: Ops, index: int) -> np.ndarray:
    """Returns an example of a split as the model takes it, uint8 `[H, W, C]`."""
    image = import_tensorflow().constant(pipeline.source[index]["image"])
    return ops.host({"image": image})["image"].numpy()
