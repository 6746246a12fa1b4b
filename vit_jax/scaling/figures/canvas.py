# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What the figures have in common: options, panels, colours, intervals over seeds, captions."""

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vit_jax.errors import UserError
from vit_jax.scaling import points as points_lib
from vit_jax.scaling import published
from vit_jax.scaling.figures.axes import title
from vit_jax.scaling.points import RISING, Points
from vit_jax.scaling.table import Table

# Paul Tol's bright scheme, told apart with any colour vision, and a marker each besides.
_COLOURS = ("#4477aa", "#ee6677", "#228833", "#aa3377", "#ccbb44", "#66ccee", "#555555")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_OWN: dict[str, Any] = {"linewidth": 1.4, "linestyle": "-"}
_PAPER: dict[str, Any] = {
    "linewidth": 1.0,
    "linestyle": (0, (4, 2)),
    "markerfacecolor": "white",
    "alpha": 0.75,
}
_MOST_PANELS = 12


@dataclasses.dataclass(frozen=True)
class Options:
    """What is drawn of a table; an empty text stands for what the figure does by itself.

    Attributes:
        value: the quantity on the vertical axis, or in the cells.
        x: the column of the horizontal axis.
        y: the column of the vertical axis of a heat map.
        by: the column that colours tell apart.
        panels: the column of which every value has a panel of its own.
        law: drawn through the frontier, of `LAWS`.
        published: tables drawn beside it.
    """

    value: str = ""
    x: str = ""
    y: str = ""
    by: str = ""
    panels: str = ""
    law: str = ""
    published: tuple[Table, ...] = ()


@dataclasses.dataclass(frozen=True)
class Look:
    """How the points of one group are drawn."""

    colour: str
    marker: str


def looks(groups: Sequence[str]) -> dict[str, Look]:
    """Returns a colour and a marker for each group; shades in their order where they are many."""
    distinct = list(dict.fromkeys(groups))
    colours: Sequence[str] = _COLOURS
    if len(distinct) > len(_COLOURS):
        shades = colormaps["viridis"](np.linspace(0.88, 0, len(distinct)))
        colours = [to_hex(shade) for shade in shades]
    return {
        group: Look(colours[i], _MARKERS[i % len(_MARKERS)]) for i, group in enumerate(distinct)
    }


def telling(table: Table, by: str) -> str:
    """Returns the column that colours tell apart: as asked, or the families, or else the models."""
    several = "family" in table.names and len(table.distinct("family")) > 1
    return by or ("family" if several or "model" not in table.names else "model")


def labels(table: Table, name: str) -> list[str]:
    """Returns the labels of a column `[n]`, empty ones where the table has not got it."""
    return points_lib.texts(table, name) if name in table.names else [""] * len(table)


def gather(table: Table, *quantities: str) -> Points:
    """Returns a table's points; what a published one lacks is said with its name."""
    try:
        return points_lib.gather(table, *quantities)
    except UserError as error:
        whose = published.source(table)
        raise UserError(f"{whose}: {error}" if whose else str(error)) from None


def best_of(points: Points, keys: Sequence[Sequence[Any]], value: str) -> tuple[Points, int]:
    """Keeps, of points that agree in all keys, the one with the best mean.

    Args:
        points: of n conditions.
        keys: `[n]` each.
        value: of which less is better, unless it is one of `RISING`.

    Returns:
        The points and how many conditions the most contested of them was chosen from.
    """
    worths = points_lib.worth(points.mean(value), value)
    rivals: dict[tuple[Any, ...], list[int]] = {}
    for index, key in enumerate(zip(*keys, strict=True)):
        rivals.setdefault(key, []).append(index)
    best = [max(group, key=worths.__getitem__) for group in rivals.values()]
    return points.take(np.array(sorted(best))), max(map(len, rivals.values()))


def panels(
    table: Table, column: str, width: float = 5.6, height: float = 4.0
) -> tuple[Figure, list[tuple[Any, Table]]]:
    """Returns a figure and its panels with the rows of each; without a column one panel.

    Args:
        table: what is drawn.
        column: of which every value has a panel, or "".
        width: of a single panel, inches; of several less.
        height: of a panel, inches.

    Raises:
        UserError: no such column, or too many values.
    """
    texts = points_lib.texts(table, column) if column else [""] * len(table)
    names = list(dict.fromkeys(texts))
    if len(names) > _MOST_PANELS:
        raise UserError(
            f"--panels={column}: {len(names)} values, more than {_MOST_PANELS} panels; choose some "
            "of them with --where"
        )
    columns = min(len(names), 3)
    rows = -(-len(names) // columns)
    width = {1: width, 2: 0.75 * width, 3: 0.62 * width}[columns]
    figure = Figure(figsize=(width * columns, height * rows * (0.8 if rows > 1 else 1)))
    figure.set_layout_engine("constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for empty in grid[len(names) :]:
        empty.axis("off")
    found = []
    for axes, name in zip(grid, names, strict=False):
        axes.set_axisbelow(True)
        if column:
            axes.set_title(f"{column.replace('_', ' ')} {name}", fontsize=9)
        found.append((axes, table.take(np.array(texts) == name)))
    return figure, found


def share_rows(figure: Figure) -> None:
    """Leaves the title and the ticks of the vertical axis to the first panel of every row."""
    for axes in figure.axes:
        place = axes.get_subplotspec()
        if place is not None and not place.is_first_col():
            axes.yaxis.set_label_text("")
            axes.tick_params(labelleft=False)


def series(
    axes: Any,
    points: Points,
    x: np.ndarray,
    value: str,
    look: Look,
    *,
    size: float = 5.0,
    of_paper: bool = False,
) -> None:
    """Draws a line with its points and their intervals over seeds; a paper's are open and dashed.

    Args:
        axes: where.
        points: `[n]`.
        x: `[n]`.
        value: the quantity.
        look: of the group.
        size: of the markers.
        of_paper: whether somebody else measured them.
    """
    order = np.argsort(x)
    style = {"color": look.colour, "marker": look.marker, "markersize": size}
    axes.plot(x[order], points.mean(value)[order], **style, **(_PAPER if of_paper else _OWN))
    several = np.array([len(rows) > 1 for rows in points.rows])
    if several.any():
        mean, (low, high) = points.mean(value), points.interval(value)
        reach = np.stack([mean - low, high - mean])[:, several]
        bars = {"fmt": "none", "ecolor": look.colour, "elinewidth": 1.1, "capsize": 2.5}
        axes.errorbar(x[several], mean[several], np.maximum(reach, 0), **bars)


def extent(drawn: Sequence[Points], value: str) -> np.ndarray:
    """Returns what the axis of a quantity has to hold: all means, and intervals above nothing."""
    means = np.concatenate([points.mean(value) for points in drawn])
    ends = np.concatenate([np.concatenate(points.interval(value)) for points in drawn])
    return np.concatenate([means, ends[ends > 0]])


def legend(figure: Figure, entries: Mapping[str, Line2D]) -> None:
    """Writes a legend above the panels."""
    if entries:
        figure.legend(
            list(entries.values()),
            list(entries),
            loc="outside upper center",
            ncols=min(len(entries), round(figure.get_figwidth() / 1.4)),
            fontsize=8,
        )


def entry(look: Look, *, of_paper: bool = False) -> Line2D:
    """Returns what stands for a group in a legend."""
    style = _PAPER if of_paper else _OWN
    return Line2D([], [], color=look.colour, marker=look.marker, markersize=5, **style)


def caption(figure: Figure, notes: Sequence[str]) -> None:
    """Writes notes below the panels."""
    width = int(figure.get_figwidth() * 72 / 3.9)  # letters of this size in a line
    text = "\n".join(textwrap.wrap(" ".join(note for note in notes if note), width))
    if text:
        figure.supxlabel(text, fontsize=7, x=0.01, ha="left", color="#444444")


def seed_note(drawn: Sequence[Points]) -> str:
    """Says what the intervals are."""
    counts = {len(rows) for points in drawn for rows in points.rows}
    notes = []
    if max(counts, default=1) > 2:
        notes.append("Bars: Student's 95 % interval of the mean over seeds")
    if 2 in counts:
        notes.append("of two seeds, their range" if notes else "Bars: the range of two seeds")
    return f"{'; '.join(notes)}." if notes else ""


def choice_note(conditions: int, value: str) -> str:
    """Says that the best of several conditions is drawn."""
    name = title(value)
    kind = "highest" if value in RISING else "lowest"
    return f"Shown: the {kind} {name} of up to {conditions} conditions." if conditions > 1 else ""


def sources(table: Table, others: Sequence[Table] = ()) -> str:
    """Says where published numbers come from."""
    own = f"Numbers of {published.source(table)}." if published.source(table) else ""
    beside = " and ".join(published.source(other) for other in others if published.source(other))
    return " ".join(part for part in (own, f"Open markers: {beside}." if beside else "") if part)
