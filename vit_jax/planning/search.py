# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The best settings for a machine: the trace judges all, the compiler the most promising."""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

from ml_collections import ConfigDict

from vit_jax import config as config_lib
from vit_jax.errors import UserError
from vit_jax.planning.memory import REMAT_COST
from vit_jax.planning.plan import Plan
from vit_jax.planning.study import Study

# The trace knows no fusion: where it sees this much more memory than there is, a compiler that does
# may still find room.
_HOPE = 1.5

# Splitting heads and hidden units further than a machine's fastest links reach has never paid.
_MOST_TENSOR = 8

# The trace sees no elementwise operation. Computing them again is expected to cost this share, as
# `memory.REMAT_COST` has it; products that are computed again are counted.
_AGAIN = REMAT_COST["dots"]

# A setting this many times slower than the fastest is of no use, however little memory it takes.
_SLOWEST = 2.0


def candidates(config: ConfigDict, chips: int, batches: Sequence[int] = ()) -> Iterator[ConfigDict]:
    """Yields the settings to judge: meshes, batches, their parts, rematerialisation.

    None alters what is learnt, unless several batch sizes are asked for.

    Args:
        config: whose other fields stay as they are.
        chips: how many the mesh must fill; `mesh.sequence` stays.
        batches: global batch sizes; empty for the config's.
    """
    left = chips // config.mesh.sequence
    for tensor in _divisors(min(left, _MOST_TENSOR)):
        if left % tensor:
            continue
        for fsdp, size in itertools.product(
            _powers(left // tensor), batches or (config.train.batch_size,)
        ):
            over = left // tensor
            if size % over:
                continue
            for parts, remat in itertools.product(_powers(size // over), REMAT_COST):
                yield config_lib.with_fields(
                    config,
                    {
                        "mesh.data": over // fsdp,
                        "mesh.fsdp": fsdp,
                        "mesh.tensor": tensor,
                        "train.batch_size": size,
                        "train.accumulation_steps": parts,
                        "model.remat": remat,
                    },
                )


def judge(study: Study, settings: Iterable[ConfigDict]) -> list[Plan]:
    """Returns the traced plans; those whose settings the model or the mesh refuses are left out."""
    plans, refusal = [], None
    for config in settings:
        try:
            plans.append(study.analytic(config))
        except UserError as error:
            refusal = error
    if not plans:
        raise refusal or UserError(
            "train.batch_size does not divide over the chips in any way; use a multiple of them"
        )
    return plans


def frontier(plans: Sequence[Plan]) -> list[Plan]:
    """Returns the plans than which no other needs less memory and less time, fastest first.

    Time is an image's; what takes over twice the fastest's is left out.
    """
    best: list[Plan] = []
    least = math.inf
    for plan in sorted(plans, key=lambda p: (_time(p), p.memory.total)):
        slow = best and _time(plan) > _SLOWEST * _time(best[0])
        if plan.memory.total < least and not slow:
            best.append(plan)
            least = plan.memory.total
    return best


def _time(plan: Plan) -> float:
    """Returns the expected seconds an image."""
    again = 1.0 if plan.compiled or plan.config.model.remat == "none" else _AGAIN
    return again / plan.images_per_second


def compile_best(study: Study, plans: Sequence[Plan], most: int) -> list[Plan]:
    """Returns compiled plans: of the traced frontier, unrolled and scanned, the fastest first.

    Args:
        study: compiles them.
        plans: traced.
        most: how many to compile.
    """
    hopeful = [plan for plan in plans if plan.memory.total <= _HOPE * plan.limit] or list(plans)
    compiled: list[Plan] = []
    for plan, scan in itertools.product(frontier(hopeful), (False, True)):
        if len(compiled) == most:
            break
        config = config_lib.with_fields(plan.config, {"model.scan": scan})
        compiled.append(study.compiled(config))
    return compiled


def _divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]


def _powers(number: int) -> list[int]:
    """Returns the powers of two that divide a number, and the number."""
    powers = [2**i for i in range(number.bit_length()) if number % 2**i == 0]
    return powers if number in powers else [*powers, number]
