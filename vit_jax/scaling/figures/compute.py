# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Points over the compute of training, their frontier, and a law fitted to it."""

import dataclasses
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vit_jax.errors import UserError
from vit_jax.scaling import fit as fit_lib
from vit_jax.scaling import points as points_lib
from vit_jax.scaling.figures import axes as axes_lib
from vit_jax.scaling.figures import canvas, naming
from vit_jax.scaling.figures.canvas import Look, Options
from vit_jax.scaling.figures.naming import Name
from vit_jax.scaling.fit import Fit
from vit_jax.scaling.laws import LAWS
from vit_jax.scaling.points import Points
from vit_jax.scaling.table import Table

_MOST_LABELS = 20  # models of a panel that are named beside a point,
_MOST_WITH_PAPERS = 12  # with those of papers
_BEYOND = 3.0  # how far a law is drawn past the dearest point


@dataclasses.dataclass(frozen=True)
class Cloud:
    """The points of one table in one panel; `groups` and `models` name each of them `[n]`."""

    points: Points
    x: np.ndarray
    y: np.ndarray
    groups: list[str]
    models: list[str]
    of_paper: bool


def over_compute(table: Table, options: Options) -> Figure:
    """Draws the error against compute with the frontier, and a law through it.

    As ViT's figure 5 (arXiv 2010.11929), and figures 1 and 2 of Scaling ViT (arXiv 2106.04560).
    """
    options = dataclasses.replace(
        options,
        value=options.value or "error",
        x=options.x or "flops",
        by=canvas.telling(table, options.by),
    )
    if options.law and options.value in points_lib.RISING:
        raise UserError(f"laws fall and {options.value} rises; draw --value=error with --law")
    figure, panels = canvas.panels(table, options.panels)
    clouds = [
        [_cloud(rows, options), *(_cloud(t, options, of_paper=True) for t in options.published)]
        for _, rows in panels
    ]
    everything = [cloud for of_panel in clouds for cloud in of_panel]
    looks = canvas.looks([group for cloud in everything for group in cloud.groups])
    entries: dict[str, Line2D] = {}
    through: dict[str, Line2D] = {}
    notes = []
    for (axes, _), of_panel in zip(panels, clouds, strict=True):
        _setup(axes, everything, options)
        for cloud in of_panel:
            entries |= _draw_cloud(axes, cloud, looks, options)
        drawn, note = _frontier(axes, of_panel[0], options)
        through |= drawn
        panel = f"{axes.get_title()}: " if axes.get_title() else ""
        notes.append(f"{panel}{note}"[:1].upper() + f"{panel}{note}"[1:] if note else "")
    canvas.share_rows(figure)
    canvas.legend(figure, entries | through)
    varied = len({x for cloud in everything for x in canvas.labels(cloud.points.table, "examples")})
    notes.append("Larger markers: more training images." if varied > 1 else "")
    seeds = canvas.seed_note([cloud.points for cloud in everything])
    origin = canvas.sources(table, options.published)
    canvas.caption(figure, [*notes, seeds, origin])
    for (axes, _), of_panel in zip(panels, clouds, strict=True):
        _name_models(axes, of_panel, looks, options.value)
    return figure


def _cloud(rows: Table, options: Options, *, of_paper: bool = False) -> Cloud:
    points = canvas.gather(rows, options.value, options.x)
    return Cloud(
        points,
        points.mean(options.x),
        points.mean(options.value),
        canvas.labels(points.table, options.by),
        canvas.labels(points.table, "model"),
        of_paper,
    )


def _setup(axes: Any, clouds: list[Cloud], options: Options) -> None:
    reach = _BEYOND if options.law else 1.0
    dearest = max(cloud.x.max() for cloud in clouds) * reach
    axes_lib.setup(
        axes.xaxis, options.x, np.concatenate([*(cloud.x for cloud in clouds), [dearest]])
    )
    drawn = [cloud.points for cloud in clouds]
    axes_lib.setup(axes.yaxis, options.value, canvas.extent(drawn, options.value))


def _draw_cloud(
    axes: Any, cloud: Cloud, looks: dict[str, Look], options: Options
) -> dict[str, Line2D]:
    """Draws the points; those of one model that only differ in how long it trained are joined."""
    entries = {}
    sizes = _sizes(cloud.points.table)
    named = options.by == "model" and not cloud.of_paper and len(set(cloud.models)) <= _MOST_LABELS
    for index in _runs(cloud):
        group = cloud.groups[index[0]]
        canvas.series(
            axes,
            cloud.points.take(index),
            cloud.x[index],
            options.value,
            looks[group],
            size=sizes[index[0]],
            of_paper=cloud.of_paper,
        )
        name = f"{group}, published" if cloud.of_paper else group
        if name and not named:
            entries[name] = canvas.entry(looks[group], of_paper=cloud.of_paper)
    return entries


def _sizes(table: Table) -> np.ndarray:
    """Returns the size of every marker: larger for more training images, where they vary."""
    full = 4.5 if len(table) < 80 else 3.0
    if "examples" not in table.names:
        return np.full(len(table), full)
    ranks = np.unique(table.column("examples"), return_inverse=True)[1]
    return full * (1.3 - 0.7 * (1 - ranks / ranks.max()) if ranks.max() else np.ones(len(table)))


def _runs(cloud: Cloud) -> list[np.ndarray]:
    """Returns the points that one line joins: equal but for what grows as a model trains on."""
    table = cloud.points.table
    ignored = {*points_lib.TRAINING, *points_lib.PER_RUN, *points_lib.durations(table)}
    keys = [canvas.labels(table, name) for name in table.names if name not in ignored]
    runs: dict[tuple[str, ...], list[int]] = {}
    for index, key in enumerate(zip(*keys, strict=True)):
        runs.setdefault(key, []).append(index)
    return [np.array(run) for run in runs.values()]


def _frontier(axes: Any, cloud: Cloud, options: Options) -> tuple[dict[str, Line2D], str]:
    """Draws the frontier and the law; returns legend entries and why the law is missing, if so."""
    best = points_lib.frontier(cloud.x, -points_lib.worth(cloud.y, options.value))
    style: dict[str, Any] = {"color": "black", "linewidth": 0.9, "linestyle": (0, (1, 1.2))}
    axes.plot(cloud.x[best], cloud.y[best], zorder=1.5, **style)
    entries = {"frontier": Line2D([], [], **style)}
    if not options.law:
        return entries, ""
    try:
        fit = fit_lib.fit(options.law, {"compute": cloud.x[best]}, cloud.y[best])
    except UserError as error:
        return entries, f"no law is drawn, as {error}."
    name = f"{LAWS.get(options.law).formula}, fitted to the frontier, and its 95 % band"
    return entries | {name: _draw_law(axes, fit, cloud.x)}, _written(fit)


def _draw_law(axes: Any, fit: Fit, x: np.ndarray) -> Line2D:
    grid = np.geomspace(x.min(), x.max() * _BEYOND, 200)
    low, high = fit.predict_interval({"compute": grid})
    axes.fill_between(grid, low, high, color="black", alpha=0.13, linewidth=0, zorder=1.2)
    (line,) = axes.plot(grid, fit.predict({"compute": grid}), "-", color="black", zorder=1.4)
    line.set_linewidth(1.3)
    return Line2D([], [], color="black", linewidth=1.3)


def _written(fit: Fit) -> str:
    """Returns the parameters that do not depend on the unit of compute."""
    named = [
        f"{name} = {fit.parameters[name]:.3g} ({low:.3g} to {high:.3g})"
        for name, (low, high) in fit.intervals.items()
        if name in ("b", "c")
    ]
    return f"law with {', '.join(named)}."


def _name_models(axes: Any, clouds: list[Cloud], looks: dict[str, Look], value: str) -> None:
    """Writes the name of every model beside its best point."""
    best: dict[tuple[str, str], tuple[float, float]] = {}
    crowded = len({m for cloud in clouds for m in cloud.models}) > _MOST_WITH_PAPERS
    for cloud in clouds[:1] if crowded else clouds:
        for x, y, *key in zip(cloud.x, cloud.y, cloud.groups, cloud.models, strict=True):
            group, model = key
            before = best.get((group, model))
            if not before or points_lib.worth(y, value) > points_lib.worth(before[1], value):
                best[group, model] = (x, y)
    if len({model for _, model in best}) > 1 and len(best) <= _MOST_LABELS:
        names = [
            Name(
                model if model == group else model.removeprefix(f"{group}-"),
                *at,
                looks[group].colour,
            )
            for (group, model), at in best.items()
        ]
        naming.beside(axes, names)
