# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""`vit-jax doctor`."""

import argparse
import dataclasses
import json
from collections.abc import Sequence

DESCRIPTION = "Say what this machine offers and what is wrong with it; status 1 if something is."
EXAMPLE = "vit-jax doctor"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace, _: Sequence[str]) -> int:
    """Looks at the machine; 1 if packages or devices are in conflict."""
    from vit_jax import doctor as doctor_lib

    facts = doctor_lib.gather()
    found = doctor_lib.conflicts(facts)
    if args.json:
        print(json.dumps({**dataclasses.asdict(facts), "conflicts": found}, indent=2))
    else:
        print(doctor_lib.report(facts))
        print("\n".join(f"conflict: {line}" for line in found) or "no conflict found")
    return 1 if found else 0
