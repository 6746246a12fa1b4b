# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Pictures of a run, drawn from its metrics file and from arrays: no display, no device."""

import contextlib
import functools
import os
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from etils import epath
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
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
    "text.parse_math": False,  # names of files and classes may hold a $
}


_TIME_COLOURS = {
    "step": "#117733",
    "start": "#88ccee",
    "compile": "#4477aa",
    "data_wait": "#ddcc77",
    "evaluation": "#44aa99",
    "checkpoint": "#aa4499",
    "repeated": "#cc6677",
    "down": "#bbbbbb",
}
_MOST_STARTS = 40  # bars that can still be told apart

LARGEST_MATRIX = 30  # classes in a confusion matrix that can still be read

# Fonts with the letters that the default one lacks, of the usual systems.
_MORE_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Micro Hei", "Droid Sans Fallback",
    "Arial Unicode MS", "PingFang SC", "Hiragino Sans", "Microsoft YaHei", "Yu Gothic",
)  # fmt: skip


@functools.cache
def _fonts() -> list[str]:
    present = {font.name for font in font_manager.fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in _MORE_FONTS if name in present)]


def style(changes: dict[str, Any] | None = None) -> Any:
    """Returns the context that everything is drawn in; `changes` are matplotlib's settings."""
    return matplotlib.rc_context(_STYLE | {"font.family": _fonts()} | (changes or {}))


def curves(metrics_path: str | os.PathLike, path: str | os.PathLike) -> epath.Path:
    """Draws loss, accuracy and learning rate over the steps of a run.

    Args:
        metrics_path: a `metrics.jsonl`.
        path: where the PNG goes.

    Returns:
        `path`.
    """
    lines = sinks.read_lines(metrics_path)
    with style():
        figure = Figure(figsize=(11, 3.2), layout="constrained")
        for axes, name in zip(
            figure.subplots(1, 3), ("loss", "accuracy", "learning_rate"), strict=True
        ):
            _curve(axes, lines, name)
        return save(figure, path)


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
) -> epath.Path:
    """Draws a metric over the values of each field that was swept: a dot a run, a line of means.

    Args:
        points: field -> (value as written, metric) of every run, in any order.
        metric: the name of the vertical axis.
        path: where the PNG goes.

    Returns:
        `path`.
    """
    with style():
        figure = Figure(figsize=(3.6 * len(points), 3.2), layout="constrained")
        panels = figure.subplots(1, len(points), squeeze=False, sharey=True)[0]
        for axes, (field, pairs) in zip(panels, points.items(), strict=True):
            axes.set(xlabel=field)
            _dots(axes, pairs)
        panels[0].set(ylabel=metric)
        return save(figure, path)


def times(
    path: str | os.PathLike, starts: Sequence[Mapping[str, float]], title: str = ""
) -> epath.Path:
    """Draws where the time of each start of a run went: a bar a start, the first one on top.

    Args:
        path: where the PNG goes.
        starts: kind -> seconds of each; of very many, the last are drawn.
        title: of the whole.
    """
    first, shown = max(len(starts) - _MOST_STARTS, 0), starts[-_MOST_STARTS:]
    longest = max((sum(spent.values()) for spent in shown), default=0.0)
    scale, unit = next(
        (pair for pair in ((3600, "hours"), (60, "minutes")) if longest > 2 * pair[0]),
        (1, "seconds"),
    )
    with style({"axes.grid.axis": "x"}):
        figure = Figure(figsize=(9, 1.6 + 0.28 * len(shown)), layout="constrained")
        axes = figure.subplots()
        left = np.zeros(len(shown))
        for kind, colour in _TIME_COLOURS.items():
            widths = np.array([spent.get(kind, 0.0) / scale for spent in shown])
            if widths.any():
                label = kind.replace("_", " ")
                axes.barh(range(len(shown)), widths, 0.7, left, color=colour, label=label)
                left += widths
        axes.set_yticks(range(len(shown)), [f"start {first + i + 1}" for i in range(len(shown))])
        axes.set(xlabel=unit, xlim=(0, 1.03 * max(longest / scale, 1e-9)))
        axes.set_title("\n".join(textwrap.wrap(title, 110)), fontsize=9, loc="left")
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0)
        axes.set_axisbelow(True)
        figure.legend(loc="outside lower center", ncols=len(_TIME_COLOURS), fontsize=8)
        return save(figure, path)


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
    labels: Sequence[str],
    guesses: Sequence[tuple[str, float]] | None = None,
    *,
    title: str = "",
    columns: int = 8,
) -> epath.Path:
    """Draws images in a grid with their labels and, where given, what was predicted.

    Args:
        path: where the PNG goes.
        images: uint8 `[H, W, C]` each, of any sizes, C 1 or 3.
        labels: the true class of each.
        guesses: (class, probability) of each; a wrong one gets a red frame and the true class.
        title: of the whole.
        columns: images in a row, at most.

    Returns:
        `path`.
    """
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    cell = 2.0 if columns <= 4 else 1.5  # inches
    size = max(cell * columns, 3.5 if title else 0), (cell + 0.35) * rows + (0.3 if title else 0)
    with style({"axes.grid": False}):
        figure = Figure(figsize=size, layout="constrained")
        if title:
            figure.suptitle(title, fontsize=10)
        cells = np.atleast_1d(figure.subplots(rows, columns)).ravel()
        for axes in cells[len(images) :]:
            axes.axis("off")
        for index, axes in enumerate(cells[: len(images)]):
            _show(axes, images[index], labels[index], guesses[index] if guesses else None)
        return save(figure, path)


def _show(axes: Any, image: np.ndarray, label: str, guess: tuple[str, float] | None) -> None:
    smooth = "antialiased" if min(image.shape[:2]) >= 64 else "nearest"
    grey = image.shape[-1] == 1
    axes.imshow(
        image[..., 0] if grey else image, cmap="gray", vmin=0, vmax=255, interpolation=smooth
    )
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    title, colour = _shorten(label), "black"
    if guess is not None:
        name, probability = guess
        title = f"{_shorten(name)} {probability:.0%}"
        colour = _RIGHT if name == label else _WRONG
        if name != label:
            title += f"\ntrue: {_shorten(label)}"
            axes.spines[:].set(visible=True, color=_WRONG, linewidth=2.5)
    axes.set_title(title, fontsize=8, color=colour, pad=3)


def confusion(
    path: str | os.PathLike, counts: np.ndarray, class_names: Sequence[str], title: str = ""
) -> epath.Path:
    """Draws which class is taken for which: the number in each cell, its share of the row as shade.

    Args:
        path: where the PNG goes.
        counts: how often class i was taken for class j, int `[classes, classes]`; at most
            `LARGEST_MATRIX` classes can be read.
        class_names: the name of each class.
        title: of the whole.
    """
    size = len(class_names)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    names = [_shorten(name, 14) for name in class_names]
    side = 2.2 + 0.42 * max(size, 4)
    with style({"axes.grid": False}):
        figure = Figure(figsize=(side, side), layout="constrained")
        axes = figure.subplots()
        axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1))  # a few mistakes show too
        axes.set(xlabel="predicted", ylabel="true", title=title)
        axes.set_xticks(range(size), names, rotation=90 if size > 4 else 0)
        axes.set_yticks(range(size), names)
        axes.tick_params(length=0)
        for (row, column), count in np.ndenumerate(counts):
            if count:
                colour = "white" if shares[row, column] > 0.3 else "black"
                weight = "bold" if row != column else "normal"
                text = axes.text(column, row, f"{count}", ha="center", va="center", color=colour)
                text.set(fontsize=7.5, fontweight=weight)
        return save(figure, path)


def confused_pairs(
    path: str | os.PathLike,
    pairs: Sequence[tuple[int, int, int]],
    totals: np.ndarray,
    class_names: Sequence[str],
    title: str = "",
    most: int = 25,
) -> epath.Path:
    """Draws the pairs of classes that are confused most often, as bars.

    Args:
        path: where the PNG goes.
        pairs: (true class, predicted class, how often), the most frequent first.
        totals: examples of each true class, int `[classes]`.
        class_names: the name of each class.
        title: of the whole.
        most: how many are shown.
    """
    shown = list(pairs[:most])[::-1]
    names = [
        f"{_shorten(class_names[a])} taken for {_shorten(class_names[b])}" for a, b, _ in shown
    ]
    counts = [count for *_, count in shown]
    with style({"axes.grid": False}):
        figure = Figure(figsize=(8, 1.2 + 0.24 * len(shown)), layout="constrained")
        axes = figure.subplots()
        bars = axes.barh(range(len(shown)), counts, color=_COLOURS["validation"], height=0.7)
        shares = [f"{count} of {totals[a]}" for a, _, count in shown]
        axes.bar_label(bars, shares, padding=3, fontsize=7.5)
        axes.set_yticks(range(len(shown)), names)
        axes.set(xticks=[], title=title, xlim=(0, 1.15 * max(counts)))
        axes.tick_params(length=0)
        axes.spines["bottom"].set_visible(False)
        return save(figure, path)


def _shorten(name: str, length: int = 18) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"


def save(figure: Figure, path: str | os.PathLike) -> epath.Path:
    """Writes a figure: an SVG where the path ends so, otherwise a PNG. Returns `path`."""
    target = epath.Path(path)
    kind = "svg" if target.suffix.lower() == ".svg" else "png"
    FigureCanvasAgg(figure)
    with warnings.catch_warnings():  # a letter that no font here has is drawn as a box
        warnings.filterwarnings("ignore", r"Glyph .* missing from font", UserWarning)
        with target.open("wb") as file:
            figure.savefig(file, format=kind, dpi=120)
    return target
