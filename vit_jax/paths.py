# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Where files lie: on a disk, or as objects in a bucket (`gs://...`), which etils.epath opens."""

import os

from etils import epath

from vit_jax.errors import UserError

Path = str | os.PathLike


def is_remote(path: Path) -> bool:
    """Returns whether a path is in a bucket, "gs://..." and the like, and not of a file system."""
    return "://" in os.fspath(path)


def absolute(path: Path) -> epath.Path:
    """Returns a path that stays the same when the current folder changes; buckets are as they are.

    (`epath.Path.absolute` takes "gs://..." for a path below the current folder.)
    """
    return epath.Path(path) if is_remote(path) else epath.Path(path).absolute()


def shown(path: Path) -> str:
    """Returns a path as text that any encoding takes; bytes that are none are written \\xff."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def make_folder(path: Path, option: str) -> epath.Path:
    """Makes a folder that a command is to write into, unless it is there.

    Raises:
        UserError: it cannot be made or written to; names the option that asked for it.
    """
    folder = epath.Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{option}={path} cannot be made: {error.strerror or error}") from None
    if not is_remote(path) and not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{option}={path} cannot be written to; choose another folder")
    return folder
