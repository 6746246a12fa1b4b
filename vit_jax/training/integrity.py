# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Seals: a directory counts once the checksums of all its files stand in it, and while they hold.

Orbax restores flipped bytes without complaint and takes an empty directory for a checkpoint; a
seal, written last and in one move, tells a whole one from the rest.
"""

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from typing import Any

from etils import epath

SEAL = "checksums.json"
_CHUNK_BYTES = 16 * 2**20


def seal(directory: epath.Path) -> None:
    """Writes down the size and SHA-256 of every file below `directory`, in one move.

    All of it is on disk then, so that older ones may go.
    """
    files = list(_files(directory))
    sums = {str(file.relative_to(directory)): _fingerprint(file, sync=True) for file in files}
    write_whole(directory / SEAL, sums)
    for folder in {directory.parent, directory, *(file.parent for file in files)}:
        _sync(folder)


def is_sealed(directory: epath.Path) -> bool:
    """Whether `directory` was finished once (its files may have suffered since)."""
    return (directory / SEAL).exists()


def unseal(directory: epath.Path) -> None:
    """Makes `directory` not count any more, ahead of its removal."""
    (directory / SEAL).unlink(missing_ok=True)


def find_damage(directory: epath.Path) -> str | None:
    """Returns what is wrong with a directory in a few words, or None if every file is as sealed."""
    if not is_sealed(directory):
        return "incomplete"
    try:
        sums = json.loads((directory / SEAL).read_text())
    except ValueError:
        return f"{SEAL} unreadable"
    for name, expected in sums.items():
        file = directory / name
        if not file.exists():
            return f"{name} missing"
        if _fingerprint(file) != expected:
            return f"{name} differs from its checksum"
    return None


def write_whole(path: epath.Path, content: dict[str, Any]) -> None:
    """Writes JSON so that `path` either has all of it or does not exist."""
    draft = path.parent / f"{path.name}.draft"
    draft.write_text(json.dumps(content, indent=1))
    _sync(draft)
    draft.replace(path)


def _files(directory: epath.Path) -> Iterator[epath.Path]:
    """Yields every file below `directory`, in order."""
    for path in sorted(directory.iterdir()):
        if path.is_dir():
            yield from _files(path)
        else:
            yield path


def _sync(path: epath.Path) -> None:
    """Makes a file or directory survive a loss of power; object stores do so by themselves."""
    if "://" in os.fspath(path):
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS):  # some file systems have no such thing
            raise
    finally:
        os.close(handle)


def _fingerprint(file: epath.Path, sync: bool = False) -> str:
    if sync:
        _sync(file)
    digest, size = hashlib.sha256(), 0
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return f"{size}:{digest.hexdigest()}"
