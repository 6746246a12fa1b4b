# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""One export from beginning to end: build, write aside, compare, tell, and only then appear."""

import dataclasses
import importlib.metadata
import json
import os
import pathlib
from typing import Any

import jax
import numpy as np

import vit_jax
from vit_jax.data.tensorflow import import_tensorflow
from vit_jax.export import format_module
from vit_jax.export.comparison import Comparison, compare
from vit_jax.export.program import Program, Request, build
from vit_jax.objectives import is_sigmoid
from vit_jax.training import trained
from vit_jax.weights.files import appearing, check_new


def export_checkpoint(path: str | os.PathLike, request: Request) -> Comparison:
    """Writes a checkpoint in another format, and what is to know of it as JSON beside it.

    Args:
        path: a workdir or one step of it.
        request: what is wanted.

    Returns:
        How far what was written is from the checkpoint.

    Raises:
        UserError: the target exists, the format cannot do what is asked, no usable checkpoint.
        ExportError: what was written does not do the same. Nothing is kept then.
    """
    form = format_module(request.format)
    check_new(request.target)
    check_new(request.metadata_target)
    form.check(request)
    program = build(trained.load(path), request)
    with appearing(pathlib.Path(request.target)) as draft:
        beside = draft.with_name(request.metadata_target.name)
        about = describe(program, request)
        form.write(program, request, draft)
        beside.write_text(json.dumps(about, indent=2, ensure_ascii=False))
        compared = compare(request.format, draft, program)
        about["compared"] = {
            "batch_sizes": list(compared.batch_sizes),
            "max_relative_difference": compared.difference,
        }
        with appearing(request.metadata_target) as metadata:
            metadata.write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n")
    return compared


def describe(program: Program, request: Request) -> dict[str, Any]:
    """Returns what a user of the artefact has to know, as JSON."""
    run = program.run
    zero, full = (np.asarray(run.ops.device(_flat(program, value))) for value in (0, 255))
    return {
        "format": request.format,
        "model": run.config.model.name,
        "spec": dataclasses.asdict(program.model.spec),
        "step": run.step,
        "class_names": list(run.class_names),
        "logits_to_probabilities": "sigmoid" if is_sigmoid(run.config) else "softmax",
        "images": {
            "shape": [program.batch_size or "batch", *program.image_shape],
            "dtype": program.image_dtype.name,
            "scaled_inside": program.preprocess,
            "scaling": {  # float32 image = uint8 image * factor + offset, a number each channel
                "factor": ((full - zero) / 255).tolist(),
                "offset": zero.tolist(),
            },
            "preprocessing": run.ops.spec,
        },
        "versions": _versions(request.format),
    }


def _flat(program: Program, value: int) -> np.ndarray:
    """Returns one pixel, uint8 `[channels]`."""
    return np.full(program.image_shape[-1], value, np.uint8)


def _versions(form: str) -> dict[str, str]:
    found = {"vit_jax": vit_jax.__version__, "jax": jax.__version__}
    if form == "savedmodel":  # a distribution of several names
        found["tensorflow"] = import_tensorflow().__version__
    if form == "onnx":
        found |= {name: importlib.metadata.version(name) for name in ("jax2onnx", "onnxruntime")}
    return found
