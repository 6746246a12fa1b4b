# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""`vit-jax inspect`."""

import argparse
import contextlib
import json
import pathlib
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from vit_jax import paths
from vit_jax.commands.tables import table
from vit_jax.errors import UserError

if TYPE_CHECKING:
    from vit_jax.inspection.figures import Kind, Made
    from vit_jax.inspection.survey import Survey
    from vit_jax.training.trained import Trained

DESCRIPTION = """Draw what is inside a model: attention, positions, filters, receptive fields.
CHECKPOINT is a run, one step of it, or weights of others with --model, as `vit-jax convert` takes
them. Figures: attention, rollout, distance, features look at pictures; positions, filters, bias,
mixing, receptive do not. What a family lacks is left out. --model.FIELD=VALUE changes a field of
the spec of others' weights."""
EXAMPLE = """
  vit-jax inspect workdirs/digits docs/digits/*.png --to=inside
  vit-jax inspect workdirs/vit photos/ --to=inside --figures=attention,rollout --layers=0,5-11
  vit-jax inspect workdirs/vit --to=inside --figures=receptive --compare=workdirs/resnet
  vit-jax inspect B_16.npz cat.jpg --model=ViT-B/16 --to=inside"""
OVERRIDES = ("--model.",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", help="see above")
    add("images", nargs="*", metavar="IMAGE", help="image files, folders or quoted patterns")
    add("--to", required=True, metavar="DIR", help="where the figures and their numbers go")
    add("--figures", default="", metavar="NAME,...", help="default: all that the model has")
    add("--layers", default="", metavar="N,N-M", help="from 0; default: twelve, evenly spread")
    add(
        "--at", default="", metavar="Y,X", help="pixel of the query; default: class token or middle"
    )
    add("--foreground", action="store_true", help="features without the background, in black")
    add(
        "--compare", action="append", default=[], metavar="CHECKPOINT",
        help="another model, beside this one in the figure receptive; may be repeated",
    )  # fmt: skip
    add("--model", metavar="NAME", help="what weights of others are")
    add("--image-size", metavar="N[xM]", help="of weights of others; default: the model's")
    add("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Draws; 1 if a picture could not be read."""
    import numpy as np

    from vit_jax.inspection import figures, survey

    kinds = figures.choose([name for name in args.figures.split(",") if name])
    _check(args, {kind.name for kind in kinds})
    files = _pictures(args, {kind.name for kind in kinds})
    model = _open(args.checkpoint, args, overrides)
    pictures = survey.read_pictures(model, files)
    for path, reason in pictures.failures:
        print(f"vit-jax: skipped {path}: {reason}", file=sys.stderr)
    looked = survey.Survey(model, pictures, _layers(args.layers), _at(args.at), args.foreground)
    others = {name: _other(name, looked) for name in args.compare}

    left_out = {kind.name: reason for kind in kinds if (reason := _lacks(kind, looked))}
    if len(left_out) == len(kinds):
        name, reason = next(iter(left_out.items()))
        raise UserError(f"there is nothing to draw: {name}: {reason}")
    drawn = [kind for kind in kinds if kind.name not in left_out]
    numbers: dict[str, Any] = {"pictures": pictures.names}
    rows = []
    with _arriving(args.to, [kind.name for kind in drawn]) as draft:
        for kind in drawn:
            made = _make(kind, args.checkpoint, looked, others)
            numbers |= {f"{kind.name}/{name}": array for name, array in made.numbers.items()}
            rows.append(_save(kind, made, draft, args.to))
        np.savez_compressed(draft / "numbers.npz", **numbers)
    _say(args, rows, left_out)
    return 1 if pictures.failures else 0


# Options that only some figures heed.
_HEEDED = {
    "--at": {"attention", "receptive"},
    "--foreground": {"features"},
    "--compare": {"receptive"},
}


def _check(args: argparse.Namespace, kinds: set[str]) -> None:
    """Refuses what would have no effect, before anything is opened."""
    for option, heeding in _HEEDED.items():
        if getattr(args, option[2:]) and not heeding & kinds:
            raise UserError(
                f"{option} is for the figure {' or '.join(sorted(heeding))}; add it to --figures"
            )
    if args.compare and args.layers:
        raise UserError("--compare draws blocks of several models; leave out --layers")


def _pictures(args: argparse.Namespace, kinds: set[str]) -> list[str]:
    """Returns the files to look at: all where a mean is asked for, else those that are drawn."""
    from vit_jax.evaluation.prediction_files import find_images
    from vit_jax.inspection.survey import SHOWN

    files, others = find_images(args.images) if args.images else ([], {})
    if others:
        count = sum(others.values())
        print(f"vit-jax: left out {count} files that are no pictures by name", file=sys.stderr)
    if len(files) > SHOWN:
        print(f"vit-jax: drawn are the first {SHOWN} of {len(files)} pictures", file=sys.stderr)
    return files if "distance" in kinds else files[:SHOWN]


def _lacks(kind: "Kind", looked: "Survey") -> str:
    """Returns why a figure cannot be drawn, or ""."""
    if reason := kind.lacks(looked):
        return reason
    if not kind.needs_pictures or looked.pictures.names:
        return ""
    return "no picture could be read" if looked.pictures.failures else "no pictures were given"


@contextlib.contextmanager
def _arriving(to: str, kinds: Sequence[str]) -> Iterator[pathlib.Path]:
    """Yields a folder whose files move to `to` once all are there, in place of older ones."""
    target = pathlib.Path(paths.make_folder(to, "--to"))
    with tempfile.TemporaryDirectory(prefix=".inspect.", dir=target) as folder:
        draft = pathlib.Path(folder)
        yield draft
        for old in target.iterdir():
            if re.fullmatch(rf"({'|'.join(kinds)})(_.*)?\.png", old.name):
                old.unlink()
        for file in draft.iterdir():
            file.replace(target / file.name)


def _open(checkpoint: str, args: argparse.Namespace, overrides: Sequence[str]) -> "Trained":
    """Returns a checkpoint of ours, or weights of others as a model without a head."""
    from vit_jax.commands import convert
    from vit_jax.data import ops
    from vit_jax.models import create_model, model_info
    from vit_jax.training import start
    from vit_jax.training.trained import Trained
    from vit_jax.weights import conversion
    from vit_jax.weights.statistics import apart

    source = start.open_source(checkpoint)
    if source.trained is not None:
        given = {"--model": args.model, "--image-size": args.image_size, "--model.FIELD": overrides}
        odd = [name for name, value in given.items() if value]
        if odd:
            raise UserError(f"{odd[0]}: a checkpoint of ours is looked into as it is; leave it out")
        return source.trained
    if not args.model:
        raise UserError("--model is missing: the name of what CHECKPOINT is, see vit-jax models")
    info, changes = model_info(args.model), convert.spec_changes(args, overrides)
    model = create_model(info.name, 0, **changes)
    loaded = conversion.load(source, model)
    print(f"{checkpoint}: {loaded}", file=sys.stderr)
    config = convert.model_config(info, model, changes)
    params, model_state = apart(loaded.params)
    return Trained(
        step=0,
        model=model,
        params=params,
        model_state=model_state,
        ops=ops.parse(config.data.eval_ops),
        class_names=(),
        config=config,
    )


def _layers(text: str) -> list[int]:
    """Returns "0,5-7" as numbers."""
    found: list[int] = []
    for part in filter(None, text.split(",")):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if not match:
            raise UserError(f"--layers={text!r}: {part!r} is no layer; write 0,3,8-11")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UserError(f"--layers={text!r}: {part!r} runs backwards; write {last}-{first}")
        found += range(first, last + 1)
    return found


def _at(text: str) -> tuple[int, int] | None:
    """Returns "112,80" as (y, x)."""
    match = re.fullmatch(r"(\d+),(\d+)", text)
    if text and not match:
        raise UserError(f"--at={text!r} is no pixel; write Y,X such as 112,80")
    return (int(match[1]), int(match[2])) if match else None


def _other(checkpoint: str, looked: "Survey") -> "Survey":
    """Returns a model to compare with, at the same place."""
    from vit_jax.inspection.survey import Survey, no_pictures
    from vit_jax.training import trained

    run = trained.load(checkpoint)
    if run.ops.image_size != looked.size:
        raise UserError(
            f"--compare={checkpoint}: its pictures have {run.ops.image_size} pixels, those of the "
            f"first {looked.size}; compare models of one size"
        )
    return Survey(run, no_pictures(run), (), looked.at)


def _make(kind: "Kind", name: str, looked: "Survey", others: "dict[str, Survey]") -> "Made":
    from vit_jax.inspection import figures

    if kind.name == "receptive" and others:
        return figures.compare_fields(_named({name: looked, **others}))
    return kind.make(looked)


def _named(surveys: "dict[str, Survey]") -> "dict[str, Survey]":
    """Returns them by the last part of their paths, where these differ."""
    short = {pathlib.Path(path).name: survey for path, survey in surveys.items()}
    return short if len(short) == len(surveys) else surveys


def _save(kind: "Kind", made: "Made", draft: pathlib.Path, to: str) -> dict[str, str]:
    """Writes the pictures of a kind; returns its row of the table."""
    from vit_jax import pictures

    names = [f"{kind.name}{end}.png" for end in made.pictures]
    for name, figure in zip(names, made.pictures.values(), strict=True):
        pictures.save(figure, draft / name)
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    file = f"{pathlib.Path(to) / names[0]}{more}"
    return {"figure": kind.name, "file": file, "shows": kind.shows}


def _say(args: argparse.Namespace, rows: list[Any], left_out: dict[str, str]) -> None:
    if args.json:
        print(json.dumps({"figures": rows, "left_out": left_out}, indent=2))
        return
    print(table(rows))
    print(f"{args.to}/numbers.npz: the numbers behind them")
    for name, reason in left_out.items():
        print(f"left out: {name}: {reason}")
