# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Does a step fit into a device's memory, and if not, which setting makes it fit?

What a step takes is read from the compiled program. What else could be done is a list of `Change`s,
none of which alters what is learnt: the batch in parts, less kept for the backward pass, the state
spread over more devices. They are compiled in the order of the time they are expected to cost.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tabulate import tabulate

GIB = 2**30

# Of the memory a device reports, the share left for what is not the step: gaps between arrays,
# small programs, the allocator's own. A limit that the user gives is taken as it is.
RESERVE = 0.03

# A search stops after this many compilations; each may take a minute.
MOST_COMPILATIONS = 10

# Expected time of a step relative to one without rematerialisation, cheapest first. "full" computes
# the forward pass of every block twice, and a backward pass costs two forward ones; "dots" repeats
# only what is not a matrix product, "dots_no_batch" the products of attention as well.
REMAT_COST = {"none": 1.0, "dots": 1.05, "dots_no_batch": 1.1, "full": 4 / 3}

# Expected: gathering the parameters twice and scattering the gradients, against summing them once.
FSDP_COST, FSDP_COST_A_DOUBLING = 1.1, 0.01

# Expected: a device is half as fast on this many examples at a time as on very many.
HALF_SPEED_EXAMPLES = 2

ACCUMULATION, REMAT, FSDP, DATA = (
    "train.accumulation_steps",
    "model.remat",
    "mesh.fsdp",
    "mesh.data",
)
EVALUATION = "evaluation.batch_size"


@dataclasses.dataclass(frozen=True)
class Usage:
    """What a program takes on each device, in bytes.

    Attributes:
        held: the state and the batches, there between steps too.
        working: what is there during a step: activations, gradients, gathered parameters.
    """

    held: int
    working: int

    @property
    def total(self) -> int:
        """Both together: the most there is at a time."""
        return self.held + self.working


def usage(compiled: Any, waiting: int = 0) -> Usage:
    """Reads what a compiled program takes on each device.

    Args:
        compiled: of `jax.jit(...).lower(...).compile()`.
        waiting: bytes a device held besides its arguments, such as batches that wait.
    """
    found = compiled.memory_analysis()
    held = found.argument_size_in_bytes + waiting
    new = found.output_size_in_bytes - found.alias_size_in_bytes
    return Usage(held, new + found.temp_size_in_bytes + max(0, found.generated_code_size_in_bytes))


@dataclasses.dataclass(frozen=True)
class Settings:
    """What of a configuration decides how much memory its step takes.

    Attributes:
        batch_size: examples a step, over all devices.
        accumulation: parts a batch is computed in.
        remat: the rematerialisation policy.
        data, fsdp: sizes of the mesh's axes.
        open_data: whether `mesh.data` is -1, so that it follows when `mesh.fsdp` changes.
        evaluation_batch_size: examples a step of evaluation.
    """

    batch_size: int
    accumulation: int
    remat: str
    data: int
    fsdp: int
    open_data: bool
    evaluation_batch_size: int

    @property
    def at_a_time(self) -> int:
        """Examples all devices together compute at a time."""
        return self.batch_size // self.accumulation

    @property
    def rows(self) -> int:
        """Examples a device computes at a time."""
        return self.at_a_time // (self.data * self.fsdp)

    def unchanged(self) -> "Change":
        """Returns the change that changes nothing."""
        return Change({}, remat=self.remat)


@dataclasses.dataclass(frozen=True)
class Change:
    """Settings that may make a step fit; without fields, the configuration as it is.

    Attributes:
        fields: config field -> value.
        accumulation: how many times smaller the parts of a batch get.
        fsdp: over how many times more devices the state is spread.
        remat: the policy.
        cost: the expected time of a step relative to that of the configuration as it is.
    """

    fields: Mapping[str, Any]
    accumulation: int = 1
    fsdp: int = 1
    remat: str = ""
    cost: float = 1.0

    @property
    def kinds(self) -> frozenset[str]:
        """Which ways it takes, without the fields that only follow."""
        return frozenset(self.fields) & {ACCUMULATION, REMAT, FSDP} or frozenset(self.fields)

    def overrides(self) -> str:
        """Returns what to write on the command line."""
        return " ".join(f"--config.{field}={value}" for field, value in self.fields.items())


def changes(settings: Settings) -> list[Change]:
    """Returns everything that could make a step need less, the least expected cost first."""
    policies = list(REMAT_COST)
    policies = policies[policies.index(settings.remat) :] if settings.remat in policies else []
    options = itertools.product(
        _divisors(settings.rows), policies or [settings.remat], _divisors(settings.data)
    )
    found = [_change(settings, parts, remat, fsdp) for parts, remat, fsdp in options]
    return sorted((c for c in found if c.fields), key=lambda c: (c.cost, len(c.fields)))


def evaluation_changes(settings: Settings) -> list[Change]:
    """Returns the smaller batches of evaluation, the largest first; they cost next to nothing."""
    smallest = settings.data * settings.fsdp
    parts = _divisors(settings.evaluation_batch_size // smallest)[1:]
    size = settings.evaluation_batch_size
    return [Change({EVALUATION: size // n}, accumulation=n, remat=settings.remat) for n in parts]


def _change(settings: Settings, parts: int, remat: str, fsdp: int) -> Change:
    fields: dict[str, Any] = {}
    if parts > 1:
        fields[ACCUMULATION] = settings.accumulation * parts
    if remat != settings.remat:
        fields[REMAT] = remat
    if fsdp > 1:
        fields[FSDP] = settings.fsdp * fsdp
        if not settings.open_data:
            fields[DATA] = settings.data // fsdp
    cost = _cost(settings.rows // parts, remat, settings.fsdp * fsdp)
    relative = cost / _cost(settings.rows, settings.remat, settings.fsdp)
    return Change(fields, parts, fsdp, remat, relative)


def _cost(rows: int, remat: str, fsdp: int) -> float:
    gathering = FSDP_COST + FSDP_COST_A_DOUBLING * math.log2(fsdp) if fsdp > 1 else 1.0
    return REMAT_COST.get(remat, 1.0) * gathering * (1 + HALF_SPEED_EXAMPLES / max(rows, 1))


def _divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]


@dataclasses.dataclass(frozen=True)
class Trial:
    """A change and what the step takes with it; None if it does not even compile."""

    change: Change
    usage: Usage | None

    def fits(self, limit: int) -> bool:
        """Whether the step fits into so many bytes a device."""
        return self.usage is not None and self.usage.total <= limit


def search(
    candidates: Sequence[Change],
    unchanged: Trial,
    limit: int,
    measure: Callable[[Change], Usage | None],
    held: Callable[[Change], int],
    *,
    thorough: bool,
) -> Iterator[Trial]:
    """Yields what was measured, until something fits.

    A change is left out if it cannot fit for what is known already: smaller parts of a batch save
    at most their share of what a step works with, and spreading the state at most twice what it
    saves of the state (gradients are as large as the parameters).

    Args:
        candidates: least cost first.
        unchanged: the configuration as it is.
        limit: bytes a device.
        measure: compiles the step with a change.
        held: the bytes a device holds with a change, found without compiling.
        thorough: go on until each single kind of change was found to fit or not to.
    """
    trials, solved = [unchanged], set[frozenset[str]]()
    for change in candidates:
        if solved and (not thorough or len(change.kinds) > 1 or change.kinds in solved):
            continue
        if _least(change, trials, held(change)) > limit:
            continue
        if len(trials) > MOST_COMPILATIONS:
            return
        trial = Trial(change, measure(change))
        trials.append(trial)
        yield trial
        if trial.fits(limit):
            solved.add(change.kinds)


def _least(change: Change, trials: Sequence[Trial], held: int) -> float:
    """Returns bytes that a change needs at least, going by what others took."""
    least = float(held)
    for trial in trials:
        if trial.usage is None or trial.change.remat != change.remat:
            continue
        share = min(1.0, trial.change.accumulation / change.accumulation)
        spread = max(0, trial.usage.held - held)
        least = max(least, trial.usage.held + trial.usage.working * share - 2 * spread)
    return least


def table(trials: Sequence[Trial], limit: int) -> str:
    """Returns what was measured as text: what to write, GiB a device, how it compares."""
    rows = [
        {
            "setting": trial.change.overrides() or "as configured",
            "GiB a device": "-" if trial.usage is None else gib(trial.usage.total),
            "of the limit": "-" if trial.usage is None else f"{trial.usage.total / limit:.0%}",
            "": "fits" if trial.fits(limit) else "does not fit",
            "expected time a step": f"x {trial.change.cost:.2f}",
        }
        for trial in trials
    ]
    return tabulate(rows, headers="keys", disable_numparse=True)


def gib(size: float) -> str:
    """Returns bytes in GiB to three digits."""
    return f"{size / GIB:.3g}"
