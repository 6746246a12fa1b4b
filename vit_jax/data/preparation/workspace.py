# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What is asked for, and the folder in which it comes to be: claimed, locked, with room enough."""

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping

from vit_jax.data.preparation import archives
from vit_jax.data.preparation.imagenet import Archives, DataSet
from vit_jax.data.preparation.pictures import Treatment
from vit_jax.data.preparation.shards import NO_ROOM
from vit_jax.errors import UserError

REQUEST = "preparation.json"


@dataclasses.dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        data_set: which.
        source: an archive, or a folder that holds it.
        data_dir: where the data set goes, as TFDS lays it out.
        treatment: what is done to every picture.
        num_validation: pictures of a validation split, where there is no archive of one.
        num_shards: of the training split; 0 for as many as TFDS would make.
        words: WordNet id -> the class in words, where known; for the table of classes.
        workers: processes; 0 for one a core.
        beam_options: of Apache Beam, which then does the work; "" for processes of this machine.
    """

    data_set: DataSet
    source: str
    data_dir: pathlib.Path
    treatment: Treatment
    num_validation: int = 0
    num_shards: int = 0
    words: Mapping[str, str] = dataclasses.field(default_factory=dict)
    workers: int = 0
    beam_options: str = ""

    @property
    def place(self) -> pathlib.Path:
        """Returns where the data set will be."""
        return self.data_dir / self.data_set.name / self.data_set.version

    @property
    def work(self) -> pathlib.Path:
        """Returns where it is made."""
        return self.place.with_name(f"preparing-{self.data_set.version}")

    def identity(self, sources: Archives) -> dict[str, str | int]:
        """Returns what the result depends on."""
        return {
            "from": sources.train,
            "from_bytes": sum(archives.size_of(path) for path in _files(sources)),
            "validation_from": sources.validation,
            "resize": self.treatment.resize,
            "quality": self.treatment.quality if self.treatment.resize else 0,
            "validation": self.num_validation,
            "shards": self.num_shards,
            "by": "beam" if self.beam_options else "processes",
        }


@contextlib.contextmanager
def alone(work: pathlib.Path) -> Iterator[None]:
    """Makes the folder, keeps others out of it, and clears away what was cut short in it."""
    work.mkdir(parents=True, exist_ok=True)
    with (work.parent / f".{work.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another `vit-jax prepare` is at work in {work}") from None
        for path in work.glob("**/*.part*"):
            path.unlink()
        yield
        pathlib.Path(lock.name).unlink()


def check_request(request: Request, sources: Archives, folder: pathlib.Path) -> None:
    """Raises UserError if a folder holds something else than is asked for; else claims it."""
    path, wanted = folder / REQUEST, request.identity(sources)
    if not path.exists() and folder != request.work:
        raise UserError(
            f"{folder} exists and was not made by `vit-jax prepare`: choose another --to"
        )
    if path.exists():
        found = json.loads(path.read_text())
        differs = [key for key in wanted if found.get(key) != wanted[key]]
        if differs:
            key = differs[0]
            raise UserError(
                f"{folder} was made with {key}={found.get(key)!r}, now {key}={wanted[key]!r}: "
                "ask for the same, choose another --to, or delete it"
            )
        return
    draft = folder / f"{REQUEST}.part"
    draft.write_text(json.dumps(wanted, indent=1) + "\n")
    draft.rename(path)


def _files(sources: Archives) -> list[str]:
    train = pathlib.Path(sources.train)
    parts = sorted(map(str, train.glob("n*.tar"))) if train.is_dir() else [sources.train]
    return parts + [sources.validation] * bool(sources.validation)


@contextlib.contextmanager
def room_for(request: Request) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise UserError(
                f"--to={request.data_dir}: {os.strerror(error.errno or 0)}: make room and run "
                "the same command again to go on"
            ) from None
        raise


def require_room(request: Request, needed: int) -> None:
    free = shutil.disk_usage(request.work).free
    if needed > free:
        raise UserError(
            f"--to={request.data_dir}: about {needed / 2**30:,.1f} GiB more are needed and "
            f"{free / 2**30:,.1f} GiB are free: make room, choose another folder, or --resize"
        )
