# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""A source kept in memory: raw records, read once."""

import concurrent.futures
import logging
import os
from pathlib import Path
from typing import Any

from vit_jax.data.sources.base import Source
from vit_jax.errors import UserError

logger = logging.getLogger(__name__)

_SAMPLES = 64  # records read to estimate the size
_RECORD_BYTES = 400  # what Python keeps around a record
_USABLE = 0.9  # share of the free memory that a cache may take


class CachedSource(Source):
    """The same records as another source, from memory once it is filled.

    The size is logged before the first record is kept.

    Args:
        source: whose records to keep.
        threads: how many read while it fills.

    Raises:
        UserError: the records would not fit into the memory that is free now.
    """

    def __init__(self, source: Source, threads: int):
        self.source = source
        self.class_names = source.class_names
        self.encoded = source.encoded
        size = estimate_bytes(source)
        free = free_memory_bytes()
        logger.info("cache: %d records take about %.0f MiB", len(source), size / 2**20)
        if free is not None and size > _USABLE * free:
            raise UserError(
                f"data.cache=True needs about {size / 2**20:,.0f} MiB of memory and "
                f"{free / 2**20:,.0f} MiB are free: set data.cache=False"
            )
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            self._records = list(pool.map(self._read, range(len(source))))

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._records[index] or self.source[index]

    def name(self, index: int) -> str:
        """Returns what the source calls the record."""
        return self.source.name(index)

    def _read(self, index: int) -> dict[str, Any] | None:
        try:
            return self.source[index]
        except OSError:
            return None  # asked for again when it is needed, and named then


def estimate_bytes(source: Source) -> int:
    """Returns about how much memory the records of a source take, from a sample spread over it."""
    n = len(source)
    sizes = []
    for index in range(0, n, max(1, n // _SAMPLES)):
        try:
            image = source[index]["image"]
        except OSError:
            continue
        sizes.append((len(image) if source.encoded else image.nbytes) + _RECORD_BYTES)
    return n * sum(sizes) // max(1, len(sizes))


def free_memory_bytes() -> int | None:
    """Returns how much memory a process may still take, or None if the system does not tell.

    The smaller of what the machine has and what the container (cgroup v2) allows.
    """
    free = []
    try:
        fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        free.append(int(fields["MemAvailable"].split()[0]) * 1024)
    except (OSError, KeyError):
        if "SC_AVPHYS_PAGES" in os.sysconf_names:
            free.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    try:
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text())  # "max" if there is none
        free.append(limit - int((group / "memory.current").read_text()))
    except (OSError, ValueError):
        pass
    return min(free, default=None)
