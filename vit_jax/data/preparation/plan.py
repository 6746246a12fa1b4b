# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Which picture goes where: decided once, before any is read, and kept in files.

The pictures of a split stand in the order of TFDS's hash of their names, as any data set that TFDS
shuffles. A shard is an interval of that order. So a shard is a function of the plan alone: it does
not matter who writes it, or when, or how often.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from etils import epath

from vit_jax.data.preparation import archives, imagenet
from vit_jax.data.preparation.archives import ArchiveError, ClassTar
from vit_jax.data.preparation.imagenet import Archives, DataSet

TRAIN, VALIDATION = "train", "validation"


@dataclasses.dataclass(frozen=True)
class Reject:
    """A picture, or a whole tar, that does not make it into the data set."""

    split: str
    name: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be written.

    Attributes:
        folder: where the tables of `rows` lie.
        class_names: WordNet ids, in order.
        paths: the files that pictures are read from.
        bounds: split -> where each shard begins in the order of the split, and the end of the last.
        picture_bytes: of all pictures, as they are in the archives.
        rejects: what is left out before a picture is looked at.
    """

    folder: str
    class_names: tuple[str, ...]
    paths: tuple[str, ...]
    bounds: dict[str, tuple[int, ...]]
    picture_bytes: int
    rejects: tuple[Reject, ...]

    @property
    def num_pictures(self) -> int:
        """Returns the number of pictures in all splits."""
        return sum(bounds[-1] for bounds in self.bounds.values())

    def shards(self) -> Iterator[tuple[str, int]]:
        """Yields (split, number) of every shard."""
        for split, bounds in self.bounds.items():
            yield from ((split, number) for number in range(len(bounds) - 1))

    def rows(self, split: str, number: int) -> np.ndarray:
        """Returns the pictures of a shard: fields "path" (its number), "label", "offset", "size",
        "name"; reads no more of the table than these."""
        start, stop = self.bounds[split][number : number + 2]
        with (epath.Path(self.folder) / f"{split}.npy").open("rb") as file:
            np.lib.format.read_magic(file)
            _, _, dtype = np.lib.format.read_array_header_1_0(file)
            file.seek(start * dtype.itemsize, os.SEEK_CUR)
            return np.frombuffer(file.read((stop - start) * dtype.itemsize), dtype)


def load(folder: pathlib.Path) -> Plan | None:
    """Returns the plan kept in a folder; None if there is none, or not all of it."""
    try:
        fields = json.loads((folder / "plan.json").read_text())
    except FileNotFoundError:
        return None
    return Plan(
        folder=os.fspath(folder),
        class_names=tuple(fields["class_names"]),
        paths=tuple(fields["paths"]),
        bounds={split: tuple(bounds) for split, bounds in fields["bounds"].items()},
        picture_bytes=fields["picture_bytes"],
        rejects=tuple(Reject(**reject) for reject in fields["rejects"]),
    )


@dataclasses.dataclass(frozen=True)
class Part:
    """A tar to look through, in a process of its own.

    Attributes:
        split: its pictures are hashed for.
        tar: of a class, or of the validation pictures, whose `wordnet_id` is "".
        path, label: what its rows say; the label is -1 where the pictures are of several classes.
    """

    split: str
    tar: ClassTar
    path: int
    label: int


@dataclasses.dataclass(frozen=True)
class Found:
    """The pictures of a part as rows, with the two halves of TFDS's hash of each, uint64 `[n, 2]`;
    and what is not one."""

    table: np.ndarray
    hashes: np.ndarray
    rejects: list[Reject]


def look_through(part: Part) -> Found:
    """Returns what is in a tar."""
    from tensorflow_datasets.core import hashing

    hasher = hashing.Hasher(part.split)
    rows, hashes, rejects = [], [], []
    try:
        for path, offset, size in archives.members(*part.tar[1:]):
            name = path.rpartition("/")[2]
            key = hasher.hash_key(name)
            rows.append((part.path, part.label, offset, size, name.encode()))
            hashes.append((key >> 64, key & (2**64 - 1)))
    except archives.BrokenTarError as error:
        reason = f"the tar is {error}: what follows is lost"
        rejects.append(Reject(part.split, part.tar.wordnet_id or part.tar.path, reason))
    width = max((len(row[-1]) for row in rows), default=1)
    table = np.array(rows, [*_FIELDS, ("name", f"S{width}")])
    return Found(table, np.array(hashes, np.uint64).reshape(-1, 2), rejects)


_FIELDS = [("path", "i4"), ("label", "i4"), ("offset", "i8"), ("size", "i8")]

Map = Callable[[Callable[[Any], Any], list[Any]], Iterable[Any]]


def make(
    data_set: DataSet,
    sources: Archives,
    folder: pathlib.Path,
    *,
    num_shards: int,
    num_validation: int,
    map_parts: Map = map,
) -> Plan:
    """Looks through the archives, writes the plan and returns it.

    Args:
        data_set, sources: what to prepare; nothing compressed.
        folder: where the plan is kept.
        num_shards: of the training split; 0 for as many as TFDS would make.
        num_validation: how many pictures from the beginning of the order are a validation split,
            where there is no archive of one.
        map_parts: like `map`, perhaps over processes.

    Raises:
        ArchiveError: they are not in the layout they are handed out in.
    """
    tars = archives.class_tars(sources.train)
    class_names = imagenet.class_names(data_set, tars)
    paths = sorted({*(tar.path for tar in tars), *filter(None, [sources.validation])})
    labels = {name: label for label, name in enumerate(class_names)}
    parts = [Part(TRAIN, tar, paths.index(tar.path), labels[tar.wordnet_id]) for tar in tars]
    if sources.validation:
        tar = ClassTar("", sources.validation, 0, archives.size_of(sources.validation))
        parts.append(Part(VALIDATION, tar, paths.index(tar.path), -1))
    found = list(map_parts(look_through, parts))
    if sources.validation:
        _label(found[-1].table, sources.validation, labels)
    rejects = [reject for one in found for reject in one.rejects]
    tables = {}
    for split in sorted({part.split for part in parts}):
        own = [f for f, part in zip(found, parts, strict=True) if part.split == split]
        tables[split], seconds = _in_order(own)
        rejects += [Reject(split, name, "the second picture of this name") for name in seconds]
    if num_validation:
        if num_validation >= len(tables[TRAIN]):
            raise ArchiveError(
                f"--validation={num_validation}: the archive holds {len(tables[TRAIN])} pictures"
            )
        whole = tables[TRAIN]
        tables = {TRAIN: whole[num_validation:], VALIDATION: whole[:num_validation]}
    plan = Plan(
        folder=os.fspath(folder),
        class_names=class_names,
        paths=tuple(paths),
        bounds={split: _bounds(table, split, num_shards) for split, table in tables.items()},
        picture_bytes=sum(int(table["size"].sum()) for table in tables.values()),
        rejects=tuple(rejects),
    )
    _keep(plan, tables, folder)
    return plan


def _label(table: np.ndarray, path: str, labels: dict[str, int]) -> None:
    """Fills in the classes of the validation pictures."""
    names = [name.decode() for name in table["name"]]
    known = imagenet.validation_labels(path, names)
    table["label"] = [labels[known[name]] for name in names]


def _in_order(found: list[Found]) -> tuple[np.ndarray, list[str]]:
    """Returns the rows of a split in the order of their hashes, one a name; and the names of the
    others, which stand behind it in the archive."""
    hashes = np.concatenate([one.hashes for one in found])
    order = np.lexsort((hashes[:, 1], hashes[:, 0]))  # stable
    table, hashes = np.concatenate([one.table for one in found])[order], hashes[order]
    second = np.zeros(len(table), bool)
    second[1:] = (hashes[1:] == hashes[:-1]).all(axis=1)
    return table[~second], [name.decode() for name in table["name"][second]]


def _bounds(table: np.ndarray, split: str, num_shards: int) -> tuple[int, ...]:
    """Returns where shards begin and the last ends, by the rules of TFDS."""
    from tensorflow_datasets.core.utils import shard_utils

    if not len(table):
        raise ArchiveError(f"--from: there are no pictures for the split {split!r}")
    if split != TRAIN or not num_shards:
        num_shards = shard_utils.ShardConfig().get_number_shards(
            int(table["size"].sum()), len(table)
        )
    num_shards = min(num_shards, len(table))
    return (0, *shard_utils.get_shard_boundaries(len(table), num_shards))


def _keep(plan: Plan, tables: dict[str, np.ndarray], folder: pathlib.Path) -> None:
    """Writes the tables, and then the file that says they are all there."""
    for split, table in tables.items():
        np.save(folder / f"{split}.npy", table)
    fields = dataclasses.asdict(plan)
    del fields["folder"]
    draft = folder / "plan.json.part"
    draft.write_text(json.dumps(fields))
    draft.rename(folder / "plan.json")
