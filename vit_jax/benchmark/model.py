# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Models timed, alone or beside peers: compilation, steps, images a second, MFU, memory."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vit_jax.benchmark.peers import ModelJob, Whereabouts, launches
from vit_jax.benchmark.rounds import Spread, Timing, measure, ratios


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        rounds: timed rounds of each contender.
        steps: steps in a round; only their end is waited for.
        together: alternate the contenders' rounds; otherwise one after the other.
    """

    rounds: int = 10
    steps: int = 1
    together: bool = True


def benchmark(
    job: ModelJob,
    against: Sequence[str],
    where: Whereabouts,
    effort: Effort,
    progress: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """Times vit_jax and the peers named in `against` on one job.

    Returns:
        One record a contender (see `record`), vit_jax first.
    """
    timings = measure(
        launches(job, list(against), where),
        effort.rounds,
        effort.steps,
        together=effort.together,
        progress=progress,
    )
    return [record(job, timing, timings[0]) for timing in timings]


def record(job: ModelJob, timing: Timing, ours: Timing) -> dict[str, Any]:
    """Returns what one contender showed, ready for JSON.

    FLOPs are vit_jax's count for every contender: 2 for each multiply and add of matrix products
    and convolutions, 3 x forward for a train step, whatever is recomputed. MFU divides by the peak
    of the device; where that is unknown it is None and `gflops_per_second` stands alone. `speed_up`
    is how many times as fast vit_jax is, by pairs of neighbouring rounds; None for vit_jax itself.
    `cpu_speed_up` is the same in CPU seconds, which other programs on the machine disturb less.
    """
    step = Spread.of(timing.seconds)
    flops_rate = ours.facts["flops"] / step.median
    peak = ours.facts["peak_flops"]
    return {
        "contender": timing.name,
        "job": asdict(job),
        "facts": timing.facts,
        "first_step_seconds": timing.first_step_seconds,
        "compile_seconds": timing.facts.get("compile_seconds"),
        "step_seconds": timing.seconds,
        "step_cpu_seconds": timing.cpu_seconds,
        "step_ms": {key: 1e3 * value for key, value in asdict(step).items()},
        "images_per_second": job.batch_size / step.median,
        "gflops_per_second": flops_rate / 1e9,
        "mfu": flops_rate / peak if peak else None,
        "peak_bytes": timing.facts["peak_bytes"],
        "speed_up": None if timing is ours else asdict(ratios(ours.seconds, timing.seconds)),
        "cpu_speed_up": None
        if timing is ours
        else asdict(ratios(ours.cpu_seconds, timing.cpu_seconds)),
    }
