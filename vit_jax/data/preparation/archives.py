# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""A tar of one tar a class, read in place.

A picture in it is an offset and a size, so any number of processes read any picture at any time and
nothing is unpacked. Only a compressed archive has to be: its class tars then lie in a folder.
"""

import os
import pathlib
import re
import tarfile
from collections.abc import Callable, Iterator
from typing import IO, NamedTuple

from etils import epath

from vit_jax.errors import UserError

BLOCK = tarfile.BLOCKSIZE
CLASS_TAR = re.compile(r"(n\d{8})\.tar")


class Member(NamedTuple):
    """A file in a tar: where its bytes are in the file that is read."""

    name: str
    offset: int
    size: int


class ClassTar(NamedTuple):
    """The tar of one class: a part of a file, or all of one."""

    wordnet_id: str
    path: str
    start: int
    stop: int


class ArchiveError(UserError):
    """The archive is not what it should be, and nothing can be made of it."""


class BrokenTarError(Exception):
    """A tar cannot be followed to its end."""


def is_gzip(path: str) -> bool:
    """Returns whether a file is compressed by gzip."""
    with epath.Path(path).open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def size_of(path: str) -> int:
    """Returns the bytes of a file, local or not."""
    return epath.Path(path).stat().length


def members(path: str, start: int = 0, stop: int | None = None) -> Iterator[Member]:
    """Yields the files of the tar at the bytes `start` to `stop` of a file.

    Raises:
        BrokenTarError: it is no tar, or damaged, or cut short; after the files before the damage.
    """
    with epath.Path(path).open("rb") as file:
        stop = size_of(path) if stop is None else stop
        file.seek(start)
        try:
            tar = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115 (`file` is what is closed)
            while (member := tar.next()) is not None and member.offset < stop:
                if member.offset_data + member.size > stop:
                    raise BrokenTarError(f"cut short within {member.name!r}")
                if member.isfile():
                    yield Member(member.name, member.offset_data, member.size)
        except tarfile.TarError as error:
            raise BrokenTarError(f"not a whole tar: {error}") from None
        if member is None:
            _check_end(file, tar.offset, stop)


def _check_end(file: IO[bytes], end: int, stop: int) -> None:
    """`tarfile` takes a damaged header for the end; a real end is zeros, or that of the file."""
    file.seek(end)
    if file.read(max(0, min(BLOCK, stop - end))).strip(b"\0"):
        raise BrokenTarError(f"damaged at byte {end}")


def class_tars(path: str) -> list[ClassTar]:
    """Returns the tars in a tar of tars, or in a folder of them, sorted by class.

    Raises:
        ArchiveError: there are none, two of one class, or the archive is cut short.
    """
    root = epath.Path(path)
    found, strangers = [], []
    if root.is_dir():
        for file in sorted(root.iterdir()):
            match = CLASS_TAR.fullmatch(file.name)
            if match:
                found.append(ClassTar(match[1], os.fspath(file), 0, size_of(os.fspath(file))))
    else:
        try:
            for member in members(path):
                match = CLASS_TAR.fullmatch(member.name.rpartition("/")[2])
                if match:
                    stop = member.offset + member.size
                    found.append(ClassTar(match[1], path, member.offset, stop))
                else:
                    strangers.append(member.name)
        except BrokenTarError as error:
            raise ArchiveError(f"--from: {path} is {error}: download it again") from None
    _check_classes(path, found, strangers)
    return sorted(found)


def _check_classes(path: str, found: list[ClassTar], strangers: list[str]) -> None:
    if not found:
        instead = f"it begins with {strangers[0]!r}" if strangers else "it holds none"
        raise ArchiveError(
            f"--from: {path} must hold one tar a class, n01440764.tar and so on; {instead}"
        )
    seen = set()
    for tar in found:
        if tar.wordnet_id in seen:
            raise ArchiveError(f"--from: {path} holds {tar.wordnet_id}.tar twice")
        seen.add(tar.wordnet_id)


def unpack_gzip(path: str, folder: pathlib.Path, progress: Callable[[int], None]) -> None:
    """Writes the class tars of a compressed archive into a folder; those there are kept.

    Args:
        path: of a `.tar.gz` of class tars.
        folder: a class tar appears in it when it is whole.
        progress: is told the bytes written or kept, class by class.

    Raises:
        ArchiveError: the archive is damaged or cut short, or holds no class tars.
    """
    strangers: list[str] = []
    found = []
    with epath.Path(path).open("rb") as file:
        try:
            with tarfile.open(fileobj=file, mode="r|gz") as archive:
                for member in archive:
                    match = CLASS_TAR.fullmatch(member.name.rpartition("/")[2])
                    if match is None:
                        strangers += [member.name] * member.isfile()
                        continue
                    _extract(archive, member, folder / match[0])
                    found.append(ClassTar(match[1], path, 0, member.size))
                    progress(member.size)
        except (tarfile.TarError, EOFError, OSError) as error:
            if getattr(error, "errno", None) is not None:
                raise  # of this machine, such as a full disk: not of the archive
            raise ArchiveError(f"--from: {path} is damaged ({error}): download it again") from None
    _check_classes(path, found, strangers)


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, target: pathlib.Path) -> None:
    if target.exists() and target.stat().st_size == member.size:
        return
    draft = target.with_suffix(".part")
    contents = archive.extractfile(member)
    assert contents is not None
    with draft.open("wb") as file:
        while chunk := contents.read(1 << 22):
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    if draft.stat().st_size != member.size:
        raise tarfile.ReadError(f"{member.name} is cut short")
    draft.rename(target)
