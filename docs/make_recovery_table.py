# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Writes the recovery table of docs/scaling.md: how often intervals hold the true parameters.

Curves with known parameters, grids and noise like those of real studies, 200 trials each.
Command: python docs/make_recovery_table.py
"""

import dataclasses
import sys

import numpy as np
import pages
from tabulate import tabulate

from vit_jax.errors import UserError
from vit_jax.scaling.fit import fit
from vit_jax.scaling.laws import LAWS

TRIALS = 200


@dataclasses.dataclass(frozen=True)
class Case:
    """A curve, the grid that it is measured on, and how noisily.

    `noise` is relative, of the smallest point and of the largest, geometric in their scale between.
    """

    law: str
    truth: dict[str, float]
    columns: dict[str, np.ndarray]
    grid: str
    noise: tuple[float, float]

    def deviations(self) -> np.ndarray:
        """Returns the standard deviation of the logarithm of every point."""
        scale = np.sum([np.log(x) for x in self.columns.values()], axis=0)
        first, last = np.log(self.noise)
        return np.exp(np.interp(scale, (scale.min(), scale.max()), (first, last)))


def cases() -> list[Case]:
    """Returns every law on a fine grid with little noise and on a coarse one with more.

    And on the fine one with noise that falls from the smallest point to the largest.
    """
    error = {"a": 0.6, "b": 0.35, "c": 0.1, "d": 1.0}
    loss = {"E": 1.2, "A": 40.0, "alpha": 0.25, "B": 600.0, "beta": 0.35}
    found = []
    grids = ((24, 6, (0.01, 0.01)), (14, 5, (0.02, 0.02)), (24, 6, (0.04, 0.005)))
    for points, sizes, noise in grids:
        compute = {"compute": np.logspace(-1, 4, points)}
        for law in ("power", "power_floor", "saturating"):
            truth = {name: error[name] for name in LAWS.get(law).parameters}
            found.append(Case(law, truth, compute, f"{points} over 5 decades", noise))
        size, data = np.meshgrid(np.geomspace(5e6, 3e8, sizes), np.geomspace(1e6, 3e8, sizes))
        grid = {"parameters": size.ravel(), "examples": data.ravel()}
        found.append(Case("parametric", loss, grid, f"{sizes} x {sizes}", noise))
    return found


def row(case: Case) -> dict[str, str]:
    """Runs the trials of one case."""
    rng = np.random.default_rng(0)
    curve = LAWS.get(case.law)(case.columns, case.truth)
    inside, refused = dict.fromkeys(case.truth, 0), 0
    for _ in range(TRIALS):
        try:
            noise = np.exp(case.deviations() * rng.standard_normal(len(curve)))
            intervals = fit(case.law, case.columns, curve * noise).intervals
        except UserError:
            refused += 1
            continue
        for name, value in case.truth.items():
            inside[name] += intervals[name][0] <= value <= intervals[name][1]
    fitted = TRIALS - refused
    shares = ", ".join(f"{name} {100 * count / fitted:.1f}" for name, count in inside.items())
    return {
        "law": f"`{case.law}`",
        "points": case.grid,
        "noise": " to ".join(f"{100 * end:g}" for end in dict.fromkeys(case.noise)) + " %",
        "inside the 95 % interval, %": shares if fitted else "-",
        "refused": str(refused),
    }


def main() -> None:
    """Runs the trials of every case and puts the table into the page."""
    rows = []
    for case in cases():
        rows.append(row(case))
        print(rows[-1], file=sys.stderr, flush=True)
    table = tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True)
    pages.put("scaling.md", "recovery", table)
    print(table)


if __name__ == "__main__":
    main()
