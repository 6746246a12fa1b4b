# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Whether a prepared data set is still what it was."""

import concurrent.futures
import os
from collections.abc import Iterator
from typing import NamedTuple

from etils import epath

from vit_jax.data.preparation.finish import CHECKSUMS
from vit_jax.data.preparation.shards import sha256
from vit_jax.errors import UserError


class Checked(NamedTuple):
    """A shard, and what is wrong with it; "" if nothing is."""

    path: str
    problem: str


def verify(path: str, threads: int = 0) -> Iterator[Checked]:
    """Yields every shard of the data sets in a folder, read and compared with its checksum.

    Args:
        path: of a prepared data set, or of a folder of several; local or not.
        threads: how many files are read at once; 0 for one a core.

    Raises:
        UserError: there is no prepared data set.
    """
    root = epath.Path(path).expanduser()
    lists = [root / CHECKSUMS]
    if not lists[0].exists():
        lists = sorted(root.glob(f"*/*/{CHECKSUMS}")) if root.exists() else []
    if not lists:
        raise UserError(f"--verify={path}: there is no data set that `vit-jax prepare` made")
    expected = [
        (file.parent / name, digest)
        for file in lists
        for digest, name in (line.split("  ", 1) for line in file.read_text().splitlines())
    ]
    with concurrent.futures.ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        yield from pool.map(lambda pair: Checked(os.fspath(pair[0]), _problem(*pair)), expected)


def _problem(path: epath.Path, digest: str) -> str:
    try:
        return "" if sha256(path) == digest else "its bytes have changed"
    except OSError as error:
        return "it is missing" if not path.exists() else f"cannot be read ({error})"
