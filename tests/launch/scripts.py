# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What the tests of launch/ share: running its scripts, and comparing with what was kept."""

import os
import pathlib
import subprocess
import sys

from vit_jax import exits

ROOT = pathlib.Path(__file__).parents[2]
LAUNCH = ROOT / "launch"
GOLDEN = pathlib.Path(__file__).with_name("golden")
COMMAND = ("--", "vit-jax", "train", "--config=configs/digits.py", "--workdir=gs://BUCKET/d")
NEVER_AGAIN = exits.never_again()
AGAIN = [status for row in exits.TABLE if row.again != exits.NO for status in row.statuses]


def run(script, *arguments, env=None, check=False):
    """Runs a script of launch/ from the repository's root, outside any cluster."""
    path = f"launch/{script}"
    command = [sys.executable, path] if script.endswith(".py") else ["bash", path]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "VIT_JAX_"))}
    return subprocess.run(
        [*command, *arguments],
        cwd=ROOT,
        env={**kept, "TMPDIR": "TMPDIR", **(env or {})},
        capture_output=True,
        text=True,
        timeout=300,
        check=check,
    )


def program(folder, name, text):
    """Writes a shell script that stands in for a program."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


def with_programs(folder, **more):
    """Returns variables by which a shell finds the programs of a folder before all others."""
    return {"PATH": f"{folder}:{os.environ['PATH']}", **more}
