# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""`vit-jax train`."""

import argparse
import sys
import threading
from collections.abc import Sequence

from vit_jax import exits
from vit_jax.errors import UserError

DESCRIPTION = """Train a model by a recipe; the same command again goes on where it stopped.
--config.SECTION.FIELD=VALUE changes a field of the recipe, as often as you like."""
EXAMPLE = (
    "vit-jax train --config=configs/digits.py --workdir=workdirs/digits "
    "--config.train.duration='20 epochs'"
)
OVERRIDES = ("--config.",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("--config", required=True, metavar="FILE[:ARGS]", help="the recipe")
    parser.add_argument("--workdir", required=True, metavar="DIR", help="where the run is kept")
    parser.add_argument(
        "--profile", metavar="START:STOP", help="write a trace of these steps to DIR/profile"
    )
    parser.add_argument(
        "--xla-preset",
        default="none",
        metavar="KIND",
        help="compiler flags for v4, v5e, v5p, v6e, a100, h100, h200 or b200; default: none",
    )
    many = parser.add_argument_group("several processes, where the environment does not tell")
    many.add_argument("--coordinator", default="", metavar="HOST:PORT", help="of process 0")
    many.add_argument("--num-processes", type=int, metavar="N", help="how many there are")
    many.add_argument("--process-id", type=int, metavar="I", help="which this is, from 0")
    many.add_argument(
        "--heartbeat-seconds",
        type=int,
        default=60,
        metavar="N",
        help="how long a process may be silent before the others end; default: 60",
    )


def run(args: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Trains; everything that can be refused is refused before a device is touched."""
    from vit_jax import config as config_lib
    from vit_jax.parallel import xla_flags

    profile = _parse_profile(args.profile)
    xla_flags.apply(args.xla_preset)
    recipe = config_lib.load(args.config)
    config = config_lib.load(args.config, overrides)
    config_lib.validate(config)
    from vit_jax.training import workdir

    workdir.check(args.workdir, config)
    # TensorFlow and JAX take seconds to import each: side by side.
    importing = threading.Thread(target=_import_tensorflow, name="import tensorflow")
    importing.start()
    from vit_jax.parallel import peers
    from vit_jax.training import loop, storage

    try:
        _join(args)
        with peers.Together(agreed=(loop.PreemptedError,)), storage.explained(args.workdir):
            loop.train(config, args.workdir, recipe=recipe, profile=profile)
    except loop.PreemptedError as stop:
        print(f"vit-jax: {stop}; the same command goes on", file=sys.stderr)
        return exits.PREEMPTED
    except loop.DivergedError as failure:
        print(f"vit-jax: error: {failure}", file=sys.stderr)
        return exits.FAILED
    finally:
        importing.join()
    return exits.DONE


def _join(args: argparse.Namespace) -> None:
    import jax

    from vit_jax.parallel import distributed, xla_flags

    flags = distributed.Flags(args.coordinator, args.num_processes, args.process_id)
    if args.heartbeat_seconds < 2:
        raise UserError(f"--heartbeat-seconds={args.heartbeat_seconds} must be at least 2")
    distributed.initialise(flags, args.heartbeat_seconds)
    xla_flags.check(args.xla_preset, jax.devices()[0].device_kind)


def _import_tensorflow() -> None:
    from vit_jax.data.tensorflow import import_tensorflow

    import_tensorflow()


def _parse_profile(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    start, _, stop = text.partition(":")
    if not (start.isdecimal() and stop.isdecimal() and int(start) < int(stop)):
        raise UserError(f"--profile: {text!r} is not START:STOP; write two steps, like 10:15")
    return int(start), int(stop)
