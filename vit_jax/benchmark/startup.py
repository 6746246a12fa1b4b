# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The time from process start to the end of the first train step, with a cold and a warm cache."""

import dataclasses
import tempfile
from collections.abc import Callable
from typing import Any

from vit_jax.benchmark.peers import ModelJob, Whereabouts, launches
from vit_jax.benchmark.process import Worker
from vit_jax.benchmark.rounds import Spread


def benchmark(
    job: ModelJob, rounds: int, progress: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """Starts the job in fresh processes: `rounds` times on an empty cache, and again on a full one.

    The seconds hold everything: the interpreter, imports, initialisation, compilation, one step.

    Returns:
        {"job", "cold", "warm"}; the last two hold "seconds", "median" and "compile_seconds".
    """
    measured: dict[str, list[tuple[float, float]]] = {"cold": [], "warm": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            (launch,) = launches(dataclasses.replace(job, cache_dir=cache), [], Whereabouts())
            for state, found in measured.items():
                with Worker(launch) as worker:
                    found.append((worker.first_step_seconds, worker.facts()["compile_seconds"]))
                progress(f"{state} cache: first step after {found[-1][0]:.1f} s")
    return {"job": dataclasses.asdict(job)} | {
        state: {
            "seconds": [first for first, _ in found],
            "median": Spread.of([first for first, _ in found]).median,
            "compile_seconds": Spread.of([compiled for _, compiled in found]).median,
        }
        for state, found in measured.items()
    }
