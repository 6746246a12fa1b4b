# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Axes that can be read: their titles, units, scales and ticks."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator

from vit_jax.scaling.points import RISING, SHARES

_TITLES = {
    "examples": "training images",
    "images_seen": "images seen",
    "parameters": "parameters",
    "flops": "compute of training",
    "forward_flops": "compute of one image",
    "seconds": "time of training",
    "few_shot": "few-shot accuracy",
    "few_shot_error": "few-shot error",
    "tpu_v3_core_days": "TPUv3 core-days",
}
_AMOUNTS = ("examples", "images_seen", "parameters", "steps")
_LOGARITHMIC = (*_AMOUNTS, "flops", "forward_flops", "seconds", "loss", "tpu_v3_core_days")
_FLOPS = {"FLOPs": 1.0, "kFLOPs": 1e3, "MFLOPs": 1e6, "GFLOPs": 1e9, "TFLOPs": 1e12, "PFLOPs": 1e15,
          "EFLOPs": 1e18, "ZFLOPs": 1e21, "YFLOPs": 1e24}  # fmt: skip
_TIMES = {"seconds": 1.0, "minutes": 60.0, "hours": 3600.0, "days": 86400.0}
_TICK_INCHES = 0.38  # what the label of a tick takes
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_MOST_DECADES = 6  # that a prefix of a unit can serve
# Multiples of powers of ten that ticks stand at, sparse ones first.
_STEPS = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7))


def title(name: str) -> str:
    """Returns what a quantity is called on an axis."""
    return _TITLES.get(name, name.replace("_", " "))


def is_logarithmic(name: str) -> bool:
    """Says whether a quantity is drawn on a logarithmic axis."""
    return name in _LOGARITHMIC or (name in SHARES and name not in RISING)


def setup(axis: Any, name: str, values: Sequence[float] | np.ndarray, *, at: bool = False) -> None:
    """Gives an axis its scale, limits, ticks and title.

    Args:
        axis: `axes.xaxis` or `axes.yaxis`.
        name: the quantity.
        values: all that are drawn.
        at: whether the ticks stand at the values themselves, as far as there is room.
    """
    values = np.unique(np.asarray(values, float))
    low, high = float(values[0]), float(values[-1])
    logarithmic = low > 0 and (is_logarithmic(name) or (at and high >= 4 * low))
    axis.axes.set(**{f"{axis.axis_name}scale": "log" if logarithmic else "linear"})
    if logarithmic:
        margin = max(high / low, 1.1) ** 0.06
        ends = low / margin, high * margin
    else:
        margin = 0.06 * ((high - low) or abs(high) or 1.0)
        ends = low - margin, high + margin
    axis.axes.set(**{f"{axis.axis_name}lim": ends})
    unit = _unit(name, low, high)
    if at:
        ticks = _spaced(axis.axes, values, logarithmic)
    else:
        round_ones = _ticks(ends[0] / unit.size, ends[1] / unit.size, logarithmic)
        ticks = [tick * unit.size for tick in round_ones]
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FixedFormatter([unit.write(tick / unit.size) for tick in ticks]))
    axis.set_minor_locator(NullLocator())
    axis.set_label_text(f"{title(name)} ({unit.name})" if unit.name else title(name))


def _ticks(low: float, high: float, logarithmic: bool) -> list[float]:
    """Returns round numbers in [low, high], at least 4 if they are to be had."""
    if logarithmic:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for steps in _STEPS:
            ticks = [s * 10.0**d for d in decades for s in steps if low <= s * 10.0**d <= high]
            if len(ticks) >= 4:
                return ticks[:: math.ceil(len(ticks) / 9)]
    linear = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [float(tick) for tick in linear if low <= tick <= high]


def _spaced(axes: Any, values: np.ndarray, logarithmic: bool) -> list[float]:
    """Returns the values of which none is too near to the one before."""
    places = np.log(values) if logarithmic else values
    inches = 0.7 * axes.figure.get_figwidth() / axes.get_gridspec().ncols
    least = _TICK_INCHES / inches * (places[-1] - places[0])
    kept = [0]
    for index in range(1, len(values)):
        if places[index] - places[kept[-1]] >= least:
            kept.append(index)
    return values[kept].tolist()


@dataclasses.dataclass(frozen=True)
class _Unit:
    """In what a quantity is drawn: its name, its size, and how a number of it is written."""

    name: str
    size: float
    write: Callable[[float], str]


def _unit(name: str, low: float, high: float) -> _Unit:
    """Returns the unit of an axis from `low` to `high`."""
    if name in SHARES:
        return _Unit("", 1.0, percent)
    if name in _AMOUNTS:
        return _Unit("", 1.0, amount)
    if name in ("flops", "forward_flops"):
        if high > low * 10.0**_MOST_DECADES:
            return _Unit("FLOPs", 1.0, _power_of_ten)
        return _largest(_FLOPS, low)
    return _largest(_TIMES, low) if name == "seconds" else _Unit("", 1.0, _plain)


def _power_of_ten(x: float) -> str:
    return "10" + f"{math.log10(x):.0f}".translate(_SUPERSCRIPTS)


def _largest(units: dict[str, float], low: float) -> _Unit:
    """Returns the largest of the units of which `low` is a tenth or more."""
    fitting = [unit for unit, size in units.items() if size <= 10 * low]
    name = fitting[-1] if fitting else next(iter(units))
    return _Unit(name, units[name], _plain)


def percent(share: float) -> str:
    """Returns 0.125 as "12.5 %"."""
    return f"{100 * share:.3g} %"


def amount(number: float) -> str:
    """Returns 1.5e6 as "1.5M"."""
    for letter, unit in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= unit * 0.9999:
            return f"{number / unit:.3g}{letter}"
    return f"{number:.3g}"


def _plain(number: float) -> str:
    return f"{number:,.0f}" if number >= 1000 else f"{number:.3g}"
