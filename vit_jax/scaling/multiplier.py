# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What a condition is worth in data or compute: how many times as much another needs for the same.

AugReg (arXiv 2106.10270) puts it so of augmentation and regularisation: worth ten times the data.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from tabulate import tabulate

from vit_jax.errors import UserError
from vit_jax.scaling import points as points_lib
from vit_jax.scaling.table import Table

Curve = tuple[np.ndarray, np.ndarray]  # amounts, rising, and the values there
Curves = dict[tuple[str, ...], Curve]  # of every combination of what is in common


@dataclasses.dataclass(frozen=True)
class Question:
    """What is asked of a table.

    Attributes:
        of: the condition whose worth is asked, as "augmentation=on".
        over: what it is compared with, another value of the same column.
        value: what both should reach.
        amount: the column that the worth is counted in: examples, images_seen, flops, ...
    """

    of: str
    over: str
    value: str = "accuracy"
    amount: str = "examples"


@dataclasses.dataclass(frozen=True)
class Factor:
    """So many times the amount; the end of the measured range where `bound` says so.

    Attributes:
        value: the factor.
        bound: ">" where the other condition reaches the value nowhere, "<" where it has it at its
            least amount already, else "".
    """

    value: float
    bound: str = ""

    def __str__(self) -> str:
        digits = f"{self.value:.2g}" if self.value < 10 else f"{self.value:.0f}"
        return f"{self.bound}{digits}x"


@dataclasses.dataclass(frozen=True)
class Multiplier:
    """What the condition is worth at one point.

    Attributes:
        common: column -> label of what it shares with those it is compared with.
        amount: of the point.
        reached: its value, mean over seeds.
        factor: of the means over seeds.
        seeds: the same of each seed alone, of those that both conditions have whole, if several.
    """

    common: dict[str, str]
    amount: float
    reached: float
    factor: Factor
    seeds: tuple[Factor, ...]


def ask(table: Table, question: Question) -> list[Multiplier]:
    """Returns the multiplier of every point of `question.of`, in the order of the table.

    Between the points of the other condition its value is taken as linear in the logarithm of the
    amount; where it reaches the same value at several amounts, the least counts.

    Raises:
        UserError: conditions of different columns, values that are not there, nothing to compare,
            or several points that differ in nothing that is compared.
    """
    measured = points_lib.gather(table, question.value, question.amount).rows
    table = table.take(np.sort(np.concatenate(measured)))
    column, of, over = _sides(table, question)
    common = _common(table, column, question.amount)
    curves, others = _curves(of, common, question), _curves(over, common, question)
    by_seed = _by_seed(of, over, common, question)
    found: list[Multiplier] = []
    for key in curves:
        if key in others:
            whole = [
                (left[key], right[key])
                for left, right in by_seed
                if _as_long(left.get(key), curves[key]) and _as_long(right.get(key), others[key])
            ]
            labels = dict(zip(common, key, strict=True))
            found += _multipliers(labels, curves[key], others[key], whole, question)
    if not found:
        raise UserError(
            f"no point of {question.of} shares {' and '.join(common)} with one of {question.over}"
        )
    return found


def _multipliers(
    labels: dict[str, str],
    curve: Curve,
    other: Curve,
    seeds: Sequence[tuple[Curve, Curve]],
    question: Question,
) -> Iterator[Multiplier]:
    """Yields what every point of a curve is worth over the other; `seeds`: their curves alone."""

    def factor(curve: Curve, other: Curve, place: int) -> Factor:
        amounts, values = curve
        return _factor(other, float(values[place]), question.value, float(amounts[place]))

    for place, (amount, value) in enumerate(zip(*curve, strict=True)):
        alone = tuple(factor(*each, place) for each in seeds) if len(seeds) > 1 else ()
        yield Multiplier(labels, float(amount), float(value), factor(curve, other, place), alone)


def _as_long(curve: Curve | None, other: Curve) -> bool:
    return curve is not None and len(curve[0]) == len(other[0])


def _by_seed(
    of: Table, over: Table, common: Sequence[str], question: Question
) -> list[tuple[Curves, Curves]]:
    """Returns the curves of each seed alone that both sides have."""
    if "seed" not in of.names:
        return []
    shared = [seed for seed in of.distinct("seed") if seed in over.distinct("seed")]
    sides = ((of.where(seed=seed), over.where(seed=seed)) for seed in shared)
    return [
        (_curves(left, common, question), _curves(right, common, question)) for left, right in sides
    ]


def _sides(table: Table, question: Question) -> tuple[str, Table, Table]:
    """Returns the column that is compared, and the rows of each of its two values."""
    columns = []
    for option, condition in (("of", question.of), ("over", question.over)):
        column, sign, label = condition.partition("=")
        if not (column and sign and label):
            raise UserError(f"--{option}={condition}: write COLUMN=VALUE, as augmentation=on")
        columns.append(column)
    if columns[0] != columns[1]:
        raise UserError(
            f"--of={question.of} and --over={question.over} are of different columns; compare two "
            "values of one, and choose the others with --where"
        )
    if question.of == question.over:
        raise UserError(f"--over={question.over}: compare with another value than that of --of")
    of, over = (points_lib.choose(table, [each]) for each in (question.of, question.over))
    return columns[0], of, over


def _common(table: Table, column: str, amount: str) -> list[str]:
    """Returns the axes in which both sides must agree: all but what is compared and the amount.

    Without those that follow from others, as the model from its family, and without how long each
    trained where the amount grows as it does.
    """
    named = ("family", "model")
    apart = {*(named if column in named else (column,)), amount, *points_lib.TRAINING}
    if amount in points_lib.TRAINING:
        apart.update(points_lib.durations(table))
    axes = [axis for axis in points_lib.axes_of(table) if axis not in apart]
    for axis in sorted(axes, key=lambda axis: axis != "model"):
        rest = [other for other in axes if other != axis]
        follows = len(_labels(table, rest)) == len(_labels(table, axes))
        if follows or points_lib.follows(table, axis, amount):
            axes = rest
    return axes


def _labels(table: Table, axes: Sequence[str]) -> set[tuple[str, ...]]:
    """Returns the combinations of labels that there are."""
    return set(zip(*(points_lib.texts(table, axis) for axis in axes), strict=True))


def _curves(rows: Table, common: Sequence[str], question: Question) -> Curves:
    """Returns the mean curve over seeds of every combination of the common labels."""
    points = points_lib.gather(rows, question.value, question.amount)
    amounts, values = points.mean(question.amount), points.mean(question.value)
    if not (amounts > 0).all():
        raise UserError(f"--amount={question.amount}: a factor needs positive amounts")
    texts = [points_lib.texts(points.table, axis) for axis in common]
    groups: dict[tuple[str, ...], list[int]] = {}
    for index in range(len(points)):
        groups.setdefault(tuple(column[index] for column in texts), []).append(index)
    curves = {}
    for key, group in groups.items():
        order = np.array(sorted(group, key=amounts.__getitem__))
        if len(np.unique(amounts[order])) < len(order):
            where = ", ".join(f"{a}={label}" for a, label in zip(common, key, strict=True))
            raise UserError(
                f"several points with the same {question.amount}{f' and {where}' * bool(where)}; "
                "choose some with --where"
            )
        curves[key] = amounts[order], values[order]
    return curves


def _factor(curve: Curve, wanted: float, name: str, amount: float) -> Factor:
    """Returns how many times `amount` a curve needs for a value."""
    amounts, values = curve
    worths = points_lib.worth(values, name)
    target = points_lib.worth(wanted, name)
    above = np.flatnonzero(worths >= target)
    if not len(above):
        return Factor(float(amounts[-1] / amount), ">")
    first = above[0]
    if not first:
        return Factor(float(amounts[0] / amount), "<" if worths[0] > target else "")
    share = (target - worths[first - 1]) / (worths[first] - worths[first - 1])
    logs = np.log(amounts[first - 1 : first + 1])
    return Factor(math.exp(logs[0] + share * (logs[1] - logs[0])) / amount)


def text(question: Question, found: Sequence[Multiplier]) -> str:
    """Returns the multipliers as a table, a line for what is in common, a column an amount."""
    amounts = sorted({each.amount for each in found})
    lines: dict[tuple[Any, ...], dict[str, str]] = {}
    for each in found:
        line = lines.setdefault(tuple(each.common.items()), dict(each.common))
        line[f"{each.amount:.6g}"] = _cell(each)
    headers = [*found[0].common, *(f"{amount:.6g}" for amount in amounts)]
    rows = [[line.get(name, "-") for name in headers] for line in lines.values()]
    seeds = " (in brackets: each seed alone)" if any(each.seeds for each in found) else ""
    return (
        f"How many times the {question.amount} {question.over} needs for the {question.value} of "
        f"{question.of}{seeds}\n{tabulate(rows, headers, disable_numparse=True)}\n"
        f"<, >: less than the least, more than the most {question.amount} of {question.over}"
    )


def _cell(each: Multiplier) -> str:
    if not each.seeds:
        return str(each.factor)
    return f"{each.factor} ({', '.join(map(str, each.seeds))})"


def record(question: Question, found: Sequence[Multiplier]) -> dict[str, Any]:
    """Returns the same for JSON."""
    return {
        **dataclasses.asdict(question),
        "multipliers": [dataclasses.asdict(each) for each in found],
    }
