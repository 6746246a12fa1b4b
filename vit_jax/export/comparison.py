# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What was written is run again by another process and compared with the checkpoint."""

import contextlib
import dataclasses
import io
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import jax
import numpy as np
from PIL import Image

import vit_jax
from vit_jax.data.tensorflow import import_tensorflow
from vit_jax.export.program import Program, portable, unrolled_variables

BATCH_SIZES = (1, 3)  # where any is allowed; 1 is what shape mistakes hide behind
# Largest difference of logits, as a part of the largest logit. In bfloat16 a number has 8 bits, and
# the rounding of some hundred operations adds up; forgetting the scaling of images costs far more.
TOLERANCES = {"float32": 1e-4, "bfloat16": 0.1}


class ExportError(RuntimeError):
    """What was written does not do what the checkpoint does, or does not run."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How far the artefact is from the checkpoint.

    Attributes:
        batch_sizes: of the batches compared.
        difference: the largest one of logits, relative to the largest logit of its batch.
        tolerance: what was allowed.
        indifferent: the checkpoint answers the same on every image, so that little is proved.
    """

    batch_sizes: tuple[int, ...]
    difference: float
    tolerance: float
    indifferent: bool


def compare(form: str, path: pathlib.Path, program: Program) -> Comparison:
    """Runs the artefact on random images in a fresh process, and the checkpoint here in float32.

    Raises:
        ExportError: the artefact does not run, or differs by more than the tolerance of its dtype.
    """
    sizes = (program.batch_size,) * 2 if program.batch_size else BATCH_SIZES
    pictures = [_noise((size, *program.image_shape)) for size in sizes]
    batches = {f"images_{i}": _as_taken(program, batch) for i, batch in enumerate(pictures)}
    if form == "savedmodel" and program.preprocess:
        files = [_picture_files(program, size) for size in sizes]
        batches |= {f"files_{i}": np.array(contents) for i, contents in enumerate(files)}
        pictures += [_decoded(program, contents) for contents in files]
    expected = np.concatenate([_expected(program, batch) for batch in pictures])
    outputs = _run_again(form, path, batches)
    found = np.concatenate([outputs[name] for name in batches])
    if found.shape != expected.shape:
        raise ExportError(f"{form}: logits are {found.shape} and should be {expected.shape}")
    largest = np.abs(expected).max()
    difference = float(np.abs(found - expected).max() / (largest or 1.0))
    tolerance = TOLERANCES[program.dtype]
    if not difference <= tolerance:
        raise ExportError(
            f"{form}: what was written differs from the checkpoint by {difference:.1e} of its "
            f"largest logit, and {tolerance:.0e} is allowed in {program.dtype}; nothing is kept"
        )
    indifferent = bool(np.ptp(expected, axis=0).max() <= 1e-6 * (largest or 1.0))
    return Comparison(sizes, difference, tolerance, indifferent)


def _noise(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng().integers(0, 256, shape, np.uint8)


def _as_taken(program: Program, pictures: np.ndarray) -> np.ndarray:
    """Returns uint8 pictures as the program takes them."""
    return pictures if program.preprocess else np.asarray(program.run.ops.device(pictures))


def _picture_files(program: Program, count: int) -> list[bytes]:
    """Returns PNG files of other sizes than the model's."""
    height, width, _ = program.image_shape
    contents = []
    for i in range(count):
        buffer = io.BytesIO()
        pixels = _noise((height + 5 + i, width + 11 + 2 * i, 3))
        Image.fromarray(pixels).save(buffer, "png")
        contents.append(buffer.getvalue())
    return contents


def _decoded(program: Program, contents: list[bytes]) -> np.ndarray:
    tf = import_tensorflow()
    host = program.run.ops.host
    images = [host({"image": tf.constant(content)})["image"] for content in contents]
    return np.stack([image.numpy() for image in images])


def _expected(program: Program, pictures: np.ndarray) -> np.ndarray:
    """Returns the logits of the checkpoint itself, in float32, on a CPU where there is one."""
    run = program.run
    model = portable(run.model, dtype="float32")
    with _on_cpu(), jax.default_matmul_precision("highest"):
        images = run.ops.device(jax.numpy.asarray(pictures))
        variables = jax.tree.map(jax.numpy.asarray, unrolled_variables(run))
        return np.asarray(jax.jit(model.apply)(variables, images), np.float32)


@contextlib.contextmanager
def _on_cpu() -> Iterator[None]:
    """Where JAX has a CPU besides accelerators, computes on it: full precision by nature."""
    try:
        cpu = jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        yield
        return
    with jax.default_device(cpu):
        yield


def _run_again(
    form: str, path: pathlib.Path, batches: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Returns the logits that a fresh process gets from the artefact."""
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = (str(pathlib.Path(folder) / f"{n}.npz") for n in ("inputs", "outputs"))
        np.savez(inputs, allow_pickle=False, **batches)
        done = subprocess.run(
            [sys.executable, "-m", "vit_jax.export.reader", form, str(path), inputs, outputs],
            env=_environment(),
            capture_output=True,
            text=True,
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise ExportError(f"{form}: what was written does not run ({reason}); nothing is kept")
        with np.load(outputs) as found:
            return dict(found)


def _environment() -> dict[str, str]:
    """Returns the environment of the reader: this package, the CPU, few words."""
    home = str(pathlib.Path(vit_jax.__file__).parents[1])
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": ""}
    return {**os.environ, **quiet, "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(paths)}
