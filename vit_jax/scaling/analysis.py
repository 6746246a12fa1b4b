# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What a law says of a table: fitted, tried on the largest points, and its best use of compute.

Seeds are averaged first, so that a law is fitted to one point a condition. What a law misses is
common to all seeds of a condition; counted one by one they would make the intervals too narrow.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from vit_jax.errors import UserError
from vit_jax.scaling import fit as fit_lib
from vit_jax.scaling import points as points_lib
from vit_jax.scaling.fit import Fit, HeldOut
from vit_jax.scaling.laws import LAWS, Law
from vit_jax.scaling.points import Points
from vit_jax.scaling.table import Table

_MOST_BUDGETS = 8


@dataclasses.dataclass(frozen=True)
class Question:
    """What is asked of a table.

    Attributes:
        law: of `LAWS`.
        value: the quantity that the law explains, falling with scale.
        compute: the column that laws of compute are functions of.
        examples: the column that the parametric law takes for its data.
        hold_out: how many of the largest points are predicted, not fitted; below 1 their share.
        on_frontier: whether only the points count that no cheaper point beats.
    """

    law: str
    value: str = "error"
    compute: str = "flops"
    examples: str = "images_seen"
    hold_out: float = 0.0
    on_frontier: bool = False

    def column(self, of_law: str) -> str:
        """Returns the table's column for a column of the law."""
        return {"compute": self.compute, "examples": self.examples}.get(of_law, of_law)


@dataclasses.dataclass(frozen=True)
class Allocation:
    """How the parametric law spends compute best.

    Attributes:
        flops_per_parameter: of the points, per parameter and example: compute over N D.
        exponents: "parameters" and "examples" -> (value, low, high) of their power of compute.
        budgets: compute `[b]`.
        optimal: "parameters", "examples" and "value" -> (value, low, high) at each `[b, 3]`.
    """

    flops_per_parameter: float
    exponents: dict[str, tuple[float, float, float]]
    budgets: np.ndarray
    optimal: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the law says.

    Attributes:
        question: what was asked.
        points: the points, of all that was measured; seeds averaged.
        left_out: how many rows have no number for what was asked.
        fitted: the numbers, in `points`, of those that the law was fitted to.
        fit: the law.
        frontier: numbers, in `points`, of those that no cheaper point beats; of laws of compute.
        held_out: the largest points as predicted, or "" if not asked for, or why it cannot be.
        largest: their numbers in `points`.
        allocation: of the parametric law, where examples are images seen.
    """

    question: Question
    points: Points
    left_out: int
    fitted: np.ndarray
    fit: Fit
    frontier: np.ndarray
    held_out: HeldOut | str
    largest: np.ndarray
    allocation: Allocation | None

    @property
    def law(self) -> Law:
        """The law that was fitted."""
        return LAWS.get(self.question.law)


def ask(table: Table, question: Question) -> Answer:
    """Fits a law to a table.

    Raises:
        UserError: a quantity that the table has not or that rises with scale, or points that do
            not determine the law.
    """
    if question.value in points_lib.RISING:
        raise UserError(
            f"laws fall towards a floor and {question.value} rises; "
            f"fit --value={points_lib.RISING[question.value]}"
        )
    law = LAWS.get(question.law)
    names = [question.column(column) for column in law.columns]
    points = points_lib.gather(table, question.value, *names)
    values, scale = points.mean(question.value), _scale(points, names)
    front = points_lib.frontier(scale, values)
    if question.on_frontier and len(names) > 1:
        raise UserError("--frontier is for laws of compute; the parametric law fits all points")
    fitted = front if question.on_frontier else np.arange(len(points))
    columns = {column: points.mean(question.column(column)) for column in law.columns}

    def those(index: np.ndarray) -> dict[str, np.ndarray]:
        return {column: x[index] for column, x in columns.items()}

    fit = fit_lib.fit(question.law, those(fitted), values[fitted])
    by_scale = fitted[np.argsort(scale[fitted], kind="stable")]
    largest = by_scale[len(fitted) - _count(question.hold_out, len(fitted)) :]
    held_out: HeldOut | str = ""
    if len(largest):
        try:
            is_held = np.isin(fitted, largest)
            held_out = fit_lib.hold_out(question.law, those(fitted), values[fitted], is_held)
            largest = fitted[is_held]  # in the order of the prediction
        except UserError as error:
            held_out = str(error)
    return Answer(
        question,
        points,
        len(table) - sum(len(rows) for rows in points.rows),
        fitted,
        fit,
        front if len(names) == 1 else np.arange(0),
        held_out,
        largest,
        _allocation(table, question, points, fit) if len(names) > 1 else None,
    )


def _scale(points: Points, names: list[str]) -> np.ndarray:
    """Returns how large every point is: its compute, or its size times its data."""
    return np.prod([points.mean(name) for name in names], axis=0)


def _count(hold_out: float, points: int) -> int:
    """Returns how many points are held out."""
    whole = hold_out >= 1 and float(hold_out).is_integer()  # inf and nan are not
    if not (whole or 0 <= hold_out < 1):
        raise UserError(f"--hold-out={hold_out:g}: give a number of points, or a share below 1")
    held = math.ceil(hold_out * points) if hold_out < 1 else int(hold_out)
    if held >= points:
        raise UserError(f"--hold-out={hold_out:g}: there are {points} points; hold out fewer")
    return held


def _allocation(table: Table, question: Question, points: Points, fit: Fit) -> Allocation | None:
    """Returns the optimum under the FLOPs of the points; None where data are not images seen."""
    if question.examples == "examples" and "images_seen" in table.names:
        return None
    product = points.mean("parameters") * points.mean(question.examples)
    first = np.array([rows[0] for rows in points.rows])
    counted = points_lib.numbers(table, "flops")[first] if "flops" in table.names else first * 0
    flops = counted if (counted > 0).any() else 6 * product
    per_parameter = float(np.nanmedian(flops / product))
    low, high = np.log10([np.nanmin(flops), 10 * np.nanmax(flops)])
    decades = np.arange(math.ceil(low), math.floor(high) + 1)
    budgets = 10.0 ** decades[-_MOST_BUDGETS:]
    draws = {name: draw[..., None] for name, draw in fit.resampled.items()}
    best = _optimum(fit.law, fit.parameters, budgets, per_parameter)
    others = _optimum(fit.law, draws, budgets, per_parameter)
    return Allocation(
        per_parameter,
        {
            name: (at(fit.parameters), *map(float, fit_lib.interval(at(fit.resampled))))
            for name, at in _EXPONENTS.items()
        },
        budgets,
        {k: np.stack([best[k], *fit_lib.interval(others[k])], 1) for k in best},
    )


_EXPONENTS = {
    "parameters": lambda p: p["beta"] / (p["alpha"] + p["beta"]),
    "examples": lambda p: p["alpha"] / (p["alpha"] + p["beta"]),
}


def _optimum(
    law: str, parameters: Mapping[str, Any], budgets: np.ndarray, per_parameter: float
) -> dict[str, np.ndarray]:
    """Returns the best size and data of every budget and what the law expects of them."""
    size, examples = fit_lib.compute_optimal(parameters, budgets, per_parameter)
    columns = {"parameters": size, "examples": examples}
    return columns | {"value": LAWS.get(law).terms(columns, parameters).sum(0)}
