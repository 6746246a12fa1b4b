# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Durations: '10 epochs', '5000 steps', '1e9 examples', '5%'. This is where they become steps."""

import re
from fractions import Fraction

from vit_jax.errors import UserError
from vit_jax.registry import near_misses

UNITS = ("epochs", "steps", "examples", "%")
_DURATION = re.compile(r"\s*([0-9][0-9_]*(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z]+|%)\s*")


def parse_duration(text: str, *, field: str = "duration") -> tuple[Fraction, str]:
    """Splits a duration into its exact value and its unit, one of `UNITS`.

    Args:
        text: a number and a unit; the singular of the unit will do.
        field: the name to blame in an error.

    Raises:
        UserError: it is not a duration.
    """
    match = _DURATION.fullmatch(text)
    if not match:
        raise UserError(
            f"{field}: {text!r} is not a duration; write '10 epochs', '5000 steps', "
            "'1e9 examples' or '5%'"
        )
    number, unit = match.groups()
    unit = unit if unit == "%" else unit.lower().removesuffix("s") + "s"
    if unit not in UNITS:
        hint = near_misses(unit, UNITS) or f"; known: {', '.join(UNITS)}"
        raise UserError(f"{field}: {text!r} has the unknown unit {match[2]!r}{hint}")
    return Fraction(number.replace("_", "")), unit


def resolve_steps(
    duration: str,
    *,
    batch_size: int,
    num_examples: int,
    total_steps: int | None = None,
    field: str = "duration",
) -> int:
    """Returns the number of optimiser steps in a duration, rounded to the nearest.

    Args:
        duration: see `parse_duration`; anything above zero is at least one step.
        batch_size: examples a step, over all devices.
        num_examples: examples an epoch.
        total_steps: what a percentage refers to; None refuses percentages.
        field: the name to blame in an error.

    Raises:
        UserError: it is not a duration, or a percentage of nothing.
    """
    value, unit = parse_duration(duration, field=field)
    if unit == "%":
        if total_steps is None:
            raise UserError(f"{field}: {duration!r} is a share of nothing; write epochs or steps")
        steps = value * total_steps / 100
    else:
        factor = {"epochs": Fraction(num_examples, batch_size), "steps": Fraction(1)}
        steps = value * factor.get(unit, Fraction(1, batch_size))
    return max(round(steps), int(steps > 0))
