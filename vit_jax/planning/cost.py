# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The compiler's own analysis of a program, and the models that set it right where there are loops.

XLA counts the body of a loop once, however often it runs.
"""

import dataclasses
from typing import Any

from ml_collections import ConfigDict

from vit_jax.models import model_info


@dataclasses.dataclass(frozen=True)
class Cost:
    """A program's cost on one chip by XLA's own analysis; it may not tell the seconds."""

    bytes: float
    seconds: float | None

    def plus(self, other: "Cost", times: float = 1.0) -> "Cost":
        """Returns this and another so many times."""
        known = self.seconds is not None and other.seconds is not None
        seconds = (self.seconds or 0.0) + times * (other.seconds or 0.0) if known else None
        return Cost(self.bytes + times * other.bytes, seconds)


def read_cost(compiled: Any) -> Cost:
    """Reads XLA's analysis of a compiled program."""
    found = compiled.cost_analysis()
    seconds = found.get("optimal_seconds", 0.0)
    return Cost(found.get("bytes accessed", 0.0), seconds if seconds > 0 else None)


def twins(config: ConfigDict) -> tuple[dict, list[tuple[dict, int]]]:
    """Returns the overrides of the shallowest model, and those of each with one more round of a
    loop, with the number of rounds that the shallowest lacks."""
    given = config.model.overrides.to_dict()
    spec = model_info(config.model.name).spec
    if not hasattr(spec, "depths"):
        depth = given.get("depth", spec.depth)
        return {**given, "depth": 1}, [({**given, "depth": 2}, depth - 1)]
    depths = tuple(given.get("depths", spec.depths))
    least = (2,) * len(depths)
    more = [
        ({**given, "depths": (*least[:i], 4, *least[i + 1 :])}, depth // 2 - 1)
        for i, depth in enumerate(depths)
        if depth > 2
    ]
    return {**given, "depths": least}, more
