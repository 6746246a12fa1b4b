# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Tensors in files, by the ending: .safetensors, .npz, and torch's .pth, .pt and .bin.

Nothing here unpickles anything but tensors and plain containers.
"""

import argparse
import contextlib
import json
import os
import pathlib
import pickle
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from vit_jax.errors import UserError

Path = str | os.PathLike
Tensors = Mapping[str, np.ndarray]

INDEX = ".index.json"
WEIGHTS = ("model.safetensors", f"model.safetensors{INDEX}", "pytorch_model.bin")
# Where training code puts a model's tensors in a checkpoint; the average, which is what such code
# evaluates, comes first.
CONTAINERS = ("model_ema", "state_dict_ema", "params_ema", "model", "state_dict", "params")
# What wrappers (data parallelism, compilation) put ahead of every name.
WRAPPERS = ("module.", "_orig_mod.")


def read(path: Path, say: Callable[[str], Any] = lambda line: None) -> dict[str, np.ndarray]:
    """Reads the tensors of a file, of the files of an index, or of a folder that has either.

    Args:
        path: a file ending in .safetensors, .safetensors.index.json, .npz, .pth, .pt or .bin, or a
            folder with one that transformers would look for.
        say: told which of several containers in a file was taken.

    Raises:
        UserError: there is no such file, it is damaged, or it is no file of tensors.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        path = _weights_of(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist")
    if path.name.endswith(INDEX):
        return _read_index(path, say)
    reader = READERS.get(path.suffix)
    if reader is None:
        known = ", ".join((*READERS, INDEX))
        raise UserError(f"{path} is no file of weights; known endings: {known}")
    tensors = _unwrap(reader(path), path, say)
    if not tensors:
        raise UserError(f"{path} has no tensors")
    return tensors


def _weights_of(folder: pathlib.Path) -> pathlib.Path:
    found = [folder / name for name in WEIGHTS if (folder / name).is_file()]
    if not found:
        raise UserError(f"{folder} has no weights: none of {', '.join(WEIGHTS)}")
    return found[0]


def _read_index(path: pathlib.Path, say: Callable[[str], Any]) -> dict[str, np.ndarray]:
    """Reads the files a tensor each of which the index names."""
    try:
        places = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        names = sorted(set(places.values()))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path} is no index of weights: it has no 'weight_map'") from None
    if any(pathlib.PurePath(name).name != name for name in names):
        raise UserError(f"{path} names files outside of its folder")
    tensors: dict[str, np.ndarray] = {}
    for name in names:
        tensors |= read(path.parent / name, say)
    missing = sorted(set(places) - set(tensors))
    if missing:
        raise UserError(f"{path} promises {missing[0]}, which is not in {places[missing[0]]}")
    return tensors


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        return safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise UserError(f"{path} is damaged or no safetensors file: {_line(error)}") from None


def _read_npz(path: pathlib.Path) -> dict[str, np.ndarray]:
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} is damaged or no .npz file")
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: _with_dtype(stored[name]) for name in stored.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        if "allow_pickle" in str(error):
            raise UserError(f"{path} is no .npz file of plain arrays; it needs pickle") from None
        raise UserError(f"{path} is damaged or no .npz file: {_line(error)}") from None


def _with_dtype(array: np.ndarray) -> np.ndarray:
    """numpy stores bfloat16 as two bytes without a meaning."""
    return array.view(ml_dtypes.bfloat16) if array.dtype == np.dtype("V2") else array


def _read_torch(path: pathlib.Path) -> Any:
    try:
        import torch
    except ImportError:
        raise UserError(
            f"{path} is a file of torch; pip install 'vit-jax[torch]' to read it, or save it as "
            ".safetensors where torch is installed"
        ) from None
    plain = torch.serialization.safe_globals([argparse.Namespace])  # options, often stored along
    try:
        with plain, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")  # it loads, or is refused
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} holds more than tensors or is no file of torch ({_line(error)}); where you "
            "trust it, load it with torch and save its state_dict alone"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is damaged or no file of torch: {_line(error)}") from None


READERS: dict[str, Callable[[pathlib.Path], Any]] = {
    ".safetensors": _read_safetensors,
    ".npz": _read_npz,
    ".pth": _read_torch,
    ".pt": _read_torch,
    ".bin": _read_torch,
}


def _unwrap(loaded: Any, path: pathlib.Path, say: Callable[[str], Any]) -> dict[str, np.ndarray]:
    """Finds the tensors in what a file held, and takes wrappers off their names."""
    while isinstance(loaded, Mapping):
        inner = [name for name in CONTAINERS if isinstance(loaded.get(name), Mapping)]
        if not inner:
            break
        if len(loaded) > 1:
            others = ", ".join(str(key) for key in loaded if key != inner[0])
            say(f"{path}: {inner[0]} is read; {others} left")
        loaded = loaded[inner[0]]
    if not isinstance(loaded, Mapping):
        raise UserError(f"{path} holds a {type(loaded).__name__}, not named tensors")
    tensors = {str(name): _to_numpy(value) for name, value in loaded.items()}
    odd = [name for name, value in tensors.items() if value is None]
    if odd:
        kind = type(loaded[odd[0]]).__name__
        raise UserError(f"{path} is no file of weights: {odd[0]!r} is a {kind}, not a tensor")
    for wrapper in WRAPPERS:
        if tensors and all(name.startswith(wrapper) for name in tensors):
            tensors = {name.removeprefix(wrapper): array for name, array in tensors.items()}
    return tensors  # type: ignore[return-value]


def _to_numpy(value: Any) -> np.ndarray | None:
    """Returns an array or a tensor of torch as an array; None for anything else."""
    if isinstance(value, np.ndarray):
        return value
    if not hasattr(value, "detach"):
        return None
    tensor = value.detach()
    if str(tensor.dtype) == "torch.bfloat16":
        return tensor.float().numpy().astype(ml_dtypes.bfloat16)
    return tensor.numpy()


def _line(error: Exception) -> str:
    """Returns the first line of an error's text, which may go on for many."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].strip().rstrip(".")


def write(tensors: Tensors, path: Path) -> None:
    """Writes tensors to a new file, by its ending: .safetensors or .npz; whole or not at all.

    Raises:
        UserError: the file exists, or has another ending.
    """
    path = pathlib.Path(path)
    check_target(path)
    with appearing(path) as draft:
        WRITERS[path.suffix](dict(tensors), draft)


def _write_safetensors(tensors: dict[str, np.ndarray], path: pathlib.Path) -> None:
    whole = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    path.touch()
    mode = path.stat().st_mode  # as of any new file; the library's are for the owner alone
    safetensors.numpy.save_file(whole, path, metadata={"format": "pt"})  # transformers asks for it
    path.chmod(mode)


def _write_npz(tensors: dict[str, np.ndarray], path: pathlib.Path) -> None:
    with open(path, "wb") as file:
        np.savez(file, allow_pickle=False, **tensors)


WRITERS: dict[str, Callable[[dict[str, np.ndarray], pathlib.Path], None]] = {
    ".safetensors": _write_safetensors,
    ".npz": _write_npz,
}


def check_new(path: Path) -> None:
    """Refuses a path that exists."""
    if os.path.lexists(path):
        raise UserError(f"{os.fspath(path)} exists already; choose another name")


def check_target(path: Path) -> None:
    """Refuses a path that exists, or a file that `write` cannot write."""
    path = pathlib.Path(path)
    check_new(path)
    if path.suffix not in WRITERS:
        raise UserError(f"{path} cannot be written; known endings: {', '.join(WRITERS)}")


@contextlib.contextmanager
def appearing(target: Path) -> Iterator[pathlib.Path]:
    """Gives a path beside `target` to write to; it becomes `target`, or after an error vanishes."""
    target = pathlib.Path(target).absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
        draft = pathlib.Path(folder) / target.name
        yield draft
        draft.rename(target)
