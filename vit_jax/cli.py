# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The `vit-jax` command: one thin function a sub-command, which imports what it needs itself."""

import argparse
import dataclasses
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

from vit_jax.errors import UserError
from vit_jax.registry import near_misses

FAILED, USER_ERROR, PREEMPTED, INTERRUPTED = 1, 2, 75, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one sub-command and returns the exit status.

    0: done. 1: the run failed (diverged, an unreadable image, a conflict). 2: the user can mend it.
    75: stopped by SIGTERM after saving; start again to go on. 130: interrupted from the keyboard.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    args, rest = build_parser(argv).parse_known_args(argv)
    logging.basicConfig(format="vit-jax: %(message)s")
    try:
        _check_rest(args, rest)
        return args.run(args, rest) or 0
    except UserError as error:
        print(f"vit-jax: error: {error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print("vit-jax: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _check_rest(args: argparse.Namespace, rest: Sequence[str]) -> None:
    """Refuses arguments nobody knows; overrides of the configuration belong to `train`."""
    unknown = [a for a in rest if not (args.command == "train" and a.startswith("--config."))]
    if unknown:
        name = unknown[0].partition("=")[0]
        hint = near_misses(name, args.options) or f"; see vit-jax {args.command} --help"
        raise UserError(f"unknown argument {unknown[0]!r}{hint}")


def build_parser(argv: Sequence[str] = ("bench",)) -> argparse.ArgumentParser:
    """Returns the parser of the whole command; the options of `bench` only if `argv` names it."""
    from vit_jax import __version__

    parser = argparse.ArgumentParser(
        prog="vit-jax", description="Train, evaluate and use vision transformers in JAX."
    )
    parser.add_argument("--version", action="version", version=f"vit-jax {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (_add_train, _add_evaluate, _add_predict, _add_models, _add_doctor):
        add(commands)
    _add_bench(commands, full="bench" in argv)
    return parser


def _command(
    commands: Any, name: str, run: Callable[..., int | None], summary: str, example: str
) -> argparse.ArgumentParser:
    """Adds a sub-command whose --help ends with an example."""
    parser = commands.add_parser(
        name,
        help=summary.partition("\n")[0],
        description=summary,
        allow_abbrev=False,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run, options=parser._option_string_actions.keys())
    return parser


# train ------------------------------------------------------------------------------------------


def _add_train(commands: Any) -> None:
    parser = _command(
        commands,
        "train",
        train,
        "Train a model by a recipe; the same command again goes on where it stopped.\n"
        "--config.SECTION.FIELD=VALUE changes a field of the recipe, as often as you like.",
        "vit-jax train --config=configs/digits.py --workdir=workdirs/digits "
        "--config.train.duration='20 epochs'",
    )
    parser.add_argument("--config", required=True, metavar="FILE[:ARGS]", help="the recipe")
    parser.add_argument("--workdir", required=True, metavar="DIR", help="where the run is kept")
    parser.add_argument(
        "--profile", metavar="START:STOP", help="write a trace of these steps to DIR/profile"
    )


def train(args: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Trains; everything that can be refused is refused before a device is touched."""
    from vit_jax import config as config_lib

    profile = _parse_profile(args.profile)
    recipe = config_lib.load(args.config)
    config = config_lib.load(args.config, overrides)
    config_lib.validate(config)
    from vit_jax.training import workdir

    workdir.check(args.workdir, config)
    # TensorFlow and JAX take seconds to import each: side by side.
    importing = threading.Thread(target=_import_tensorflow, name="import tensorflow")
    importing.start()
    from vit_jax.training import loop

    try:
        loop.train(config, args.workdir, recipe=recipe, profile=profile)
    except loop.PreemptedError as stop:
        print(f"vit-jax: {stop}; the same command goes on", file=sys.stderr)
        return PREEMPTED
    except loop.DivergedError as failure:
        print(f"vit-jax: error: {failure}", file=sys.stderr)
        return FAILED
    finally:
        importing.join()
    return 0


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


# evaluate ---------------------------------------------------------------------------------------


def _add_checkpoint(parser: argparse.ArgumentParser) -> None:
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--workdir", dest="checkpoint", metavar="DIR", help="a run: its newest step")
    where.add_argument("--checkpoint", metavar="DIR", help="a run, or one step of it")


def _add_evaluate(commands: Any) -> None:
    parser = _command(
        commands,
        "evaluate",
        evaluate,
        "Measure a trained model on a part of its data.",
        "vit-jax evaluate --workdir=workdirs/digits --split=validation",
    )
    _add_checkpoint(parser)
    parser.add_argument(
        "--split", default="test", choices=("train", "validation", "test"), help="default: test"
    )
    parser.add_argument("--source", help="other data than the run's: folder:PATH or tfds:NAME")
    parser.add_argument("--data-dir", metavar="DIR", help="where prepared data sets lie")
    parser.add_argument("--batch-size", type=int, metavar="N", help="images a step, all devices")
    parser.add_argument("--json", action="store_true", help="print JSON")


def evaluate(args: argparse.Namespace, _: Sequence[str]) -> None:
    """Evaluates a checkpoint on a split."""
    from vit_jax.evaluation import classification
    from vit_jax.parallel import distributed

    process = distributed.initialise()
    result = classification.evaluate_checkpoint(
        args.checkpoint,
        split=args.split,
        source=args.source,
        data_dir=args.data_dir,
        batch_size=args.batch_size,
    )
    if process.index == 0:
        print(json.dumps(result, indent=2) if args.json else _table([result], ".4f"))


# predict ----------------------------------------------------------------------------------------


def _add_predict(commands: Any) -> None:
    parser = _command(
        commands,
        "predict",
        predict,
        "Name what is on images.",
        "vit-jax predict --checkpoint=workdirs/digits --top=3 one.png two.jpg",
    )
    _add_checkpoint(parser)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files")
    parser.add_argument("--top", type=int, default=5, metavar="K", help="classes shown (default 5)")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="default 32")
    parser.add_argument("--json", action="store_true", help="print JSON")


def predict(args: argparse.Namespace, _: Sequence[str]) -> int:
    """Predicts the classes of image files; 1 if one of them could not be read."""
    from vit_jax.evaluation.prediction import Predictor, predict_files

    if args.top < 1 or args.batch_size < 1:
        raise UserError("--top and --batch-size must be at least 1")
    predictor = Predictor(args.checkpoint, batch_size=args.batch_size)
    predictions, failures = predict_files(predictor, args.images, top=args.top)
    rows = [
        {"image": p["image"], "class": c["name"], "probability": f"{c['probability']:.2%}"}
        for p in predictions
        for c in p["classes"]
    ]
    print(json.dumps(predictions, indent=2) if args.json else _table(rows))
    for path, reason in failures:
        print(f"vit-jax: skipped {path}: {reason}", file=sys.stderr)
    return 1 if failures else 0


# models -----------------------------------------------------------------------------------------


def _add_models(commands: Any) -> None:
    parser = _command(
        commands,
        "models",
        models,
        "List the models: parameters, forward GFLOPs (one multiply-add is two), input size.",
        "vit-jax models 'swin_*'",
    )
    parser.add_argument("pattern", nargs="?", default="*", help="shell pattern of names or aliases")
    parser.add_argument("--json", action="store_true", help="print JSON")


def models(args: argparse.Namespace, _: Sequence[str]) -> None:
    """Lists models with their sizes."""
    from vit_jax.models import list_models

    names = list_models(args.pattern)
    if not names:
        hint = near_misses(args.pattern, list_models()) or "; try: vit-jax models"
        raise UserError(f"no model matches {args.pattern!r}{hint}")
    rows = [_model_row(name) for name in names]
    print(json.dumps(rows, indent=2) if args.json else _table(rows, ".2f"))


def _model_row(name: str) -> dict[str, Any]:
    """Counts parameters and FLOPs on shapes alone; scanned, where one block is traced for all."""
    import jax
    import jax.numpy as jnp

    from vit_jax.models import create_model, model_info
    from vit_jax.planning import flops

    info, model = model_info(name), create_model(name, scan=True)
    height, width = info.image_size
    images = jax.ShapeDtypeStruct((1, height, width, 3), jnp.float32)
    params = jax.eval_shape(lambda x: model.init(jax.random.key(0), x)["params"], images)
    forward = flops.forward_flops(lambda p, x: model.apply({"params": p}, x), params, images)
    return {
        "name": name,
        "aliases": ", ".join(info.aliases),
        "family": info.family,
        "params_millions": round(sum(p.size for p in jax.tree.leaves(params)) / 1e6, 2),
        "gflops": round(forward / 1e9, 2),
        "image_size": f"{height}x{width}",
    }


# bench, doctor ----------------------------------------------------------------------------------


def _add_bench(commands: Any, full: bool) -> None:
    parser = _command(
        commands,
        "bench",
        bench,
        "Time models and the input pipeline.",
        "vit-jax bench vit_small_patch16_224 --batch-size=8",
    )
    if full:  # its choices come from the models, which take seconds to import
        from vit_jax.benchmark import command

        command.add_arguments(parser)


def bench(args: argparse.Namespace, _: Sequence[str]) -> int | None:
    """Times what the arguments say."""
    from vit_jax.benchmark import command

    return command.run(args)


def _add_doctor(commands: Any) -> None:
    parser = _command(
        commands,
        "doctor",
        doctor,
        "Say what this machine offers and what is wrong with it; status 1 if something is.",
        "vit-jax doctor",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def doctor(args: argparse.Namespace, _: Sequence[str]) -> int:
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


def _table(rows: Sequence[dict[str, Any]], float_format: str = "g") -> str:
    """Returns rows of one kind as a table with a head."""
    from tabulate import tabulate

    return tabulate(rows, headers="keys", floatfmt=float_format)
