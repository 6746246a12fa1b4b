# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Lines over the size of the training set, or over a parameter of the model's shape."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from vit_jax.errors import UserError
from vit_jax.scaling import points as points_lib
from vit_jax.scaling.figures import axes as axes_lib
from vit_jax.scaling.figures import canvas, naming
from vit_jax.scaling.figures.canvas import Look, Options
from vit_jax.scaling.figures.naming import Name
from vit_jax.scaling.points import Points
from vit_jax.scaling.table import Table

_MOST_LABELS = 16  # lines of a panel that are named at their ends
_SIZES = (4.0, 7.5)  # of markers, from the smallest model of a family to its largest


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of a panel.

    Attributes:
        group: what its colour tells.
        name: what is written at its end.
        points: `[n]`.
        x: `[n]`.
        size: of its markers.
        of_paper: whether it is a published one.
    """

    group: str
    name: str
    points: Points
    x: np.ndarray
    size: float
    of_paper: bool


def over_data(table: Table, options: Options) -> Figure:
    """Draws accuracy against the size of the training set, a line a model.

    As ViT's figures 3 and 4 (arXiv 2010.11929) and Mixer's figure 2 (arXiv 2105.01601).
    """
    by = canvas.telling(table, options.by)
    return _draw(table, _filled(options, "accuracy", "examples", by), line="model")


def over_shape(table: Table, options: Options) -> Figure:
    """Draws the error against a parameter of the model's shape, the best of every line ringed.

    As the sweeps of SoViT (arXiv 2305.13035).
    """
    x = options.x or _only_numeric_axis(table)
    known = (x, options.panels, "examples", "model")
    others = [name for name in points_lib.axes_of(table) if name not in known]
    by = next((name for name in others if not points_lib.follows(table, name, x)), "family")
    options = _filled(options, "error", x, options.by or by)
    _check_swept(table, options)
    return _draw(table, options, line="", ring_best=True)


def _check_swept(table: Table, options: Options) -> None:
    """Raises UserError if no line would have two points, as of a sweep in several directions."""
    groups, places = (canvas.labels(table, name) for name in (options.by, options.x))
    if len(set(zip(groups, places, strict=True))) == len(set(groups)):
        raise UserError(
            f"--figure=shape: every {options.by} has one {options.x}; choose the rows that agree "
            "in all else with --where, or name with --by what the lines are"
        )


def _filled(options: Options, value: str, x: str, by: str) -> Options:
    return dataclasses.replace(options, value=options.value or value, x=options.x or x, by=by)


def _only_numeric_axis(table: Table) -> str:
    candidates = [name for name in points_lib.axes_of(table) if name not in ("family", "model")]
    numeric = [name for name in candidates if name != "examples" and _is_numeric(table, name)]
    if len(numeric) != 1:
        found = f"it has {', '.join(numeric)}" if numeric else "no axis of the table has numbers"
        raise UserError(f"--figure=shape: name the shape parameter with --x; {found}")
    return numeric[0]


def _is_numeric(table: Table, name: str) -> bool:
    try:
        points_lib.numbers(table, name)
    except UserError:
        return False
    return True


def _draw(table: Table, options: Options, line: str, *, ring_best: bool = False) -> Figure:
    figure, panels = canvas.panels(table, options.panels)
    of_panel = []
    for axes, rows in panels:
        lines, rivals = _lines(rows, options, line)
        for other in options.published:
            lines += _lines(other, options, line, of_paper=True)[0]
        of_panel.append((axes, lines, rivals))
    everything = [each for _, lines, _ in of_panel for each in lines]
    looks = canvas.looks([each.group for each in everything])
    for axes, lines, _ in of_panel:
        _draw_lines(axes, lines, looks, options.value)
        _setup(axes, everything, options)
        if ring_best:
            _ring(axes, lines, looks, options.value)
    canvas.share_rows(figure)
    entries = _entries(everything, looks, options.by)
    canvas.legend(figure, entries)
    notes = [
        canvas.choice_note(max(rivals for *_, rivals in of_panel), options.value),
        canvas.seed_note([each.points for each in everything]),
        "Ringed: the best of each line." if ring_best else "",
        canvas.sources(table, options.published),
    ]
    canvas.caption(figure, notes)
    for axes, lines, _ in of_panel:
        if len(lines) <= _MOST_LABELS and {each.name for each in lines} - set(entries):
            naming.at_ends(axes, [_end(each, looks, options.value) for each in lines])
    return figure


def _lines(
    rows: Table, options: Options, line: str, *, of_paper: bool = False
) -> tuple[list[Line], int]:
    """Returns the lines of a table, and how many conditions compete for a point of them."""
    points = canvas.gather(rows, options.value, options.x)
    x = points.mean(options.x)
    groups, names = canvas.labels(points.table, options.by), canvas.labels(points.table, line)
    points, rivals = canvas.best_of(points, (groups, names, x.tolist()), options.value)
    x = points.mean(options.x)
    groups, names = canvas.labels(points.table, options.by), canvas.labels(points.table, line)
    distinct = list(dict.fromkeys(zip(groups, names, strict=True)))
    told_apart = len(set(groups)) == len(distinct)  # by their groups alone
    lines = []
    for (group, name), size in zip(distinct, _sizes(points, distinct, groups, names), strict=True):
        mine = np.array([(g, n) == (group, name) for g, n in zip(groups, names, strict=True)])
        written = _written(options.by, group, "" if told_apart else name)
        lines.append(Line(group, written, points.take(mine), x[mine], size, of_paper))
    return lines, rivals


def _of_group(by: str, group: str) -> str:
    """Returns what a group is called: "ViT", "augmentation strong"."""
    return group if by in ("family", "model") else f"{by.replace('_', ' ')} {group}"


def _written(by: str, group: str, name: str) -> str:
    """Returns the name of a line: its model, with the group where that does not show in it."""
    shows = group and name.lower().startswith(group.lower())
    return name if shows else f"{_of_group(by, group)} {name}".strip()


def _sizes(
    points: Points, distinct: list[tuple[str, str]], groups: list[str], names: list[str]
) -> Iterator[float]:
    """Yields the size of each line's markers: by parameters, or in the order of the table."""
    weights: dict[tuple[str, str], float] = {key: i for i, key in enumerate(distinct)}
    if "parameters" in points.table.names:
        counts = points.table.column("parameters")
        for key, count in zip(zip(groups, names, strict=True), counts, strict=True):
            weights[key] = float(count)
    for key in distinct:
        family = sorted(weight for other, weight in weights.items() if other[0] == key[0])
        place = family.index(weights[key]) / max(len(family) - 1, 1) if len(family) > 1 else 0.35
        yield _SIZES[0] + place * (_SIZES[1] - _SIZES[0])


def _draw_lines(axes: Any, lines: list[Line], looks: dict[str, Look], value: str) -> None:
    for each in sorted(lines, key=lambda each: not each.of_paper):
        look = looks[each.group]
        canvas.series(
            axes, each.points, each.x, value, look, size=each.size, of_paper=each.of_paper
        )


def _setup(axes: Any, lines: list[Line], options: Options) -> None:
    """The same axes in all panels; ticks stand at the sizes that were measured."""
    drawn = [each.points for each in lines]
    axes_lib.setup(axes.xaxis, options.x, np.concatenate([each.x for each in lines]), at=True)
    axes_lib.setup(axes.yaxis, options.value, canvas.extent(drawn, options.value))


def _ring(axes: Any, lines: list[Line], looks: dict[str, Look], value: str) -> None:
    for each in lines:
        best = int(np.argmax(points_lib.worth(each.points.mean(value), value)))
        at = each.x[best], each.points.mean(value)[best]
        colour = looks[each.group].colour
        axes.plot(*at, "o", markersize=13, markerfacecolor="none", markeredgecolor=colour)


def _end(each: Line, looks: dict[str, Look], value: str) -> Name:
    last = int(np.argmax(each.x))
    text = f"{each.name} (paper)" if each.of_paper else each.name
    return Name(text, each.x[last], each.points.mean(value)[last], looks[each.group].colour)


def _entries(lines: list[Line], looks: dict[str, Look], by: str) -> dict[str, Any]:
    """Returns a legend's entries; none where the names of the lines say as much."""
    kinds = dict.fromkeys((each.group, each.of_paper) for each in lines)
    papers = any(paper for _, paper in kinds)
    if len(kinds) < 2 or (len(kinds) == len(lines) <= _MOST_LABELS and not papers):
        return {}
    return {
        _of_group(by, group) + ", published" * paper: canvas.entry(looks[group], of_paper=paper)
        for group, paper in kinds
    }
