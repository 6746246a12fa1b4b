# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Contenders in turns, and what the turns say: medians, extremes, and ratios pair by pair.

A machine's speed drifts. Contenders that run A B A B ... meet the same drift, so the ratio of
neighbouring rounds is steadier than the ratio of two medians taken minutes apart.
"""

import concurrent.futures
import contextlib
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vit_jax.benchmark.process import Launch, Worker


@dataclass(frozen=True)
class Spread:
    """The median and the extremes of a series."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Returns the spread of a series of at least one value."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Timing:
    """What one contender showed.

    Attributes:
        name: the contender.
        steps: how many steps a round holds.
        seconds: wall seconds a step, one value a round.
        cpu_seconds: CPU seconds a step over all threads, one value a round.
        first_step_seconds: from the start of its process to the end of the first step.
        facts: what it tells of itself.
    """

    name: str
    steps: int
    seconds: list[float]
    cpu_seconds: list[float]
    first_step_seconds: float
    facts: dict[str, Any]


def ratios(ours: Sequence[float], peer: Sequence[float]) -> Spread:
    """Returns peer / ours of every pair of rounds: over 1 where ours took less."""
    return Spread.of([b / a for a, b in zip(ours, peer, strict=True)])


def measure(
    launches: Sequence[Launch],
    rounds: int,
    steps: int,
    warmup: int = 1,
    together: bool = True,
    progress: Callable[[str], None] = lambda line: None,
) -> list[Timing]:
    """Times every contender in its own process.

    Args:
        launches: the contenders.
        rounds: timed rounds of each.
        steps: steps in a round; only their end is waited for.
        warmup: rounds that are not counted, after the first step.
        together: True keeps all processes alive and alternates their rounds; False runs one
            contender after the other, for devices that only one process can hold.
        progress: is told what happens, a line at a time.

    Returns:
        One timing a contender, in order.
    """
    groups = [launches] if together else [[launch] for launch in launches]
    return [t for group in groups for t in _measure_group(group, rounds, steps, warmup, progress)]


def _measure_group(
    launches: Sequence[Launch],
    rounds: int,
    steps: int,
    warmup: int,
    progress: Callable[[str], None],
) -> list[Timing]:
    with contextlib.ExitStack() as stack:
        workers = []
        for launch in launches:
            workers.append(stack.enter_context(Worker(launch)))
            progress(f"{launch.name}: first step after {workers[-1].first_step_seconds:.1f} s")
        results: list[list[dict[str, float]]] = [[] for _ in workers]
        for count in range(warmup + rounds):
            for worker, result in zip(workers, results, strict=True):
                measured = worker.run(steps)
                if count >= warmup:
                    result.append(measured)
            progress(f"round {count + 1 - warmup} of {rounds}" if count >= warmup else "warming up")
        return [_timing(w, result, steps) for w, result in zip(workers, results, strict=True)]


def measure_at_once(
    launches: Sequence[Launch], rounds: int, steps: int, warmup: int = 1
) -> list[Timing]:
    """Times contenders that work at the same time: every round begins for all of them at once.

    Args:
        launches: the contenders, each in its own process.
        rounds: timed rounds of each.
        steps: steps in a round; only their end is waited for.
        warmup: rounds that are not counted, after the first step.

    Returns:
        One timing a contender, in order.
    """
    with contextlib.ExitStack() as stack:
        threads = stack.enter_context(concurrent.futures.ThreadPoolExecutor(len(launches)))
        workers = [stack.enter_context(worker) for worker in threads.map(Worker, launches)]
        turns = [
            list(threads.map(lambda worker: worker.run(steps), workers))
            for _ in range(warmup + rounds)
        ]
        results = list(zip(*turns[warmup:], strict=True))
        return [_timing(w, result, steps) for w, result in zip(workers, results, strict=True)]


def _timing(worker: Worker, results: Sequence[dict[str, float]], steps: int) -> Timing:
    return Timing(
        name=worker.launch.name,
        steps=steps,
        seconds=[r["seconds"] / steps for r in results],
        cpu_seconds=[r["cpu_seconds"] / steps for r in results],
        first_step_seconds=worker.first_step_seconds,
        facts=worker.facts(),
    )
