# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Seals: a directory counts once the checksums of all its files stand in it, and while they hold.

Orbax restores flipped bytes without complaint and takes an empty directory for a checkpoint; a
seal, written last and in one move, tells a whole one from the rest.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from etils import epath

SEAL = "checksums.json"
_CHUNK_BYTES = 16 * 2**20


def seal(directory: epath.Path) -> None:
    """Writes down the size and SHA-256 of every file below `directory`, in one move."""
    sums = {str(file.relative_to(directory)): _fingerprint(file) for file in _files(directory)}
    write_whole(directory / SEAL, sums)


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
    draft.replace(path)


def _files(directory: epath.Path) -> Iterator[epath.Path]:
    """Yields every file below `directory`, in order."""
    for path in sorted(directory.iterdir()):
        if path.is_dir():
            yield from _files(path)
        else:
            yield path


def _fingerprint(file: epath.Path) -> str:
    digest, size = hashlib.sha256(), 0
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return f"{size}:{digest.hexdigest()}"
