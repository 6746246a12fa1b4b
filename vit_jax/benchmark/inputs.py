# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The input pipeline timed as a whole, op by op, in both orders, and beside a PIL loader.

The figure to compare is images a CPU second, over all threads: it does not depend on how many cores
the machine has or how busy they are.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vit_jax.benchmark.process import Launch
from vit_jax.benchmark.rounds import Spread, Timing, measure, measure_at_once, ratios
from vit_jax.data import ops as ops_lib
from vit_jax.data.sources import create_source
from vit_jax.errors import UserError
from vit_jax.registry import near_misses

DEFAULT_OPS = "decode|inception_crop(224)|flip|normalise(imagenet)"
LOADERS = ("pil",)


@dataclass(frozen=True)
class InputJob:
    """What is loaded.

    Attributes:
        source, split, ops, batch_size, threads, data_dir: as `vit_jax.data` takes them; "" is no
            `data_dir`.
        stage: the leading part of `ops` that is run, ending in a batch of single pixels; "read" for
            none of them; "whole" for the pipeline as training uses it.
        order: "random", as in training, or "sequential".
        process, processes: which of so many processes that share each batch this is.
    """

    source: str
    split: str = "train"
    ops: str = DEFAULT_OPS
    batch_size: int = 64
    threads: int = 0
    data_dir: str = ""
    stage: str = "whole"
    order: str = "random"
    process: int = 0
    processes: int = 1


def stages(ops: ops_lib.Ops) -> list[tuple[str, str]]:
    """Returns (name, stage) pairs: reading alone, each leading part of the host's ops, batching."""
    host = [op for op in ops.ops if not op.on_device]
    leading = [
        (f"+ {op.name}", "|".join(part.spec for part in host[: i + 1])) for i, op in enumerate(host)
    ]
    return [("read", "read"), *leading, ("+ batch", "whole")]


def launch(job: InputJob) -> Launch:
    """Returns how to start vit_jax's pipeline on a job."""
    return Launch(f"vit_jax, {job.order}", "vit_jax_input.py", asdict(job))


def pil_launch(job: InputJob, image_size: int) -> Launch:
    """Returns how to start the loader written with PIL on the job's source."""
    return Launch("pil", "pil_input.py", asdict(job) | {"image_size": image_size})


def benchmark(
    job: InputJob,
    against: Sequence[str],
    rounds: int,
    steps: int,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, list[dict[str, Any]]]:
    """Times the pipeline and the peers, then the pipeline's parts.

    Args:
        job: its `stage` and `order` are set here.
        against: names out of `LOADERS`.
        rounds: timed rounds of each contender.
        steps: batches in a round.

    Returns:
        {"loaders": [...], "ops": [...]}, see `record`; "ops" has "stage", "ops" (the ops up to
        there) and "added_ms" besides.

    Raises:
        UserError: an unknown loader, source or op, or a source that PIL cannot read.
    """
    ops = ops_lib.parse(job.ops)
    height, _ = ops.image_size
    _check_loaders(job, against)
    loaders = [launch(job), launch(_with(job, order="sequential"))]
    loaders += [pil_launch(job, height) for _ in against]
    timings = measure(loaders, rounds, steps, progress=progress)
    parts = stages(ops)
    timed_parts = measure(
        [launch(_with(job, stage=stage)) for _, stage in parts],
        rounds,
        steps,
        progress=progress,
    )
    return {
        "loaders": [record(job, timing, timings[0]) for timing in timings],
        "ops": _increments(job, parts, timed_parts),
    }


def record(job: InputJob, timing: Timing, ours: Timing) -> dict[str, Any]:
    """Returns what one loader showed, ready for JSON.

    `speed_up` is how many times as many images a CPU second `ours` loads, from pairs of
    neighbouring rounds; it is None for `ours` itself.
    """
    per_cpu_second = Spread.of([job.batch_size / s for s in timing.cpu_seconds])
    return {
        "contender": timing.name,
        "images_per_second": asdict(Spread.of([job.batch_size / s for s in timing.seconds])),
        "images_per_cpu_second": asdict(per_cpu_second),
        "cpu_ms_per_image": 1e3 / per_cpu_second.median,
        "speed_up": None
        if timing is ours
        else asdict(ratios(ours.cpu_seconds, timing.cpu_seconds)),
        "facts": timing.facts,
    }


def share(
    job: InputJob,
    processes: int,
    rounds: int,
    steps: int,
    progress: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """Times 1, 2, ... processes that share each batch, as the hosts of a pod do.

    The processes of a group work at the same time, each on its rows of the same batches. Here they
    share one machine: unless `threads` says how many each has, they share its cores evenly.

    Args:
        job: what is loaded.
        processes: of the largest group; they double from 1 up to it.
        rounds: timed rounds of each group.
        steps: batches in a round.

    Returns:
        A record a group: "processes", "images_per_second" of all together (a spread), "each" (that
        of every process), "ratio" to one process, and "images_per_cpu_second".

    Raises:
        UserError: the batch has fewer rows than there are processes, or there is no such source.
    """
    if not 1 <= processes <= job.batch_size:
        raise UserError(
            f"--processes={processes} must be from 1 to the rows of a batch, {job.batch_size}"
        )
    create_source(job.source, job.split, job.data_dir or None)
    sizes = [size for size in (2**i for i in range(32)) if size < processes] + [processes]
    records = []
    for size in sizes:
        progress(f"{size} process{'es' if size > 1 else ''}")
        threads = job.threads or max(1, (os.cpu_count() or 1) // size)
        group = [
            launch(_with(job, process=i, processes=size, threads=threads)) for i in range(size)
        ]
        timings = measure_at_once(group, rounds, steps)
        records.append(_group_record(job, timings))
    alone = records[0]["images_per_second"]["median"]
    for found in records:
        found["ratio"] = found["images_per_second"]["median"] / alone
    return records


def _group_record(job: InputJob, timings: Sequence[Timing]) -> dict[str, Any]:
    rows = [len(part) for part in np.array_split(np.arange(job.batch_size), len(timings))]
    rounds = range(len(timings[0].seconds))
    # A batch is there when the slowest has its part.
    together = [job.batch_size / max(t.seconds[i] for t in timings) for i in rounds]
    per_cpu = [job.batch_size / sum(t.cpu_seconds[i] for t in timings) for i in rounds]
    each = [
        Spread.of([n / seconds for seconds in timing.seconds]).median
        for n, timing in zip(rows, timings, strict=True)
    ]
    return {
        "processes": len(timings),
        "images_per_second": asdict(Spread.of(together)),
        "each": each,
        "images_per_cpu_second": asdict(Spread.of(per_cpu)),
    }


def _increments(
    job: InputJob, parts: Sequence[tuple[str, str]], timings: Sequence[Timing]
) -> list[dict[str, Any]]:
    """Returns a record a stage; `added_ms` is what it costs an image more than the stage before."""
    records: list[dict[str, Any]] = []
    for (name, text), timing in zip(parts, timings, strict=True):
        found = record(job, timing, timing)
        before = records[-1]["cpu_ms_per_image"] if records else 0.0
        added = found["cpu_ms_per_image"] - before
        records.append(found | {"stage": name, "ops": text, "added_ms": added})
    return records


def _with(job: InputJob, **changes: str | int) -> InputJob:
    return InputJob(**asdict(job) | changes)


def _check_loaders(job: InputJob, against: Sequence[str]) -> None:
    for name in against:
        if name not in LOADERS:
            hint = near_misses(name, LOADERS) or f"; known: {', '.join(LOADERS)}"
            raise UserError(f"unknown loader {name!r} in --against{hint}")
    source = create_source(job.source, job.split, job.data_dir or None)
    if against and not source.encoded:
        raise UserError(f"--against=pil needs image files; {job.source!r} holds arrays")
