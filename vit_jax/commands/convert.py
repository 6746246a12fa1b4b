# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""`vit-jax convert`: other projects' weights become a checkpoint of ours, and the other way."""

import argparse
import pathlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vit_jax.errors import UserError

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from vit_jax.models import ModelInfo
    from vit_jax.weights.sources import Source

DESCRIPTION = """Turn weights of timm, transformers, vision_transformer, big_vision, Swin or DeiT
into a checkpoint that evaluate, predict and train take, or into one another; or a checkpoint into
theirs.
SOURCE is a file (.safetensors, .npz, .pth), a folder of transformers, a checkpoint of ours,
hf:ORG/NAME or timm:NAME. Every tensor that is resized, made anew or left out is named.
--model.FIELD=VALUE changes a field of the model's spec."""
EXAMPLE = """
  vit-jax convert vit.safetensors --model=vit_base_patch16_224 --to=workdirs/vit
  vit-jax convert timm:mixer_b16_224.goog_in21k_ft_in1k --model=Mixer-B/16 --to=mixer
  vit-jax convert B_16.npz --model=ViT-B/16 --image-size=384 --num-classes=0 --to=vit384
  vit-jax convert workdirs/flowers --to=flowers.safetensors --check
  vit-jax convert workdirs/flowers --to=flowers --layout=transformers"""
OVERRIDES = ("--model.",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add = parser.add_argument
    add("source", metavar="SOURCE", help="where the weights are, see above")
    add(
        "--to",
        required=True,
        metavar="DIR|FILE",
        help="a checkpoint, or .safetensors, .npz",
    )
    add("--model", metavar="NAME", help="what SOURCE is; a checkpoint of ours knows")
    add("--from", dest="from_layout", default="", metavar="LAYOUT", help="default: found by names")
    add("--layout", default="", help="names in the target: timm, official, transformers, ...")
    add("--num-classes", type=int, metavar="N", help="default: the source's; 0 for no head")
    add("--image-size", metavar="N[xM]", help="pixels, or height x width; default: the model's")
    add("--grid", metavar="NxM", help="patches the source's positions cover, if not a square")
    add("--classes", metavar="FILE", help="names of the classes, one a line; or: imagenet")
    add(
        "--initialise", action="append", default=[], metavar="PATTERN",
        help="paths of ours that start anew, such as 'pool/.*'",
    )  # fmt: skip
    add(
        "--ignore", action="append", default=[], metavar="PATTERN",
        help="tensors of the source that are left out, such as 'vit.pooler.*'",
    )  # fmt: skip
    add("--check", action="store_true", help="compare logits with timm or transformers (torch)")


def run(args: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Converts; everything that can be refused is refused before anything is written."""
    from vit_jax.training import start
    from vit_jax.weights import conversion, files

    target = pathlib.Path(args.to)
    ours = not args.layout and target.suffix not in files.READERS
    if ours:
        files.check_new(target)
    else:
        conversion.check_layout(target, args.layout)
    source = start.open_source(args.source, print)
    if source.trained is None:
        _bring_in(args, overrides, source, None if ours else args.layout)
    elif ours:
        raise UserError(
            f"{args.source} is a checkpoint of ours already; write --to=FILE.safetensors, "
            "--to=FILE.npz or --layout=transformers"
        )
    else:
        _take_out(args, overrides, source)


def _bring_in(
    args: argparse.Namespace, overrides: Sequence[str], source: "Source", layout: str | None
) -> None:
    """Fits a source of others to a model, and writes it: `layout` None for a checkpoint of ours."""
    from vit_jax.models import create_model, model_info
    from vit_jax.weights import conversion

    if not args.model:
        raise UserError("--model is missing: the name of what SOURCE is, see vit-jax models")
    info = model_info(args.model)
    changes = spec_changes(args, overrides)
    num_classes = _num_classes(args, source, create_model(info.name, **changes))
    model = create_model(info.name, num_classes, **changes)
    names = _class_names(args, source, num_classes)
    options = conversion.Options(
        args.from_layout,
        tuple(args.initialise),
        tuple(args.ignore),
        parse_sides(args.grid, "--grid"),
    )
    loaded = conversion.load(source, model, options)
    print(f"{args.source}: {loaded}")
    if args.check:
        if loaded.report.resized or loaded.report.initialised:
            raise UserError("--check compares what SOURCE is: leave out what changes its size")
        _check(source, loaded.layout, model, loaded.params)
    if layout is not None:
        conversion.save_weights(loaded.params, model, args.to, layout, names)
    else:
        _save_checkpoint(args.to, info, model, changes, loaded.params, names)
    print(f"written: {args.to}")


def _take_out(args: argparse.Namespace, overrides: Sequence[str], source: "Source") -> None:
    """Writes a checkpoint of ours as it is."""
    from vit_jax.training import start
    from vit_jax.weights import conversion
    from vit_jax.weights.statistics import together

    given = {
        "--model": args.model, "--from": args.from_layout, "--image-size": args.image_size,
        "--num-classes": args.num_classes is not None, "--grid": args.grid,
        "--initialise": args.initialise, "--ignore": args.ignore, "--model.FIELD": overrides,
    }  # fmt: skip
    odd = [name for name, value in given.items() if value]
    if odd:
        raise UserError(f"{odd[0]}: a checkpoint of ours is written as it is; leave it out")
    run = source.trained
    names = _class_names(args, source, run.model.spec.num_classes)
    weights = together(run.params, run.model_state)
    conversion.save_weights(weights, run.model, args.to, args.layout, names)
    print(f"written: {args.to}")
    if args.check:
        target = pathlib.Path(args.to)
        written = start.open_source(target)
        layout = conversion.usual_layout(target, args.layout, run.model.spec)
        _check(written, layout, run.model, weights)


def _check(source: "Source", layout: str, model: Any, params: Any) -> None:
    from vit_jax.weights import reference

    found = reference.difference(source, layout, model, params)
    peer = "transformers" if layout == "transformers" else "timm"
    print(f"logits of random images: {found:.1e} of the largest away from those of {peer}")


def spec_changes(args: argparse.Namespace, overrides: Sequence[str]) -> dict[str, Any]:
    """Returns the fields of the spec that the command line changes."""
    from vit_jax.config import parse_value

    changes: dict[str, Any] = {}
    for text in overrides:
        name, equals, value = text.removeprefix("--model.").partition("=")
        if not equals:
            raise UserError(f"{text} has no value; write --model.{name}=VALUE")
        changes[name] = parse_value(value, None, field=f"--model.{name}")
    if args.image_size:
        sides = parse_sides(args.image_size, "--image-size")
        changes["image_size"] = sides[0] if len(set(sides)) == 1 else sides
    return changes


def parse_sides(text: str | None, flag: str) -> Any:
    """Returns "384" or "384x256" as a pair; () for nothing."""
    if not text:
        return ()
    if not re.fullmatch(r"\d+(x\d+)?", text):
        raise UserError(f"{flag}={text!r} is no size; write 384 or 384x256")
    sides = [int(side) for side in text.split("x")]
    if not all(sides):
        raise UserError(f"{flag}={text!r}: a side has at least 1 pixel")
    return sides[0], sides[-1]


def _num_classes(args: argparse.Namespace, source: "Source", model: Any) -> int:
    """Returns the classes asked for, or those of the source's own head; 0 without one."""
    from vit_jax.weights import conversion

    if args.num_classes is not None:
        return args.num_classes
    template = conversion.abstract_params(model)
    _, names = conversion.choose_layout(source.tensors, model.spec, template, args.from_layout)
    head = names.find(source.tensors, template).params.get("head/bias")
    return 0 if head is None else len(head)


def _class_names(args: argparse.Namespace, source: "Source", num_classes: int) -> tuple[str, ...]:
    """Returns the names from a file, else the source's if there are as many as classes."""
    if not args.classes:
        return source.class_names if len(source.class_names) == num_classes else ()
    if args.classes == "imagenet":
        from vit_jax.evaluation import imagenet

        names = imagenet.class_names()
    else:
        try:
            text = pathlib.Path(args.classes).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"--classes={args.classes} cannot be read: {error}") from None
        names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if len(names) != num_classes:
        raise UserError(f"--classes names {len(names)} classes, the head has {num_classes}")
    return names


def _save_checkpoint(
    folder: str, info: "ModelInfo", model: Any, changes: dict[str, Any], params: Any, names: Any
) -> None:
    from vit_jax.data import ops as ops_lib
    from vit_jax.training import trained
    from vit_jax.weights.statistics import apart

    config = model_config(info, model, changes)
    ops = ops_lib.parse(config.data.eval_ops)
    params, model_state = apart(params)
    about = {"config": config, "class_names": names, "ops": ops}
    trained.save(folder, params=params, model_state=model_state, **about)


def model_config(info: "ModelInfo", model: Any, changes: dict[str, Any]) -> "ConfigDict":
    """Returns a configuration of the model, which sees images as its makers evaluate it."""
    from vit_jax.config import default_config
    from vit_jax.data.ops import evaluation_ops

    ops = evaluation_ops(
        model.spec.size,
        info.mean,
        info.std,
        crop_fraction=info.crop_fraction,
        interpolation=info.interpolation,
    )
    config = default_config()
    fields = {"dtype", "param_dtype", "remat", "scan"}
    config.model.name = info.name
    config.model.num_classes = model.spec.num_classes
    config.model.update({k: v for k, v in changes.items() if k in fields})
    config.model.overrides = {k: v for k, v in changes.items() if k not in {*fields, "image_size"}}
    config.data.eval_ops = ops.spec
    config.data.train_ops = f"decode|inception_crop({ops.image_size})|flip|{ops.device_op.spec}"
    return config
