# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The points of a table, ready to be fitted or drawn: chosen, as numbers, seeds taken together."""

import dataclasses
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from vit_jax.errors import UserError
from vit_jax.registry import near_misses
from vit_jax.scaling.table import COLUMNS, Table

# What may differ between two runs of the same thing.
PER_RUN = ("seed", "run", "state", "seconds", "loss", "accuracy", "error", "few_shot")
# The more the better -> what is left to one, the less the better.
RISING = {"accuracy": "error", "few_shot": "few_shot_error"}
# What grows as a model trains on, in studies and in published tables.
TRAINING = ("flops", "images_seen", "steps", "seconds", "tpu_v3_core_days")
SHARES = ("accuracy", "error", "few_shot", "few_shot_error")  # in [0, 1], written in per cent

_DERIVED = {falling: rising for rising, falling in RISING.items()}
_COMPARE: dict[str, Callable] = {
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    "=": operator.eq,
}


def numbers(table: Table, name: str) -> np.ndarray:
    """Returns a column as numbers, float64 `[n]`, NaN where a cell is empty.

    An axis counts where all its labels are numbers. `error` and `few_shot_error` come from
    `accuracy` and `few_shot` in a table that has not got them.

    Raises:
        UserError: there is no such column, or it holds texts.
    """
    share = _DERIVED.get(name)
    if share in table.names and name not in table.names:
        return 1 - numbers(table, share)
    if name not in table.names:
        derived = [k for k, v in _DERIVED.items() if v in table.names]
        known = dict.fromkeys((*table.names, *derived))
        hint = near_misses(name, known) or f"; it has {', '.join(known)}"
        raise UserError(f"the table has no column {name!r}{hint}")
    column = table.column(name)
    if column.dtype == float:
        return column
    try:
        return np.array([float(cell) if cell else math.nan for cell in column])
    except ValueError:
        some = ", ".join(map(str, table.distinct(name)[:3]))
        raise UserError(f"column {name!r} holds texts ({some}, ...), not numbers") from None


def texts(table: Table, name: str) -> list[str]:
    """Returns a column `[n]` as people write it: numbers without a needless ".0"."""
    column = table.column(name)
    return [f"{cell:g}" if isinstance(cell, float) else str(cell) for cell in column.tolist()]


def worth(values: Any, name: str) -> Any:
    """Returns a quantity's numbers so that more is better."""
    return values if name in RISING else -values


def axes_of(table: Table) -> list[str]:
    """Returns the columns of a table that say what was varied, more than one value each."""
    named = ("family", "model", "examples")
    columns = [name for name in table.names if name in named or name not in COLUMNS]
    return [name for name in columns if len(table.distinct(name)) > 1]


def follows(table: Table, name: str, other: str) -> bool:
    """Says whether a column is another name of `other`: each label with one of its and back."""
    if other not in table.names:
        return False
    pairs = set(zip(texts(table, name), texts(table, other), strict=True))
    return len(pairs) == len(table.distinct(name)) == len(table.distinct(other)) > 1


def durations(table: Table) -> list[str]:
    """Returns the axes that say how long a model trained: a number of steps, or a number alone."""
    axes = [name for name in table.names if name not in COLUMNS]
    if "steps" in table.names:
        return [name for name in axes if follows(table, name, "steps")]
    return [name for name in axes if "epoch" in name or "step" in name]


def choose(table: Table, conditions: Sequence[str]) -> Table:
    """Returns the rows for which every condition holds.

    Args:
        table: where from.
        conditions: "family=ViT,Mixer", "model!=ViT-S/32", "examples>=1e6", "few_shot<=0.5".

    Raises:
        UserError: a condition that cannot be read, a value that is not there, or no row left.
    """
    for condition in conditions:
        sign = next((s for s in _COMPARE if s in condition), "")
        name, _, wanted = condition.partition(sign) if sign else (condition, "", "")
        if not name or not wanted:
            raise UserError(f"--where={condition}: write COLUMN=VALUE, with =, !=, >= or <=")
        table = table.take(_holds(table, name, sign, wanted))
        if not len(table):
            raise UserError(f"--where: no row is left after {condition}")
    if not len(table):
        raise UserError("the table has no rows")
    return table


def _holds(table: Table, name: str, sign: str, wanted: str) -> np.ndarray:
    if sign in (">=", "<="):
        try:
            return _COMPARE[sign](numbers(table, name), float(wanted))
        except ValueError:
            raise UserError(f"--where={name}{sign}{wanted}: {wanted!r} is no number") from None
    is_text = table.column(name).dtype != float
    present = set(table.distinct(name))
    keep = np.zeros(len(table), bool)
    for choice in wanted.split(","):
        value = choice if is_text else _number(choice)
        if value not in present:
            known = sorted(set(texts(table, name)))
            hint = near_misses(choice, known) or f"; there are {', '.join(known[:12])}"
            raise UserError(f"--where={name}{sign}{wanted}: {name} is nowhere {choice!r}{hint}")
        keep |= table.column(name) == value
    return keep if sign == "=" else ~keep


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


@dataclasses.dataclass(frozen=True)
class Points:
    """What was measured once or with several seeds, a point each.

    Attributes:
        table: a row of each point `[n]`; what differs between its seeds is that of the first.
        rows: the numbers of the rows, in the table asked for, that each point is made of.
        values: quantity -> its values, one a seed, of every point.
    """

    table: Table
    rows: list[np.ndarray]
    values: Mapping[str, list[np.ndarray]]

    def __len__(self) -> int:
        return len(self.rows)

    def mean(self, name: str) -> np.ndarray:
        """Returns the mean over seeds of a quantity `[n]`."""
        return np.array([values.mean() for values in self.values[name]])

    def interval(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns (low, high) `[n]` of the mean over seeds, see `spread`."""
        low, high = np.array([spread(values) for values in self.values[name]]).reshape(-1, 2).T
        return low, high

    @property
    def most_seeds(self) -> int:
        """The number of seeds of the point that has the most."""
        return max((len(rows) for rows in self.rows), default=0)

    def take(self, index: np.ndarray) -> "Points":
        """Returns some points, by a mask `[n]` or by their numbers."""
        chosen = np.arange(len(self))[index]
        values = {name: [all_of[i] for i in chosen] for name, all_of in self.values.items()}
        return Points(self.table.take(chosen), [self.rows[i] for i in chosen], values)


def gather(table: Table, *quantities: str) -> Points:
    """Takes rows together that differ in nothing but their seed; leaves out what was not measured.

    Args:
        table: of a study, or of published numbers.
        quantities: columns that every point has to have, see `numbers`.

    Raises:
        UserError: a quantity that the table has not, or no row has all of them.
    """
    columns = {name: numbers(table, name) for name in quantities}
    measured = np.all([~np.isnan(column) for column in columns.values()], axis=0)
    kept = np.flatnonzero(measured)
    if not len(kept):
        raise UserError(f"no row has a number for {' and '.join(quantities)}")
    conditions = [list(map(str, table.column(n))) for n in table.names if n not in PER_RUN]
    groups: dict[tuple[str, ...], list[int]] = {}
    for i in kept:
        groups.setdefault(tuple(column[i] for column in conditions), []).append(int(i))
    rows = [np.array(group) for group in groups.values()]
    values = {name: [column[group] for group in rows] for name, column in columns.items()}
    return Points(table.take(np.array([group[0] for group in rows])), rows, values)


def spread(values: np.ndarray) -> tuple[float, float]:
    """Returns (low, high) of seeds: Student's 95 % interval of their mean; of two, the two."""
    if len(values) < 3:
        return float(values.min()), float(values.max())
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def frontier(cost: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Returns the points, cheapest first, that no cheaper or equally cheap point beats.

    Args:
        cost: `[n]`.
        value: the less the better, `[n]`.
    """
    order = np.lexsort((value, cost))
    best = np.minimum.accumulate(value[order])
    before = np.concatenate([[np.inf], best[:-1]])
    return order[value[order] < before]
