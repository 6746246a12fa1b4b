# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The curves that scaling studies fit, each with what its parameters mean.

Every parameter is positive and handled as its logarithm: then a fit needs no bounds, and an error
of 0.1 in any of them means 10 %.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from vit_jax.registry import Registry

Columns = Mapping[str, np.ndarray]
Starts = dict[str, tuple[float, ...]]


@dataclasses.dataclass(frozen=True)
class Law:
    """A curve with positive parameters.

    Attributes:
        formula: as in the paper, for people.
        source: the paper.
        columns: names of the columns that it is a function of.
        parameters: name -> meaning.
        terms: (columns, parameters, both as arrays) -> the addends `[terms, points]` of the curve.
        starts: (columns, observed values) -> values from which the search begins, all combined.
        in_units: (parameters, unit of each column) -> the parameters for columns in units of one,
            of a curve whose columns were divided by those units.
    """

    formula: str
    source: str
    columns: tuple[str, ...]
    parameters: Mapping[str, str]
    terms: Callable[[Columns, Mapping[str, float]], np.ndarray]
    starts: Callable[[Columns, np.ndarray], Starts]
    in_units: Callable[[Mapping[str, Any], Mapping[str, float]], dict[str, Any]]

    def __call__(self, columns: Columns, parameters: Mapping[str, Any]) -> np.ndarray:
        """Returns the curve's values `[points]`, or `[..., points]` for parameters `[..., 1]`."""
        return self.terms(columns, parameters).sum(0)


LAWS: Registry[Law] = Registry("scaling law")
LETTERS = {"compute": "C", "parameters": "N", "examples": "D"}  # of the columns, in the formulas

_EXPONENTS = (0.1, 0.3, 0.7)


def _through(x: np.ndarray, y: np.ndarray, exponents: tuple[float, ...]) -> tuple[float, ...]:
    """Returns amplitudes for which power laws of these exponents pass the middle of the points."""
    middle = np.exp(np.log(x).mean())
    return tuple(float(np.median(y) * middle**b) for b in exponents)


def _flat(columns: Columns, value: float) -> np.ndarray:
    return value * np.ones_like(next(iter(columns.values())))


def _power(columns: Columns, p: Mapping[str, float]) -> np.ndarray:
    return np.stack([p["a"] * columns["compute"] ** -p["b"]])


def _power_floor(columns: Columns, p: Mapping[str, float]) -> np.ndarray:
    return np.stack([*_power(columns, p), _flat(columns, p["c"])])


def _saturating(columns: Columns, p: Mapping[str, float]) -> np.ndarray:
    return np.stack([p["a"] * (columns["compute"] + p["d"]) ** -p["b"], _flat(columns, p["c"])])


def _parametric(columns: Columns, p: Mapping[str, float]) -> np.ndarray:
    of_size = p["A"] * columns["parameters"] ** -p["alpha"]
    of_data = p["B"] * columns["examples"] ** -p["beta"]
    return np.stack([_flat(columns, p["E"]), of_size, of_data])


def _power_starts(columns: Columns, y: np.ndarray) -> Starts:
    x = columns["compute"]
    return {"a": _through(x, y, _EXPONENTS), "b": _EXPONENTS}


def _floors(y: np.ndarray) -> tuple[float, ...]:
    return tuple(float(y.min() * share) for share in (0.1, 0.5, 0.9))


def _power_floor_starts(columns: Columns, y: np.ndarray) -> Starts:
    return _power_starts(columns, y) | {"c": _floors(y)}


def _saturating_starts(columns: Columns, y: np.ndarray) -> Starts:
    least = float(columns["compute"].min())
    return _power_floor_starts(columns, y) | {"d": (least * 0.1, least * 3)}


def _parametric_starts(columns: Columns, y: np.ndarray) -> Starts:
    exponents = (0.2, 0.5)
    return {
        "E": _floors(y),
        "A": tuple(a / 3 for a in _through(columns["parameters"], y, exponents)),
        "alpha": exponents,
        "B": tuple(b / 3 for b in _through(columns["examples"], y, exponents)),
        "beta": exponents,
    }


def _compute_in_units(p: Mapping[str, Any], units: Mapping[str, float]) -> dict[str, Any]:
    changed = {"a": p["a"] * units["compute"] ** p["b"]}
    return {**p, **changed} | ({"d": p["d"] * units["compute"]} if "d" in p else {})


def _parametric_in_units(p: Mapping[str, Any], units: Mapping[str, float]) -> dict[str, Any]:
    of_size = p["A"] * units["parameters"] ** p["alpha"]
    return {**p, "A": of_size, "B": p["B"] * units["examples"] ** p["beta"]}


_COMPUTE = {"a": "amplitude", "b": "exponent"}
_FLOOR = {"c": "the error that no C removes"}

LAWS.register("power")(
    Law(
        "a C^-b",
        "arXiv 2001.08361",
        ("compute",),
        _COMPUTE,
        _power,
        _power_starts,
        _compute_in_units,
    )
)
LAWS.register("power_floor")(
    Law(
        "a C^-b + c",
        "arXiv 2010.14701",
        ("compute",),
        _COMPUTE | _FLOOR,
        _power_floor,
        _power_floor_starts,
        _compute_in_units,
    )
)
LAWS.register("saturating", aliases=("zhai",))(
    Law(
        "a (C + d)^-b + c",
        "arXiv 2106.04560, section 2.1",
        ("compute",),
        _COMPUTE | _FLOOR | {"d": "the C below which more of it hardly helps"},
        _saturating,
        _saturating_starts,
        _compute_in_units,
    )
)
LAWS.register("parametric", aliases=("chinchilla", "hoffmann"))(
    Law(
        "E + A / N^alpha + B / D^beta",
        "arXiv 2203.15556, section 3.3",
        ("parameters", "examples"),
        {
            "E": "the loss that neither size nor data removes",
            "A": "amplitude of the model's size",
            "alpha": "exponent of the model's size",
            "B": "amplitude of the data",
            "beta": "exponent of the data",
        },
        _parametric,
        _parametric_starts,
        _parametric_in_units,
    )
)
