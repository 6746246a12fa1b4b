# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""`folder:PATH`: pictures in one folder a class.

Either `PATH/train/CLASS/...`, `PATH/val/CLASS/...`, `PATH/test/CLASS/...`, or `PATH/CLASS/...`
without split folders, which is then split 80/10/10. Every picture has a place in [0, 1), a hash of
its path below the split, and a part of a split is an interval of places: the same on every machine,
and adding pictures does not move the others. The first picture of a class has place 0, so that a
part which begins at 0 % knows every class.

PATH may be in a bucket (`gs://...`, whatever etils.epath knows).
"""

import collections
import concurrent.futures
import functools
import hashlib
import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from etils import epath

from vit_jax.data.sources.base import REMOTE_THREADS, SOURCES, Source
from vit_jax.data.tensorflow import import_tensorflow
from vit_jax.errors import UserError
from vit_jax.paths import is_remote
from vit_jax.registry import near_misses

if TYPE_CHECKING:
    import tensorflow as tf

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")
SPLIT_FOLDERS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}
_SPLIT_PART = re.compile(r"(\w+)(?:\[(?:([\d.]+)%)?:(?:([\d.]+)%)?\])?")
AUTOMATIC_SPLIT = {"train": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0)}


@SOURCES.register("folder")
class FolderSource(Source):
    """The pictures of one split of a folder, sorted by class and path.

    Args:
        path: the folder, local or not; `~` is the home directory.
        split: "train", "validation", "test", a part of one in per cent ("train[:90%]",
            "train[90%:]"), or several with "+".
        data_dir: where a relative `path` starts; None for the working directory.

    Raises:
        UserError: no such folder or split, no classes, or a class without pictures.
    """

    def __init__(self, path: str, split: str = "train", data_dir: str | None = None):
        if not path:
            raise UserError("data.source='folder:' lacks the folder: write 'folder:PATH'")
        self.root = epath.Path(data_dir or ".").expanduser() / epath.Path(path).expanduser()
        if not self.root.is_dir():
            raise UserError(f"data.source='folder:{path}': there is no folder {self.root}")
        folders = _split_folders(self.root)
        self.class_names = _class_names(folders.get("train", self.root))
        self._paths: list[str] = []
        labels: list[int] = []
        parts = _parse_split(split, folders, self.root)
        for name, start, stop in parts:
            lo, hi = (0.0, 1.0) if folders else AUTOMATIC_SPLIT[name]
            part = (lo + start * (hi - lo), lo + stop * (hi - lo))
            for label, picture in _pictures(folders.get(name, self.root), self.class_names, part):
                self._paths.append(picture)
                labels.append(label)
        if not self._paths:
            raise UserError(
                f"split {split!r} of {self.root} holds no pictures: take a larger part, add "
                "pictures, or set data.validation_split or data.test_split to ''"
            )
        self.labels = np.array(labels, np.int32)
        self._searched = {folders.get(name, self.root) for name, *_ in parts}

    def class_counts(self) -> np.ndarray:
        """Returns the number of pictures of each class, int `[classes]`."""
        return np.bincount(self.labels, minlength=len(self.class_names))

    @functools.cached_property
    def left_out(self) -> str:
        """How many files beside the pictures there are, by kind: endings, hidden, in no class."""
        counts: collections.Counter[str] = collections.Counter()
        for folder in sorted(self._searched):
            counts += _left_out(folder)
        return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = epath.Path(self._paths[index]).read_bytes()
        return {"image": image, "label": int(self.labels[index]), "name": self.name(index)}

    def name(self, index: int) -> str:
        """Returns the path of a picture."""
        return self._paths[index]

    def fetch(self, indices: "tf.Tensor") -> "dict[str, tf.Tensor]":
        """Returns paths and labels `[n]`; from a bucket the bytes, many at once."""
        if is_remote(self.root):
            return super().fetch(indices)
        tf = import_tensorflow()
        paths, labels = self._tables
        return {"path": tf.gather(paths, indices), "label": tf.gather(labels, indices)}

    def unpack(self, item: "dict[str, tf.Tensor]") -> "dict[str, tf.Tensor]":
        """Reads one file; no Python runs here."""
        if "image" in item:
            return item
        tf = import_tensorflow()
        return {"image": tf.io.read_file(item["path"]), "label": item["label"]}

    def _gather(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        images = np.empty(len(indices), dtype=object)
        records = self._readers.map(self._read_or_empty, map(int, indices))
        images[:] = [record["image"] for record in records]
        return images, self.labels[indices]

    @functools.cached_property
    def _readers(self) -> concurrent.futures.Executor:
        return concurrent.futures.ThreadPoolExecutor(REMOTE_THREADS, "read")

    @functools.cached_property
    def _tables(self) -> "tuple[tf.Tensor, tf.Tensor]":
        tf = import_tensorflow()
        with tf.init_scope():  # eager, so that a graph refers to the tables instead of copying them
            return tf.constant(self._paths), tf.constant(self.labels)


def find_splits(path: str | os.PathLike) -> set[str]:
    """Returns which of "train", "validation", "test" a folder has folders for; none if it is not
    there, or holds the classes themselves."""
    root = epath.Path(path).expanduser()
    return set(_split_folders(root)) if root.is_dir() else set()


def _subfolders(path: epath.Path) -> list[str]:
    """Returns the sorted names of the visible folders in `path`; links count."""
    if is_remote(path):
        return sorted(name for name in _remote_entries(path)[0] if not _is_hidden(name))
    with os.scandir(path) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not _is_hidden(e.name))


def _split_folders(root: epath.Path) -> dict[str, epath.Path]:
    """Returns split -> folder, or nothing if `root` holds the classes themselves."""
    found: dict[str, epath.Path] = {}
    present = {name.lower(): name for name in reversed(_subfolders(root))}
    for split, names in SPLIT_FOLDERS.items():
        for name in names:
            if name in present and split not in found:
                found[split] = root / present[name]
    # A class may be called "train" or "test": a split is a folder of folders.
    if "train" in found and _subfolders(found["train"]):
        return found
    return {}


def _class_names(folder: epath.Path) -> tuple[str, ...]:
    names = tuple(_subfolders(folder))
    if len(names) < 2:
        found = f"holds one class folder, {names[0]!r}" if names else "holds no class folders"
        raise UserError(f"{folder} {found}: put the pictures into one folder a class, at least two")
    for name in names:
        if next(_walk(folder / name), None) is None:
            kinds = " ".join(EXTENSIONS)
            raise UserError(
                f"class folder {folder / name} holds no pictures ({kinds}): fill or remove it"
            )
    return names


def _parse_split(
    split: str, folders: dict[str, epath.Path], root: epath.Path
) -> list[tuple[str, float, float]]:
    """Returns the (split, start, stop) that an expression such as "train[:90%]+test" adds up."""
    parts = []
    for text in split.split("+"):
        match = _SPLIT_PART.fullmatch(text.strip())
        if match is None:
            raise UserError(
                f"split {split!r} of {root}: write 'train' or a part such as 'train[:90%]'"
            )
        aliases = {alias: name for name, names in SPLIT_FOLDERS.items() for alias in names}
        name = aliases.get(match[1].lower())
        if name is None:
            raise UserError(f"unknown split {match[1]!r} of {root}{near_misses(match[1], aliases)}")
        if folders and name not in folders:
            has = ", ".join(sorted(folders))
            raise UserError(
                f"split {name!r} of {root} has no folder (there are: {has}): "
                "use one of these, or parts of one such as 'train[:90%]' and 'train[90%:]'"
            )
        start, stop = float(match[2] or 0) / 100, float(match[3] or 100) / 100
        if not 0 <= start < stop <= 1:
            raise UserError(
                f"split {split!r} of {root}: {text.strip()!r} is not a part of 0% to 100%"
            )
        parts.append((name, start, stop))
    return parts


def _pictures(
    folder: epath.Path, classes: tuple[str, ...], part: tuple[float, float]
) -> list[tuple[int, str]]:
    """Returns the sorted (label, path) of a folder's pictures whose place is in [start, stop)."""
    labels = {name: label for label, name in enumerate(classes)}
    unknown = [name for name in _subfolders(folder) if name not in labels]
    if unknown:
        raise UserError(
            f"{folder} has a class the training part lacks, {unknown[0]!r}: rename or remove it"
            f"{near_misses(unknown[0], classes)}"
        )
    start, stop = part
    chosen = []
    for name, label in labels.items():
        paths = sorted(_walk(folder / name))
        if start > 0 or stop < 1:
            places = [_place(os.path.relpath(path, folder)) for path in paths]
            first = min(range(len(paths)), key=places.__getitem__, default=-1)
            places = [0.0 if i == first else place for i, place in enumerate(places)]
            paths = [p for p, place in zip(paths, places, strict=True) if start <= place < stop]
        chosen += [(label, path) for path in paths]
    return chosen


def _place(relative: str) -> float:
    """Returns the place of a picture in [0, 1), from its path below the split."""
    name = relative.replace(os.sep, "/").encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=6).digest(), "big") / 2**48


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "__"))


def _is_picture(name: str) -> bool:
    return name.lower().endswith(EXTENSIONS) and not name.startswith(".")


def _files(folder: epath.Path) -> Iterator[tuple[str, str]]:
    """Yields (directory, name) of the files below a folder; follows links, ends in loops."""
    if is_remote(folder):
        subfolders, files = _remote_entries(folder)
        yield from ((os.fspath(folder), name) for name in files)
        for name in subfolders:
            yield from _files(folder / name)
        return
    seen = set()
    for directory, subfolders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(directory)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        yield from ((directory, name) for name in files)


def _remote_entries(folder: epath.Path) -> tuple[list[str], list[str]]:
    """Returns the names of the folders and of the files in a folder of a bucket.

    One request lists them, and another tells what each is, which for pictures is not asked.
    """
    entries = list(folder.iterdir())
    unclear = [entry for entry in entries if not _is_picture(entry.name)]
    with concurrent.futures.ThreadPoolExecutor(REMOTE_THREADS) as pool:
        are_folders = list(pool.map(lambda entry: entry.is_dir(), unclear))
    folders = {entry.name for entry, yes in zip(unclear, are_folders, strict=True) if yes}
    return sorted(folders), [entry.name for entry in entries if entry.name not in folders]


def _walk(folder: epath.Path) -> Iterator[str]:
    """Yields the pictures below a folder, but for those in hidden folders."""
    for directory, name in _files(folder):
        below = os.path.relpath(directory, folder).split(os.sep)
        if _is_picture(name) and not any(_is_hidden(part) for part in below if part != "."):
            yield os.path.join(directory, name)


def _left_out(folder: epath.Path) -> "collections.Counter[str]":
    """Counts the files of a folder of classes that are none of its pictures."""
    counts: collections.Counter[str] = collections.Counter()
    for directory, name in _files(folder):
        below = [part for part in os.path.relpath(directory, folder).split(os.sep) if part != "."]
        if name.startswith(".") or any(map(_is_hidden, below)):
            counts["hidden"] += 1
        elif not _is_picture(name):
            ending = os.path.splitext(name)[1].lower()
            counts[f"of the kind {ending}" if ending else "without an ending"] += 1
        elif not below:
            counts["in no class folder"] += 1
    return counts
