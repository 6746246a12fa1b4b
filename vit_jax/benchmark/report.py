# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Measurements as tables for people and as one JSON document for programs."""

import datetime
import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

import vit_jax


def _table(rows: Sequence[Mapping[str, str]]) -> str:
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True)


def _number(value: float | None, form: str, factor: float = 1.0) -> str:
    return "-" if value is None else format(factor * value, form)


def _spread(spread: Mapping[str, float] | None, form: str, factor: float = 1.0) -> str:
    """ "median (min to max)"."""
    if spread is None:
        return "-"
    median, low, high = (format(factor * spread[key], form) for key in ("median", "min", "max"))
    return f"{median} ({low} to {high})"


def model_table(records: Sequence[Mapping[str, Any]]) -> str:
    """Returns one line a model and contender; "vit_jax is" says how many times as fast it is."""
    rows = [
        {
            "model": r["job"]["model"],
            "pixels": str(r["job"]["image_size"]),
            "contender": r["contender"],
            "step ms": _spread(r["step_ms"], ".1f"),
            "images/s": _number(r["images_per_second"], ".1f"),
            "GFLOP/s": _number(r["gflops_per_second"], ".0f"),
            "MFU": _number(r["mfu"], ".1%"),
            "compile s": _number(r["compile_seconds"], ".1f"),
            "first step s": _number(r["first_step_seconds"], ".1f"),
            "peak MiB": _number(r["peak_bytes"], ".0f", 2**-20),
            "vit_jax is": _spread(r["speed_up"], ".2f") + ("" if r["speed_up"] is None else " x"),
        }
        for r in records
    ]
    return _table(rows)


def describe_job(record: Mapping[str, Any]) -> str:
    """Returns the conditions the records of a model table share, and what MFU means there."""
    job, facts = record["job"], record["facts"]
    peak = facts["peak_flops"]
    against = f"peak {peak / 1e12:.0f} TFLOP/s" if peak else "peak of the device unknown, so no MFU"
    work = "train step" if job["mode"] == "train" else "forward pass"
    optimiser = f", {job['optimiser']}" if job["mode"] == "train" else ""
    return (
        f"{work}, batch {job['batch_size']}, {job['dtype']}"
        f"{optimiser}, remat {job['remat']}, scan {job['scan']}, on one {facts['device']}\n"
        f"FLOPs of matrix products and convolutions, a train step as 3 forward passes; {against}"
    )


def startup_table(records: Sequence[Mapping[str, Any]]) -> str:
    """Returns, a model and state of the cache, the seconds to the end of the first step."""
    rows = [
        {
            "model": record["job"]["model"],
            "cache": state,
            "first step after s": _number(record[state]["median"], ".1f"),
            "compile s": _number(record[state]["compile_seconds"], ".1f"),
            "runs": str(len(record[state]["seconds"])),
        }
        for record in records
        for state in ("cold", "warm")
    ]
    return _table(rows)


def input_table(records: Sequence[Mapping[str, Any]]) -> str:
    """Returns one line a way of loading; the CPU seconds are those of all threads."""
    rows = [
        {
            "loader": r["contender"],
            "images/s": _spread(r["images_per_second"], ".0f"),
            "images a CPU second": _spread(r["images_per_cpu_second"], ".0f"),
            "CPU ms an image": _number(r["cpu_ms_per_image"], ".2f"),
            "first is": _spread(r["speed_up"], ".2f") + ("" if r["speed_up"] is None else " x"),
        }
        for r in records
    ]
    return _table(rows)


def op_table(records: Sequence[Mapping[str, Any]]) -> str:
    """Returns one line an op: the cost of everything up to it, and what it adds."""
    rows = [
        {
            "up to": r["stage"],
            "images a CPU second": _spread(r["images_per_cpu_second"], ".0f"),
            "CPU ms an image": _number(r["cpu_ms_per_image"], ".2f"),
            "added ms": _number(r["added_ms"], "+.2f"),
        }
        for r in records
    ]
    return _table(rows)


def share_table(records: Sequence[Mapping[str, Any]]) -> str:
    """Returns one line a number of processes that share each batch."""
    rows = [
        {
            "processes": str(r["processes"]),
            "images/s each": ", ".join(f"{value:.0f}" for value in r["each"]),
            "images/s together": _spread(r["images_per_second"], ".0f"),
            "of one process": f"{r['ratio']:.2f} x",
            "images a CPU second": _spread(r["images_per_cpu_second"], ".0f"),
        }
        for r in records
    ]
    return _table(rows)


def checkpoint_table(records: Sequence[Mapping[str, Any]]) -> str:
    """Returns, a model, what a save costs the loop; seconds, "median (min to max)"."""
    rows = [
        {
            "model": r["job"]["model"],
            "state GiB": _number(r["bytes"], ".2f", 2**-30),
            "step s": _spread(r["step_seconds"], ".2f"),
            "stall s": _spread(r["stall_seconds"], ".2f"),
            "written after s": _spread(r["write_seconds"], ".1f"),
            "slower steps s": _spread(r["slowing_seconds"], ".1f"),
            f"stall, every {r['every']} steps": _spread(r["stall_share"], ".3%"),
            "with slower steps": _spread(r["cost_share"], ".2%"),
            "stall below 2 %": f"every {r['shortest_every']} steps or more",
        }
        for r in records
    ]
    return _table(rows)


def environment() -> dict[str, Any]:
    """Returns what a reader needs to judge the numbers: version, machine, load, time."""
    return {
        "vit_jax": vit_jax.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpu_cores": os.cpu_count(),
        "load_average": os.getloadavg(),
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def write_json(path: str, arguments: Sequence[str], kind: str, records: Any) -> None:
    """Writes {"kind", "arguments", "environment", "records"} to `path`."""
    document = {
        "kind": kind,
        "arguments": list(arguments),
        "environment": environment(),
        "records": records,
    }
    Path(path).write_text(json.dumps(document, indent=1) + "\n")
