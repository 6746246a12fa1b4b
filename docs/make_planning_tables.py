# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Writes the tables of docs/planning.md, each from the plans of `vit-jax plan`.

Command: python docs/make_planning_tables.py [TABLE ...]   (needs libtpu; takes hours of two cores)

A plan that is in the folder of plans already is not made again.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pages
from tabulate import tabulate

PLANS = pathlib.Path(os.environ.get("PLANS", "workdirs/plans"))
GIB = 2**30

SAME = (  # as the peer was measured: 1000 classes, softmax, no mixing
    "--classes=1000",
    "--config.objective.name=softmax_cross_entropy",
    "--config.mixing.mixup_alpha=0.0",
)
LOOP = ("--config.model.scan=true", "--config.model.remat=full")
# Shape of ViT-22B (arXiv 2302.05442, table 1).
VIT_22B = tuple(
    f"--config.model.overrides.{field}={value}"
    for field, value in {
        "width": 6144,
        "depth": 48,
        "num_heads": 48,
        "mlp_dim": 24576,
        "qk_norm": "true",
    }.items()
)


def recipe(model: str) -> str:
    """Returns the recipe of every plan, for a model."""
    return f"--config=configs/vit_i21k.py:model={model}"


def plan(name: str, *arguments: str) -> dict[str, Any]:
    """Returns a plan, made by the command unless it is there."""
    path = PLANS / f"{name}.json"
    if not path.exists():
        PLANS.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "vit_jax", "plan", *arguments, f"--json={path}"]
        print(" ".join(["vit-jax", *command[3:]]), file=sys.stderr, flush=True)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return json.loads(path.read_text())[0]


def gib(found: dict[str, Any]) -> str:
    """Returns the memory of a plan in GiB."""
    return f"{sum(found['memory'].values()) / GIB:.2f}"


def anchors() -> tuple[Sequence[str], list[tuple]]:
    """Our step on the cases a peer was measured on with the same compiler.

    Of its L/16 the compiler says 90.6 ms; `planning.loops` finds 12.0 more in the program's loops.
    """
    cases = (
        ("B/16", "vit_base_patch16_224", "v5p:2x2x1", 64, False, "4.31", "32.0"),
        ("B/16", "vit_base_patch16_224", "v5p:2x2x1", 64, True, "2.60", "-"),
        ("L/16", "vit_large_patch16_224", "v5p:2x2x2", 64, False, "13.74", "102.6"),
        ("g/14", "vit_giant_patch14_224", "v5p:4x4x4", 32, True, "19.43", "-"),
    )
    rows = []
    for short, model, machine, images, loop, memory, time in cases:
        name = f"{model}_{machine.replace(':', '_')}_{'loop' if loop else 'unrolled'}"
        found = plan(
            name,
            recipe(model),
            f"--topology={machine}",
            f"--images-per-chip={images}",
            "--config.mesh.data=1",
            "--config.mesh.fsdp=-1",
            *SAME,
            *(LOOP if loop else ()),
        )
        ms = f"{found['seconds'] * 1e3:.1f}"
        kept = "scan, full" if loop else "-"
        row = (short, machine, images, kept, memory, gib(found), time, ms)
        rows.append((*row, f"{found['flops'] / 1e12:.2f}", f"{found['bytes'] / 1e9:.0f}"))
    return (
        "model",
        "topology",
        "images a chip",
        "scan, remat",
        "GiB: big_vision",
        "GiB: ours",
        "ms: big_vision",
        "ms: ours",
        "TFLOP",
        "GB moved",
    ), rows


def large() -> tuple[Sequence[str], list[tuple]]:
    """Where ViT-G/14 and a model of 22 billion parameters fit."""
    giant = ("vit_gigantic_patch14_224", ())
    huge = ("vit_giant_patch14_224", VIT_22B)
    cases = (
        ("G/14, 1.8 B", *giant, "v5p:2x2x4", 64, {"fsdp": 16}),
        ("G/14, 1.8 B", *giant, "v6e:4x4", 32, {"fsdp": 16}),
        ("22B", *huge, "v5p:4x4x4", 16, {"fsdp": 64}),
        ("22B", *huge, "v6e:8x8", 8, {"fsdp": 64}),
    )
    rows = []
    for short, model, more, machine, images, mesh in cases:
        axes = [f"--config.mesh.{axis}={size}" for axis, size in {"data": 1, **mesh}.items()]
        found = plan(
            f"{short.split(',')[0].replace('/', '')}_{machine.replace(':', '_')}",
            recipe(model),
            f"--topology={machine}",
            f"--images-per-chip={images}",
            *axes,
            *more,
            *LOOP,
        )
        rows.append((short, machine, _mesh(found), images, *_outcome(found)))
    heads = ("model", "topology", "mesh", "images a chip", *OUTCOME)
    return heads, rows


def scaling() -> tuple[Sequence[str], list[tuple]]:
    """ViT-L/16 on more and more chips, each with as many images as before."""
    shapes = ("2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8")
    rows = []
    for shape in shapes:
        found = plan(
            f"weak_{shape}",
            recipe("vit_large_patch16_224"),
            f"--topology=v5p:{shape}",
            "--images-per-chip=64",
            "--config.mesh.data=1",
            "--config.mesh.fsdp=-1",
            "--config.model.scan=true",
        )
        sent = sum(row["bytes"] * row["times"] for row in found["collectives"])
        first = rows[0][3] if rows else found["seconds"]
        sending = found["floor_seconds"]["interconnect"]
        rows.append((found["chips"], shape, gib(found), found["seconds"], sent, sending, first))
    table = [
        (
            chips,
            f"v5p:{shape}",
            memory,
            f"{seconds * 1e3:.1f}",
            f"{sent / 1e9:.2f}",
            f"{sending * 1e3:.1f}",
            f"{chips * 64 / seconds:,.0f}",
            f"{first / seconds:.1%}",
        )
        for chips, shape, memory, seconds, sent, sending, first in rows
    ]
    heads = ("chips", "topology", "GiB a chip", "ms a step", "GB sent a chip", "ms of sending")
    return (*heads, "images/s", "of the images/s a chip at 8"), table


OUTCOME = ("GiB a chip", "of", "fits", "ms a step", "images/s", "MFU")


def _outcome(found: dict[str, Any]) -> tuple[str, ...]:
    fits = "yes" if found["fits"] else "no"
    limit = f"{found['memory_limit'] / GIB:.1f}"
    if not found["bytes"]:
        return gib(found), limit, fits, "-", "-", "-"
    rate = f"{found['images_per_second']:,.0f}"
    return gib(found), limit, fits, f"{found['seconds'] * 1e3:.1f}", rate, f"{found['mfu']:.1%}"


def _mesh(found: dict[str, Any]) -> str:
    return " ".join(f"{axis} {size}" for axis, size in found["mesh"].items() if size > 1)


TABLES: dict[str, Callable[[], tuple[Sequence[str], list[tuple]]]] = {
    "anchors": anchors,
    "large": large,
    "scaling": scaling,
}


def main() -> None:
    """Makes the plans of the tables asked for, and puts the tables into the page."""
    for name in sys.argv[1:] or TABLES:
        heads, rows = TABLES[name]()
        table = tabulate(rows, heads, tablefmt="github", disable_numparse=True)
        table = re.sub(r"(?<= ) +|(?<=---)-+", "", table)  # a row is no wider than what it says
        pages.put("planning.md", name, table)
        print(table)


if __name__ == "__main__":
    main()
