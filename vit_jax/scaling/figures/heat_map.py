# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Two axes of a study against each other, the measured number in every cell."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vit_jax.errors import UserError
from vit_jax.scaling import points as points_lib
from vit_jax.scaling.figures import axes as axes_lib
from vit_jax.scaling.figures import canvas
from vit_jax.scaling.figures.canvas import Options
from vit_jax.scaling.points import SHARES, Points
from vit_jax.scaling.table import Table

_MOST_CELLS = 25  # a side
_LONG = 6  # letters of a column's name that stand upright
_FRAME: dict[str, Any] = {"fill": False, "edgecolor": "#ee6677", "linewidth": 2}


def heat_map(table: Table, options: Options) -> Figure:
    """Draws the accuracy over training data and augmentation, the best of every column framed.

    As figure 4 of AugReg (arXiv 2106.10270).
    """
    value = options.value or "accuracy"
    x = options.x or "examples"
    y = options.y or _other_axis(table, x, options.panels)
    points = canvas.gather(table, value)
    columns, rows = _sorted(points.table, x), _sorted(points.table, y)
    if max(len(columns), len(rows)) > _MOST_CELLS:
        raise UserError(
            f"--figure=heat_map: {len(columns)} x {len(rows)} cells, more than {_MOST_CELLS} a "
            "side; choose some with --where"
        )
    size = 1.9 + 0.62 * len(columns), 1.5 + 0.36 * len(rows)
    figure, panels = canvas.panels(table, options.panels, *(max(s, 3.0) for s in size))
    cells, most = [], 1
    for _, part in panels:
        found, rivals = _cells(canvas.gather(part, value), value, x, y, columns, rows)
        cells.append(found)
        most = max(most, rivals)
    shown = np.stack(cells)
    ends = float(np.nanmin(shown)), float(np.nanmax(shown))
    for (axes, _), numbers in zip(panels, cells, strict=True):
        image = _draw(axes, numbers, value, ends)
        _name(axes, x, y, columns, rows)
    canvas.share_rows(figure)
    bar = figure.colorbar(image, ax=[axes for axes, _ in panels], shrink=0.9, pad=0.02)
    bar.set_label(axes_lib.title(value))
    if value in SHARES:
        bar.ax.yaxis.set_major_formatter(lambda share, _: axes_lib.percent(share))
    bar.outline.set_visible(False)
    seeds = "Means over seeds." if points.most_seeds > 1 else ""
    framed = "Framed: the best of each column."
    notes = [framed, canvas.choice_note(most, value), seeds, canvas.sources(table)]
    canvas.caption(figure, notes)
    return figure


def _other_axis(table: Table, x: str, panels: str) -> str:
    """Returns the axis that the rows are of: one of augmentation, or the only one left."""
    others = [
        name
        for name in points_lib.axes_of(table)
        if name not in ("family", "model", x, panels) and not points_lib.follows(table, name, x)
    ]
    by_name = [name for name in others if name.startswith(("aug", "reg"))]
    chosen = by_name if len(by_name) == 1 else others
    if len(chosen) != 1:
        found = f"it has {', '.join(others)}" if others else "it has no other axis"
        raise UserError(f"--figure=heat_map: name the axis of the rows with --y; {found}")
    return chosen[0]


def _sorted(table: Table, name: str) -> list[str]:
    """Returns the labels of an axis: numbers by size, others as they come."""
    table.column(name)  # raises if there is none
    distinct = list(dict.fromkeys(canvas.labels(table, name)))
    try:
        return sorted(distinct, key=float)
    except ValueError:
        return distinct


def _cells(
    points: Points, value: str, x: str, y: str, columns: list[str], rows: list[str]
) -> tuple[np.ndarray, int]:
    """Returns the numbers `[rows, columns]`, NaN where none was measured, and the rivals of one."""
    keys = canvas.labels(points.table, y), canvas.labels(points.table, x)
    best, rivals = canvas.best_of(points, keys, value)
    cells = np.full((len(rows), len(columns)), np.nan)
    keys = canvas.labels(best.table, y), canvas.labels(best.table, x)
    for row, column, number in zip(*keys, best.mean(value), strict=True):
        cells[rows.index(row), columns.index(column)] = number
    return cells, rivals


def _draw(axes: Any, cells: np.ndarray, value: str, ends: tuple[float, float]) -> Any:
    axes.grid(visible=False)
    axes.set_facecolor("#eeeeee")
    image = axes.imshow(cells, cmap="cividis", vmin=ends[0], vmax=ends[1], aspect="auto")
    middle = (ends[0] + ends[1]) / 2
    for (row, column), number in np.ndenumerate(cells):
        known = not np.isnan(number)
        text = f"{100 * number:.1f}" if value in SHARES else f"{number:.3g}"
        colour = "white" if known and number < middle else "black"
        shown = text if known else "-"
        axes.text(column, row, shown, ha="center", va="center", color=colour, fontsize=8)
    worth = points_lib.worth(cells, value)
    for column in range(cells.shape[1]):
        if not np.isnan(worth[:, column]).all():
            corner = column - 0.47, int(np.nanargmax(worth[:, column])) - 0.46
            axes.add_patch(Rectangle(corner, 0.94, 0.92, **_FRAME))
    return image


def _name(axes: Any, x: str, y: str, columns: list[str], rows: list[str]) -> None:
    for axis, name, names in ((axes.xaxis, x, columns), (axes.yaxis, y, rows)):
        texts = [_written(name, text) for text in names]
        long = axis is axes.xaxis and max(map(len, texts)) > _LONG
        slant = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if long else {}
        axis.set_ticks(range(len(names)), texts, **slant)
        axis.set_label_text(axes_lib.title(name))
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _written(name: str, text: str) -> str:
    return axes_lib.amount(float(text)) if name in ("examples", "images_seen", "steps") else text
