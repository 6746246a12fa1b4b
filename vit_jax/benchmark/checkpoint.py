# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What saving costs a run: how long the loop stands still, and how steps go on while it writes.

A round is some steps in peace, a save of the whole train state, and steps until it is sealed. The
loop stands still from the call of `Checkpointer.save` to its return. On a CPU nothing is copied in
that time: the arrays stay as they are for the writer, and the next step gets new memory. So what
the steps until the seal took longer than in peace is added up too.
"""

import dataclasses
import math
import os
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax

from vit_jax.benchmark.contenders import vit_jax_model
from vit_jax.benchmark.contenders.jax_program import Program, synthetic_batch
from vit_jax.benchmark.peers import ModelJob
from vit_jax.benchmark.rounds import Spread
from vit_jax.models import create_model
from vit_jax.training.checkpoint import Checkpointer

ALLOWED = 0.02  # the share of its time that a run may stand still for checkpoints


def benchmark(
    job: ModelJob,
    folder: str | os.PathLike,
    rounds: int,
    steps: int,
    every: int,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Trains, and saves once a round.

    Args:
        job: mode "train".
        folder: where the checkpoints go; the last one stays.
        rounds: how often a save is timed.
        steps: in peace, a round.
        every: steps between two saves of the run that is spoken of.
        progress: gets a line a round.

    Returns:
        {"job", "bytes", "every", "step_seconds", "stall_seconds", "slowing_seconds",
        "write_seconds", "stall_share", "cost_share", "shortest_every"}; the seconds are `Spread`s a
        save, of slowing over all steps until the seal. The shares are those of a run's time,
        "cost_share" of stall and slowing; "shortest_every" is the number of steps between saves
        from which on the stall is below `ALLOWED`.
    """
    names = ("step_seconds", "stall_seconds", "slowing_seconds", "write_seconds")
    found: dict[str, list[float]] = {name: [] for name in names}
    program = _program(job)
    program.run(1)
    with Checkpointer(folder, keep_last=1) as checkpointer:
        for number in range(rounds):
            measured = _round(program, checkpointer, steps)
            for name, value in measured.items():
                found[name].append(value)
            progress(f"save {number + 1}: the loop stood still {measured['stall_seconds']:.2f} s")
    found |= {"stall_share": [], "cost_share": []}
    for step, stall, slowing, _ in zip(*(found[name] for name in names), strict=True):
        cost = stall + max(slowing, 0.0)
        found["stall_share"].append(stall / (every * step + cost))
        found["cost_share"].append(cost / (every * step + cost))
    spreads = {name: Spread.of(values) for name, values in found.items()}
    shortest = spreads["stall_seconds"].median / ALLOWED / spreads["step_seconds"].median
    return {
        "job": dataclasses.asdict(job),
        "bytes": sum(leaf.nbytes for leaf in jax.tree.leaves(program.state)),
        "every": every,
        **{name: dataclasses.asdict(spread) for name, spread in spreads.items()},
        "shortest_every": math.ceil(shortest),
    }


def _program(job: ModelJob) -> Program:
    asked = SimpleNamespace(**dataclasses.asdict(job))
    model = create_model(
        job.model,
        num_classes=job.num_classes,
        dtype=job.dtype,
        remat=job.remat,
        scan=job.scan,
        image_size=job.image_size,
    )
    step, state = vit_jax_model.training(asked, model)
    return Program(step, state, synthetic_batch(asked))


def _round(program: Program, checkpointer: Checkpointer, steps: int) -> dict[str, float]:
    seconds = _seconds(lambda: program.run(steps)) / steps
    number, begun = int(program.state.step), time.perf_counter()
    stall = _seconds(lambda: checkpointer.save(program.state, {}))
    meanwhile = []
    while number not in checkpointer.steps():
        meanwhile.append(_seconds(lambda: program.run(1)))
    wrote = time.perf_counter() - begun
    checkpointer.wait()
    return {
        "step_seconds": seconds,
        "stall_seconds": stall,
        "slowing_seconds": sum(meanwhile) - len(meanwhile) * seconds,
        "write_seconds": wrote,
    }


def _seconds(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
