# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What weights come from: files, folders and names of other projects, and checkpoints of ours."""

import dataclasses
import importlib.util
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
from etils import epath

from vit_jax.errors import UserError
from vit_jax.paths import is_remote
from vit_jax.weights import files, hub, hugging_face

Say = Callable[[str], Any]

_KINDS = (
    "a workdir or a step of it, a file of weights, a folder of transformers, hf:ORG/NAME or "
    "timm:NAME"
)


@dataclasses.dataclass(frozen=True)
class Source:
    """What a source turned out to hold.

    Attributes:
        tensors: under the names they were found; {} of a checkpoint of ours.
        trained: `vit_jax.training.trained.Trained` of a checkpoint of ours, or None.
        path: where they lie.
        class_names: in the order of the head's outputs; () where they are not known.
    """

    tensors: dict[str, np.ndarray]
    trained: Any
    path: epath.Path
    class_names: tuple[str, ...]


def check(source: str, field: str) -> None:
    """Refuses a source that is not there, as far as that is known without reading it.

    Args:
        source: see `read`, or a workdir of ours or one step of it.
        field: where it was written, for the message.

    Raises:
        UserError: says what it may be.
    """
    if hub.is_name(source):
        if importlib.util.find_spec("huggingface_hub") is None:
            raise UserError(f"{field}={source!r} needs huggingface_hub; pip install 'vit-jax[hub]'")
        return
    path = epath.Path(source)
    if not path.exists():
        raise UserError(f"{field}={source!r} does not exist; write {_KINDS}")
    if not is_remote(path) and not os.access(path, os.R_OK):
        raise UserError(f"{field}={source!r} cannot be read; allow it with chmod u+r")
    if path.is_file() and not path.name.endswith((*files.READERS, files.INDEX)):
        known = ", ".join((*files.READERS, files.INDEX))
        raise UserError(f"{field}={source!r} is no file of weights; known: {known}")


def locate(source: str | os.PathLike) -> epath.Path:
    """Returns where a source lies, fetched to this machine first if it is a name."""
    text = os.fspath(source)
    return epath.Path(hub.download(text) if hub.is_name(text) else text)


def read(path: epath.Path, say: Say = lambda line: None) -> Source:
    """Reads a file (.safetensors, .npz, .pth) or a folder of transformers, of this machine."""
    if is_remote(path):
        raise UserError(
            f"{path} is no workdir or step of one; copy other people's weights to a disk first"
        )
    local = pathlib.Path(path)
    names = hugging_face.class_names(local) if local.is_dir() else ()
    return Source(files.read(local, say), None, path, names)
