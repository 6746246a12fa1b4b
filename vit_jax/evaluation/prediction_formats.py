# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The files that a table of predictions can be: CSV, JSON lines, NPZ, Parquet."""

import csv
import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from vit_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Part:
    """Consecutive rows of a table.

    Attributes:
        images: names of the files, `[n]`.
        errors: why they could not be read, or "", `[n]`.
        classes: int32 `[n, k]`, the likeliest first; -1 where there is none.
        probabilities: float32 `[n, k]`, of these; NaN where there is none.
        features: float32 `[n, D or 0]`.
    """

    images: np.ndarray
    errors: np.ndarray
    classes: np.ndarray
    probabilities: np.ndarray
    features: np.ndarray

    @property
    def in_class_order(self) -> np.ndarray:
        """The probabilities of all classes by their number, where `k` is all."""
        order = np.argsort(self.classes, axis=-1)
        return np.take_along_axis(self.probabilities, order, axis=-1)


def write_csv(
    path: pathlib.Path, parts: Iterable[Part], class_names: Sequence[str], every: bool
) -> None:
    """Writes a row an image: image, error, and class_1, probability_1, ...; or a column a class."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        head: list[str] = []
        for part in parts:
            if not head:
                ranks = range(1, part.classes.shape[1] + 1)
                ranked = [f"{kind}_{rank}" for rank in ranks for kind in ("class", "probability")]
                of_class = [f"probability of {name}" for name in class_names]
                head = ["image", "error", *(of_class if every else ranked)]
                writer.writerow(head)
            values = part.in_class_order if every else part.probabilities
            for image, error, best, row in zip(
                part.images, part.errors, part.classes, values, strict=True
            ):
                numbers = [f"{value:.9g}" for value in row]  # what tells float32 numbers apart
                named = [x for i, p in zip(best, numbers, strict=True) for x in (class_names[i], p)]
                cells = [""] * (len(head) - 2) if error else numbers if every else named
                writer.writerow([image, error, *cells])


def write_jsonl(
    path: pathlib.Path, parts: Iterable[Part], class_names: Sequence[str], every: bool
) -> None:
    """Writes an object a line: image, error or null, classes with their probabilities."""
    with open(path, "w", encoding="utf-8") as file:
        for part in parts:
            for image, error, best, row in zip(
                part.images, part.errors, part.classes, part.probabilities, strict=True
            ):
                named = [
                    {"name": class_names[i], "probability": float(f"{value:.9g}")}
                    for i, value in zip(best, row, strict=True)
                ]
                classes = [] if error else named
                line = {"image": str(image), "error": str(error) or None, "classes": classes}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")


def write_npz(
    path: pathlib.Path, parts: Iterable[Part], class_names: Sequence[str], every: bool
) -> None:
    """Writes arrays: image, error, probabilities `[N, C]`, class_names, features `[N, D]`."""
    columns = [(p.images, p.errors, p.in_class_order, p.features) for p in parts]
    names = ("image", "error", "probabilities", "features")
    arrays: dict[str, Any] = {
        name: np.concatenate(of_name)
        for name, of_name in zip(names, zip(*columns, strict=True), strict=True)
    }
    if not arrays["features"].shape[1]:
        del arrays["features"]
    np.savez(path, allow_pickle=False, class_names=np.array(class_names), **arrays)


def write_parquet(
    path: pathlib.Path, parts: Iterable[Part], class_names: Sequence[str], every: bool
) -> None:
    """Writes columns image, error, classes and probabilities (lists, likeliest first), features."""
    pa, parquet = import_parquet()
    names = pa.array(class_names, pa.string())
    writer = None
    for part in parts:
        good = part.errors == ""
        columns = {
            "image": pa.array(part.images, pa.string()),
            "error": pa.array(part.errors, pa.string(), mask=good),
            "classes": _lists(pa, names.take(pa.array(part.classes[good].ravel())), good),
            "probabilities": _lists(pa, pa.array(part.probabilities[good].ravel()), good),
        }
        if part.features.shape[1]:
            columns["features"] = _lists(pa, pa.array(part.features[good].ravel()), good)
        table = pa.table(columns)
        writer = writer or parquet.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


def _lists(pa: Any, values: Any, good: np.ndarray) -> Any:
    """Returns a list column: equal shares of `values` for the good rows, null for the others."""
    share = len(values) // max(1, int(good.sum()))
    offsets = np.concatenate([[0], np.cumsum(np.where(good, share, 0))]).astype(np.int32)
    mask = pa.array(~good)
    return pa.ListArray.from_arrays(pa.array(offsets), values, mask=mask)


def import_parquet() -> tuple[Any, Any]:
    """Returns the modules `pyarrow` and `pyarrow.parquet`.

    Raises:
        UserError: they are not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise UserError(
            "a .parquet file needs pyarrow: pip install pyarrow, or write .csv or .npz"
        ) from error
    return pyarrow, parquet


Writer = Callable[[pathlib.Path, Iterable[Part], Sequence[str], bool], None]
WRITERS: dict[str, Writer] = {
    ".csv": write_csv,
    ".jsonl": write_jsonl,
    ".npz": write_npz,
    ".parquet": write_parquet,
}
