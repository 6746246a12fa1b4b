# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What a disk that is full, read-only or failing means for a run, in one line."""

import contextlib
import errno
import os
import re
from collections.abc import Iterator

from vit_jax.errors import UserError

# What a person has to mend; other errors of the operating system are bugs, or damage.
_MENDABLE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space, or have the quota raised",
    errno.EFBIG: "have the limit of file sizes raised",
    errno.EROFS: "have it mounted for writing, or choose another workdir",
    errno.EACCES: "have the rights to write there, or choose another workdir",
    errno.EPERM: "have the rights to write there, or choose another workdir",
    errno.EIO: "mend the disk, or choose another workdir",
    errno.ESTALE: "mount it again",
}
_BY_TEXT = {os.strerror(code): code for code in _MENDABLE}
_PATTERN = re.compile("|".join(map(re.escape, _BY_TEXT)), re.I)


@contextlib.contextmanager
def explained(folder: str | os.PathLike) -> Iterator[None]:
    """Raises UserError for what keeps a run from writing to its folder and a person can mend."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        code = mendable(error)
        if code is None:
            raise
        raise UserError(
            f"cannot write to {folder}: {os.strerror(code)}; {_MENDABLE[code]}, and start again: "
            "the run goes on from its last checkpoint"
        ) from error


def mendable(error: BaseException | None) -> int | None:
    """Returns the errno behind an error, if it is one that a person can mend.

    Libraries below Python (TensorStore) say it in words only.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in _MENDABLE:
            return error.errno
        if found := _PATTERN.search(str(error)):
            return next(code for text, code in _BY_TEXT.items() if text.lower() == found[0].lower())
        error = error.__cause__
    return None
