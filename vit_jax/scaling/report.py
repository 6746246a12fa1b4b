# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What a law says of a table, for people and as JSON."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from tabulate import tabulate

from vit_jax.errors import UserError
from vit_jax.scaling import points as points_lib
from vit_jax.scaling.analysis import Allocation, Answer
from vit_jax.scaling.fit import HeldOut
from vit_jax.scaling.laws import LETTERS


def text(answers: Mapping[str, Answer | UserError]) -> str:
    """Returns what was found, a part a group of rows; "" names the only one."""
    parts = []
    for name, answer in answers.items():
        head = f"== {name} ==\n" if name else ""
        body = str(answer) if isinstance(answer, UserError) else _text(answer)
        parts.append(head + body)
    return "\n\n".join(parts)


def _text(answer: Answer) -> str:
    parts = [_opening(answer), _parameters(answer)]
    if answer.question.hold_out:
        parts.append(_held_out(answer))
    if answer.allocation is not None:
        parts.append(_allocation(answer.allocation, answer.question.value))
    if len(answer.frontier):
        parts.append(_frontier(answer))
    return "\n\n".join(parts)


def _opening(answer: Answer) -> str:
    question, law = answer.question, answer.law
    means = [f"{LETTERS[column]} = {question.column(column)}" for column in law.columns]
    rows = sum(len(answer.points.rows[i]) for i in answer.fitted)
    averaged = f" of {rows} rows, seeds averaged" if rows > len(answer.fitted) else ""
    which = " on the frontier" if question.on_frontier else ""
    lost = f"; {answer.left_out} rows have no {question.value}" if answer.left_out else ""
    return (
        f"{question.value} = {law.formula} with {', '.join(means)} ({law.source})\n"
        f"{len(answer.fitted)} points{which}{averaged}; they lie about the curve by "
        f"{_percent(answer.fit.spread)} (a robust standard deviation){lost}"
    )


def _parameters(answer: Answer) -> str:
    fit = answer.fit
    rows = [
        {
            "parameter": name,
            "value": _short(fit.parameters[name]),
            "95 % interval": "{} to {}".format(*map(_short, fit.intervals[name])),
            "meaning": meaning,
        }
        for name, meaning in answer.law.parameters.items()
    ]
    return _table(rows)


def _held_out(answer: Answer) -> str:
    held = answer.held_out
    if isinstance(held, str):
        return f"The largest points cannot be predicted from the others: {held}"
    columns = (held.predicted, held.low, held.high, held.observed, held.relative_errors)
    rows = [
        _where(answer, point)
        | {"predicted": _short(predicted), "95 % interval": f"{_short(low)} to {_short(high)}"}
        | {"observed": _short(observed), "off by": _percent(error, "+")}
        for point, predicted, low, high, observed, error in zip(
            answer.largest, *columns, strict=True
        )
    ]
    worst = np.abs(held.relative_errors)
    count = f"the {len(rows)} largest points are" if len(rows) > 1 else "the largest point is"
    return (
        f"Fitted without them, {count} off by {_percent(worst.mean())} on average, "
        f"{_percent(worst.max())} at most:\n{_table(rows)}"
    )


def _where(answer: Answer, point: int) -> dict[str, str]:
    """Returns which point it is: its model, where the table names one, and the law's columns."""
    table, question = answer.points.table, answer.question
    named = {"model": table.column("model")[point]} if "model" in table.names else {}
    columns = {question.column(column) for column in answer.law.columns}
    scale = {n: _short(answer.points.mean(n)[point]) for n in sorted(columns)}
    return named | scale


def _frontier(answer: Answer) -> str:
    value = answer.question.value
    at = answer.points.mean(value)
    rows = [{**_where(answer, i), value: _short(at[i])} for i in answer.frontier]
    return f"The frontier, points that no cheaper one beats:\n{_table(rows)}"


def _allocation(found: Allocation, value: str) -> str:
    powers = ", ".join(
        f"{letter} grows as C^{value:.3f} ({low:.3f} to {high:.3f})"
        for letter, (value, low, high) in zip("ND", found.exponents.values(), strict=True)
    )
    names = {"parameters": "N", "examples": "D", "value": value}
    rows = []
    for index, budget in enumerate(found.budgets):
        row = {"FLOPs C": _short(budget)}
        for column, name in names.items():
            best, low, high = map(_short, found.optimal[column][index])
            row |= {name: best, f"95 % of {name}": f"{low} to {high}"}
        rows.append(row)
    return (
        f"Best use of compute, C = {found.flops_per_parameter:.3g} N D as in these points: "
        f"{powers}\n{_table(rows)}"
    )


def _table(rows: list[dict[str, str]]) -> str:
    return tabulate(rows, headers="keys", disable_numparse=True)


def _short(value: float) -> str:
    """Returns four digits: 0.01234, 45.67, 1.234e18."""
    mantissa, e, exponent = f"{value:.4g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if e else mantissa


def _percent(share: float, sign: str = "") -> str:
    return f"{100 * share:{sign}.1f} %"


def record(answers: Mapping[str, Answer | UserError]) -> dict[str, Any]:
    """Returns the same for JSON: group -> what was found, or {"refused": why}."""
    return {
        name: {"refused": str(answer)} if isinstance(answer, UserError) else _record(answer)
        for name, answer in answers.items()
    }


def _record(answer: Answer) -> dict[str, Any]:
    fit, question = answer.fit, answer.question
    columns = {column: question.column(column) for column in answer.law.columns}
    points = answer.points
    found: dict[str, Any] = {
        "law": fit.law,
        "formula": answer.law.formula,
        "source": answer.law.source,
        "value": question.value,
        "columns": columns,
        "points": len(answer.fitted),
        "rows": int(sum(len(points.rows[i]) for i in answer.fitted)),
        "rows_left_out": answer.left_out,
        "on_frontier": question.on_frontier,
        "spread": fit.spread,
        "parameters": fit.parameters,
        "intervals": {name: list(ends) for name, ends in fit.intervals.items()},
        "frontier": _listed(answer, answer.frontier),
    }
    if question.hold_out:
        found["held_out"] = _held_out_record(answer)
    if answer.allocation is not None:
        found["compute_optimal"] = {
            "flops_per_parameter": answer.allocation.flops_per_parameter,
            "exponents": {k: list(v) for k, v in answer.allocation.exponents.items()},
            "flops": answer.allocation.budgets.tolist(),
            **{name: rows.tolist() for name, rows in answer.allocation.optimal.items()},
        }
    return found


def _held_out_record(answer: Answer) -> dict[str, Any]:
    if not isinstance(answer.held_out, HeldOut):
        return {"refused": answer.held_out}
    held = answer.held_out
    return {
        "points": _listed(answer, answer.largest),
        "predicted": held.predicted.tolist(),
        "intervals": np.stack([held.low, held.high], 1).tolist(),
        "observed": held.observed.tolist(),
        "relative_errors": held.relative_errors.tolist(),
        "parameters": held.fit.parameters,
    }


def _listed(answer: Answer, index: np.ndarray) -> list[dict[str, Any]]:
    """Returns some points with their conditions, the law's columns and the value."""
    question, points = answer.question, answer.points
    quantities = [question.value, *(question.column(column) for column in answer.law.columns)]
    means = {name: points.mean(name) for name in quantities}
    rows = list(points.table.take(index).rows())
    kept = [k for k in points.table.names if k not in (*points_lib.PER_RUN, *quantities)]
    return [
        {k: row[k] for k in kept if row[k] == row[k] and row[k] != ""}
        | {name: float(mean[i]) for name, mean in means.items()}
        for i, row in zip(index, rows, strict=True)
    ]
