# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""A grid of values for fields of a configuration, one run each; the best by validation is chosen.

Runs that differ in their seed alone are one setting: its value is their mean, and their spread says
how much of a difference between settings is chance.
"""

import dataclasses
import itertools
import math
import pathlib
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence

from vit_jax.errors import UserError
from vit_jax.studies import runs as runs_lib
from vit_jax.studies.runs import Outcome, Run

SEED = "seed"
_SWEPT = re.compile(r"--?sweep\.([^=]+)=(.*)", re.DOTALL)


def parse_axes(overrides: Sequence[str]) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """Splits a command line into what is swept and what is the same in every run.

    Args:
        overrides: "--sweep.field=value,value,..." and "--config.field=value"; a comma inside
            brackets belongs to its value.

    Returns:
        (field -> values, in the order given; the other overrides).

    Raises:
        UserError: nothing is swept, a field twice, or a value twice.
    """
    axes: dict[str, list[str]] = {}
    fixed = []
    for override in overrides:
        match = _SWEPT.fullmatch(override)
        if override.lstrip("-").startswith("sweep.") and not match:
            raise UserError(f"{override!r} has no values; write {override}=value,value")
        if not match:
            fixed.append(override)
            continue
        field, text = match.groups()
        if field in axes:
            raise UserError(f"--sweep.{field} is given twice; write all its values into one")
        axes[field] = _split(field, text)
    if not axes:
        raise UserError(
            "nothing is swept; write --sweep.optimiser.learning_rate=0.003,0.01,0.03, for example"
        )
    for override in fixed:
        field = override.lstrip("-").removeprefix("config.").partition("=")[0]
        if field in axes:
            raise UserError(f"--config.{field} and --sweep.{field} are both given; drop one")
    return axes, tuple(fixed)


def _split(field: str, text: str) -> list[str]:
    """Returns the values between the commas that no bracket encloses."""
    values, depth = [""], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            values.append("")
        else:
            values[-1] += character
    values = [value.strip() for value in values]
    for value in values:
        if values.count(value) > 1:
            raise UserError(f"--sweep.{field}: {value!r} is there twice; leave one out")
    return values


def grid(
    recipe: str, folder: pathlib.Path, axes: Mapping[str, Sequence[str]], fixed: Sequence[str]
) -> list[Run]:
    """Returns a run for every combination of values, the last axis changing fastest.

    Raises:
        UserError: a field or value that the configuration refuses, or no validation split.
    """
    names = short_names(list(axes))
    runs = []
    for values in itertools.product(*axes.values()):
        labels = dict(zip(names.values(), values, strict=True))
        name = ",".join(f"{key}={value}" for key, value in labels.items())
        swept = [f"--config.{field}={value}" for field, value in zip(axes, values, strict=True)]
        place = folder / re.sub(r"[^\w.,=+()-]", "_", name)
        runs.append(Run(name, place, recipe, (*fixed, *swept), labels))
    _check_folders(runs)
    runs_lib.check(runs)
    for run in runs:
        if not run.config.data.validation_split:
            raise UserError(
                "data.validation_split is empty, and a sweep chooses by it; name a part that is "
                "neither trained on nor tested"
            )
    return runs


def _check_folders(runs: Sequence[Run]) -> None:
    """Values that are different texts may look the same as names of folders, or be too long."""
    seen: dict[pathlib.Path, Run] = {}
    for run in runs:
        if run.folder in seen:
            raise UserError(f"{seen[run.folder].name!r} and {run.name!r} share {run.folder}")
        if len(run.folder.name) > 200:
            raise UserError(f"{run.name!r} is too long for the name of a folder; sweep fewer")
        seen[run.folder] = run


def short_names(fields: Sequence[str]) -> dict[str, str]:
    """Returns field -> its shortest ending that no other field shares: what tables call it."""

    def endings(field: str) -> Iterator[str]:
        parts = field.split(".")
        return (".".join(parts[-n:]) for n in range(1, len(parts) + 1))

    def is_own(ending: str) -> bool:
        return sum(ending in endings(field) for field in fields) == 1

    return {field: next(filter(is_own, endings(field)), field) for field in fields}


@dataclasses.dataclass(frozen=True)
class Setting:
    """The runs that differ in their seed alone.

    Attributes:
        labels: what tells it from other settings.
        outcomes: one a seed.
    """

    labels: Mapping[str, str]
    outcomes: tuple[Outcome, ...]

    def values(self, split: str, metric: str) -> list[float]:
        """Returns the metric of every run that has it."""
        found = [outcome.metric(split, metric) for outcome in self.outcomes]
        return [value for value in found if value is not None]

    @property
    def state(self) -> str:
        """The state of all runs, or how many have which."""
        states = [outcome.state for outcome in self.outcomes]
        counts = {state: states.count(state) for state in states}
        if len(counts) == 1:
            return states[0]
        return ", ".join(f"{count} {state}" for state, count in counts.items())

    @property
    def complete(self) -> bool:
        """Whether every run has finished, so that its mean can be compared."""
        return all(outcome.state == runs_lib.FINISHED for outcome in self.outcomes)


def mean(values: Sequence[float]) -> float:
    """Returns the mean; NaN of nothing."""
    return statistics.fmean(values) if values else math.nan


def spread(values: Sequence[float]) -> float:
    """Returns the sample standard deviation (n - 1); NaN below two values."""
    return statistics.stdev(values) if len(values) > 1 else math.nan


@dataclasses.dataclass(frozen=True)
class Sweep:
    """What has come of a sweep so far.

    Attributes:
        metric: the validation metric that is compared, `checkpoint.best_metric`.
        mode: "max" or "min" of it is best.
        settings: best first; those with runs that have not finished at the end.
    """

    metric: str
    mode: str
    settings: tuple[Setting, ...]

    @property
    def chosen(self) -> Setting | None:
        """The best setting by the mean over its runs on the validation split, if one is done."""
        best = self.settings[0]
        return best if best.complete and best.values("validation", self.metric) else None

    @property
    def has_seeds(self) -> bool:
        """Whether a setting has several runs."""
        return any(len(setting.outcomes) > 1 for setting in self.settings)


def collect(outcomes: Sequence[Outcome]) -> Sweep:
    """Groups runs into settings and sorts these."""
    checkpoint = outcomes[0].run.config.checkpoint
    metric, mode = checkpoint.best_metric, checkpoint.best_mode
    groups: dict[tuple, list[Outcome]] = {}
    for outcome in outcomes:
        labels = {key: value for key, value in outcome.run.labels.items() if key != SEED}
        groups.setdefault(tuple(labels.items()), []).append(outcome)
    settings = [Setting(dict(labels), tuple(group)) for labels, group in groups.items()]
    sign = -1 if mode == "max" else 1

    def order(setting: Setting) -> tuple[bool, bool, float]:
        values = setting.values("validation", metric)
        return not setting.complete, not values, sign * mean(values) if values else 0.0

    return Sweep(metric, mode, tuple(sorted(settings, key=order)))
