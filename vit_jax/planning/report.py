# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Plans as text."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from vit_jax.parallel import collectives
from vit_jax.planning.memory import GIB
from vit_jax.planning.plan import Plan, describe


def describe_plan(plan: Plan) -> str:
    """Returns all that a plan knows, as lines and small tables."""
    chip = plan.machine.chip
    peak = chip.peak.flops(plan.config.model.dtype) or 0.0
    by = "compiled for the machine" if plan.compiled else "traced, nothing compiled"
    parts = [
        f"{plan.config.model.name} on {plan.machine}: {plan.machine.count} x {chip.device_kind}, "
        f"{peak / 1e12:.4g} TFLOP/s in {plan.config.model.dtype}, "
        f"{chip.memory_rate / 1e9:.4g} GB/s of memory each",
        f"{describe(plan.config, plan.sizes)}; {plan.rows} images a chip at a time; {by}",
        "",
        _memory_table(plan),
        "",
    ]
    if plan.compiled and not plan.work.bytes:
        return "\n".join([*parts, "it does not fit, so the compiler says nothing of its cost"])
    return "\n".join([*parts, _work_text(plan), "", _run_text(plan)])


def _memory_table(plan: Plan) -> str:
    names = {
        "parameters": "parameters",
        "optimiser": "gradients and optimiser",
        "batches": "batches of images",
        "activations": "activations",
        "temporaries": "temporaries",
    }
    rows = [
        (names[field.name], f"{getattr(plan.memory, field.name) / GIB:.2f}")
        for field in dataclasses.fields(plan.memory)
    ]
    fits = "fits" if plan.fits else "DOES NOT FIT"
    rows.append(("together", f"{plan.memory.total / GIB:.2f}"))
    rows.append((f"{fits} in", f"{plan.limit / GIB:.2f}"))
    return tabulate(rows, ("memory", "GiB a chip"), disable_numparse=True, stralign="right")


def _work_text(plan: Plan) -> str:
    work, floor = plan.work, plan.floor
    rows = [
        ("compute", f"{work.flops / 1e12:.4g} TFLOP", f"{floor.compute * 1e3:.1f}"),
        ("memory", f"{work.bytes / 1e9:.4g} GB", f"{floor.memory * 1e3:.1f}"),
        ("interconnect", f"{work.sent / 1e9:.4g} GB", f"{floor.interconnect * 1e3:.1f}"),
    ]
    table = tabulate(rows, ("a chip and step", "asks for", "ms at least"), disable_numparse=True)
    said = collectives.table(work.collectives) if work.collectives else "no collectives"
    estimate = (
        f"; by the compiler's estimate {work.seconds * 1e3:.1f} ms"
        if work.seconds is not None
        else ""
    )
    return "\n".join(
        [
            table,
            "",
            said,
            "",
            f"time of a step: {floor.best * 1e3:.1f} ms if all overlaps ({floor.bound} bound), "
            f"{floor.worst * 1e3:.1f} ms if nothing does{estimate}",
        ]
    )


def _run_text(plan: Plan) -> str:
    """Says what comes of it; of a trace, that knows no elementwise operation, only the limits."""
    least, most = ("at least ", "at most ") if plan.work.seconds is None else ("", "")
    by = "without overlap" if plan.work.seconds is None else "by the compiler's estimate"
    return (
        f"{by}: {most}{plan.images_per_second:,.0f} images/s, MFU {plan.mfu:.1%} "
        f"({plan.flops_per_image / 1e9:.4g} GFLOPs an image); {plan.total_steps:,} steps take "
        f"{least}{plan.days:.3g} days, {plan.chip_hours:,.0f} chip-hours, beside evaluation, "
        "checkpoints and waiting for data"
    )


def search_table(plans: Sequence[Plan], frontier: Sequence[Plan]) -> str:
    """Returns plans as a table, the fastest first; those of the frontier are marked."""
    ordered = sorted(plans, key=lambda plan: (not plan.fits, -plan.images_per_second))
    rows = [_search_row(plan, plan in frontier) for plan in ordered]
    return tabulate(rows, headers="keys", disable_numparse=True, stralign="right")


def _search_row(plan: Plan, best: bool) -> dict[str, str]:
    unknown = plan.compiled and not plan.work.bytes
    train = plan.config.train
    return {
        "": "*" if best else "",
        "mesh": " ".join(f"{axis}={n}" for axis, n in plan.sizes.items() if n > 1) or "one chip",
        "batch": f"{train.batch_size}",
        "parts": f"{train.accumulation_steps}",
        "a chip": f"{plan.rows}",
        "remat": plan.config.model.remat,
        "scan": "yes" if plan.config.model.scan else "no",
        "GiB a chip": f"{plan.memory.total / GIB:.2f}" + ("" if plan.fits else " (too much)"),
        "ms a step": "-" if unknown else f"{plan.seconds * 1e3:.1f}",
        "images/s": "-" if unknown else f"{plan.images_per_second:,.0f}",
        "MFU": "-" if unknown else f"{plan.mfu:.1%}",
        "by": "compiler" if plan.compiled else "trace",
    }


def verdict(best: Sequence[Plan]) -> str:
    """Returns what to write on the command line for the fastest plan that fits."""
    if not best:
        return "nothing of this fits; take more chips, or a smaller model"
    plan = best[0]
    train, model = plan.config.train, plan.config.model
    fields = {f"mesh.{axis}": size for axis, size in plan.sizes.items()} | {
        "train.batch_size": train.batch_size,
        "train.accumulation_steps": train.accumulation_steps,
        "model.remat": model.remat,
        "model.scan": str(model.scan).lower(),
    }
    written = " ".join(f"--config.{field}={value}" for field, value in fields.items())
    return f"* no other needs less memory and less time; the fastest:\n{written}"


def record(plan: Plan) -> dict[str, Any]:
    """Returns a plan as JSON: bytes, seconds, FLOPs."""
    train, model = plan.config.train, plan.config.model
    return {
        "topology": str(plan.machine),
        "chips": plan.machine.count,
        "model": model.name,
        "mesh": dict(plan.sizes),
        "batch_size": train.batch_size,
        "accumulation_steps": train.accumulation_steps,
        "remat": model.remat,
        "scan": model.scan,
        "compiled": plan.compiled,
        "memory": dataclasses.asdict(plan.memory),
        "memory_limit": plan.limit,
        "fits": plan.fits,
        "flops": plan.work.flops,
        "bytes": plan.work.bytes,
        "collectives": [
            {"kind": row.kind, "axes": row.axes, "bytes": row.bytes, "times": row.times}
            for row in plan.work.collectives
        ],
        "floor_seconds": dataclasses.asdict(plan.floor),
        "compiler_seconds": plan.work.seconds,
        "seconds": plan.seconds,
        "images_per_second": plan.images_per_second,
        "mfu": plan.mfu,
        "total_steps": plan.total_steps,
        "days": plan.days,
        "chip_hours": plan.chip_hours,
    }
