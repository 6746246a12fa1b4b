# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What a sweep found: `sweep.csv`, `sweep.md` and `sweep.png`."""

import csv
import math
import os
import pathlib
from typing import Any

from tabulate import tabulate

from vit_jax import pictures
from vit_jax.studies import runs, sweep
from vit_jax.studies.sweep import Setting, Sweep

NAME = "sweep"


def rows(found: Sweep) -> list[dict[str, Any]]:
    """Returns a row a setting, best first; what is not known is None."""
    table = []
    for setting in found.settings:
        values = setting.values("validation", found.metric)
        row: dict[str, Any] = dict(setting.labels)
        row[f"validation {found.metric}"] = _known(sweep.mean(values))
        if found.has_seeds:
            row |= {"spread": _known(sweep.spread(values)), "seeds": len(values)}
        row["minutes"] = round(sum(o.seconds for o in setting.outcomes) / 60, 2)
        table.append({**row, "state": setting.state})
    return table


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def text(found: Sweep, layout: str = "simple") -> str:
    """Returns the table, what was chosen and how, and how the choice does on the test split."""
    table = tabulate(rows(found), headers="keys", floatfmt=".4g", missingval="-", tablefmt=layout)
    meaning = "\nSpread: the sample standard deviation over seeds." if found.has_seeds else ""
    return f"{table}\n{meaning}\n{choice(found)}"


def choice(found: Sweep) -> str:
    """Says which setting was chosen by validation, its test result, and how to use its runs."""
    chosen = found.chosen
    if chosen is None:
        return "Nothing is chosen: no setting has finished."
    best = "highest" if found.mode == "max" else "lowest"
    over = f", the mean over {len(chosen.outcomes)} seeds" if found.has_seeds else ""
    lines = [f"Chosen: {describe(chosen)} ({best} validation {found.metric}{over})."]
    tested = chosen.values("test", found.metric)
    if tested:
        spread = sweep.spread(tested)
        plus = "" if math.isnan(spread) else f" +- {spread:.4f}"
        lines += [
            "The test split had no part in the choice and is shown for the chosen setting alone.",
            f"Test {found.metric}: {sweep.mean(tested):.4f}{plus}.",
        ]
    lines += [f"Workdir: {outcome.run.folder}" for outcome in chosen.outcomes]
    return "\n".join(lines)


def describe(setting: Setting) -> str:
    """Returns "learning_rate=0.01, width=64", or what a sweep of seeds alone has."""
    return ", ".join(f"{key}={value}" for key, value in setting.labels.items()) or "all seeds"


def write(found: Sweep, folder: str | os.PathLike, command: str) -> list[pathlib.Path]:
    """Writes the table, its text with every run, and a picture; returns their paths."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    table = rows(found)
    paths = [folder / f"{NAME}.{ending}" for ending in ("csv", "md", "png")]
    with paths[0].open("w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    parts = [f"# {folder.name}", f"`{command}`", text(found, "github"), "## Runs", _runs(found)]
    paths[1].write_text("\n\n".join(parts) + "\n")
    pictures.settings(_points(found), f"validation {found.metric}", paths[2])
    return paths


def _runs(found: Sweep) -> str:
    table = [
        {
            "run": outcome.run.name,
            f"validation {found.metric}": outcome.metric("validation", found.metric),
            "seconds": outcome.seconds,
            "state": outcome.state,
            "reason": outcome.reason,
        }
        for setting in found.settings
        for outcome in setting.outcomes
    ]
    return tabulate(table, headers="keys", floatfmt=".4g", missingval="-", tablefmt="github")


def _points(found: Sweep) -> dict[str, list[tuple[str, float]]]:
    """Returns swept field -> (its value, the metric) of every run; seeds only if alone."""
    points: dict[str, list[tuple[str, float]]] = {}
    for setting in found.settings:
        for outcome in setting.outcomes:
            value = outcome.metric("validation", found.metric)
            for key, label in (setting.labels or outcome.run.labels).items():
                points.setdefault(key, [])
                if value is not None:
                    points[key].append((label, value))
    return points


def status(found: Sweep) -> int:
    """Returns the exit status: 1 if a run failed, or none finished; divergence is a result."""
    states = [outcome.state for setting in found.settings for outcome in setting.outcomes]
    return int(runs.FAILED in states or runs.FINISHED not in states)
