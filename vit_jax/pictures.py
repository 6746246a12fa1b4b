# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Pictures of a run, drawn from its metrics file and from arrays: no display, no device."""

import contextlib
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vit_jax.training import sinks

_COLOURS = {"train": "#4477aa", "validation": "#cc6677", "test": "#117733"}
_WRONG, _RIGHT = "#b00020", "#1b5e20"
_STYLE: dict[Any, Any] = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "font.size": 9,
    "legend.frameon": False,
}


def curves(metrics_path: str | os.PathLike, path: str | os.PathLike) -> pathlib.Path:
    """Draws loss, accuracy and learning rate over the steps of a run.

    Args:
        metrics_path: a `metrics.jsonl`.
        path: where the PNG goes.

    Returns:
        `path`.
    """
    lines = sinks.read_lines(metrics_path)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(11, 3.2), layout="constrained")
        for axes, name in zip(
            figure.subplots(1, 3), ("loss", "accuracy", "learning_rate"), strict=True
        ):
            _curve(axes, lines, name)
        return _save(figure, path)


def _curve(axes: Any, lines: Sequence[dict[str, Any]], name: str) -> None:
    for split, colour in _COLOURS.items():
        points = [
            (line["step"], line[name])
            for line in lines
            if line["split"] == split and line.get(name) is not None
        ]
        if points:
            steps, values = zip(*points, strict=True)
            marker = "o" if len(points) == 1 else "." if len(points) < 30 else None
            label = f"{split} {values[-1]:.4g}"
            axes.plot(steps, values, color=colour, marker=marker, linewidth=1.3, label=label)
    axes.set(title=name.replace("_", " "), xlabel="step")
    if axes.has_data():
        axes.legend()


def settings(
    points: Mapping[str, Sequence[tuple[str, float]]], metric: str, path: str | os.PathLike
) -> pathlib.Path:
    """Draws a metric over the values of each field that was swept: a dot a run, a line of means.

    Args:
        points: field -> (value as written, metric) of every run, in any order.
        metric: the name of the vertical axis.
        path: where the PNG goes.

    Returns:
        `path`.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(3.6 * len(points), 3.2), layout="constrained")
        panels = figure.subplots(1, len(points), squeeze=False, sharey=True)[0]
        for axes, (field, pairs) in zip(panels, points.items(), strict=True):
            axes.set(xlabel=field)
            _dots(axes, pairs)
        panels[0].set(ylabel=metric)
        return _save(figure, path)


def _dots(axes: Any, pairs: Sequence[tuple[str, float]]) -> None:
    """Values that are all numbers are ordered, others stand as they come; all equally spaced."""
    values = list(dict.fromkeys(value for value, _ in pairs))
    with contextlib.suppress(ValueError):
        values.sort(key=float)
    places = {value: place for place, value in enumerate(values)}
    axes.plot([places[v] for v, _ in pairs], [y for _, y in pairs], "o", color="#4477aa", alpha=0.6)
    means = [np.mean([y for v, y in pairs if v == value]) for value in values]
    axes.plot(range(len(values)), means, color="#cc6677", linewidth=1.3)
    axes.set_xticks(range(len(values)), values)


def grid(
    path: str | os.PathLike,
    images: Sequence[np.ndarray] | np.ndarray,
    labels: Sequence[int] | np.ndarray,
    class_names: Sequence[str],
    probabilities: np.ndarray | None = None,
) -> pathlib.Path:
    """Draws images in a grid with their labels and, where given, what was predicted.

    Args:
        path: where the PNG goes.
        images: uint8 `[H, W, C]` each, of any sizes, C 1 or 3.
        labels: the true class of each.
        class_names: the name of each class.
        probabilities: `[images, classes]`; a wrong prediction gets a red frame and the true class.

    Returns:
        `path`.
    """
    columns = min(8, len(images))
    rows = -(-len(images) // columns)
    with matplotlib.rc_context(_STYLE | {"axes.grid": False}):
        figure = Figure(figsize=(1.5 * columns, 1.85 * rows), layout="constrained")
        cells = np.atleast_1d(figure.subplots(rows, columns)).ravel()
        for axes in cells[len(images) :]:
            axes.axis("off")
        for index, axes in enumerate(cells[: len(images)]):
            of_image = None if probabilities is None else probabilities[index]
            _show(axes, images[index], labels[index], class_names, of_image)
        return _save(figure, path)


def _show(
    axes: Any,
    image: np.ndarray,
    label: int,
    class_names: Sequence[str],
    probabilities: np.ndarray | None,
) -> None:
    smooth = "antialiased" if min(image.shape[:2]) >= 64 else "nearest"
    grey = image.shape[-1] == 1
    axes.imshow(
        image[..., 0] if grey else image, cmap="gray", vmin=0, vmax=255, interpolation=smooth
    )
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    title, colour = _shorten(class_names[label]), "black"
    if probabilities is not None:
        guess = int(np.argmax(probabilities))
        title = f"{_shorten(class_names[guess])} {probabilities[guess]:.0%}"
        colour = _RIGHT if guess == label else _WRONG
        if guess != label:
            title += f"\ntrue: {_shorten(class_names[label])}"
            axes.spines[:].set(visible=True, color=_WRONG, linewidth=2.5)
    axes.set_title(title, fontsize=8, color=colour, pad=3)


def _shorten(name: str, length: int = 18) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"


def _save(figure: Figure, path: str | os.PathLike) -> pathlib.Path:
    path = pathlib.Path(path)
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=120)
    return path
