# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The table of a scaling study: a row a point, as CSV and as Parquet.

A row is a mapping from the names of columns to values. `COLUMNS` are there in every table that a
study writes; a column that is not among them is an axis of the study and holds its labels as text.
What is not known is NaN in a column of numbers and "" in one of texts, and an empty cell in CSV.
"""

import csv
import dataclasses
import math
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from vit_jax.errors import UserError
from vit_jax.evaluation.prediction_formats import import_parquet
from vit_jax.registry import near_misses

Row = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Column:
    """A column: what it says, in which unit; a text where there is no unit."""

    meaning: str
    unit: str = ""


COLUMNS: dict[str, Column] = {
    "study": Column("the study that the point belongs to"),
    "family": Column("family of the model: ViT, Mixer, ..."),
    "model": Column("name of the model"),
    "parameters": Column("parameters of the model", "parameters"),
    "forward_flops": Column("forward pass of one image", "FLOPs"),
    "flops": Column("training up to here: 3 x forward x images seen", "FLOPs"),
    "examples": Column("distinct training examples", "images"),
    "images_seen": Column("examples shown, one seen twice counts twice", "images"),
    "steps": Column("optimiser steps", "steps"),
    "seed": Column("seed of the run", "-"),
    "loss": Column("mean loss on the evaluated split", "nats"),
    "accuracy": Column("top-1 accuracy on the evaluated split", "share"),
    "error": Column("1 - accuracy", "share"),
    "few_shot": Column("accuracy of few-shot classification on its features", "share"),
    "seconds": Column("wall time of training up to here", "seconds"),
    "state": Column("how far the run has come: finished, diverged, ..."),
    "split": Column("which part of the data loss and accuracy are of"),
    "run": Column("the workdir of the point, inside the study's"),
}


def is_number(name: str) -> bool:
    """Says whether a column holds numbers; labels of an axis are texts."""
    return name in COLUMNS and bool(COLUMNS[name].unit)


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows, kept by column.

    Attributes:
        values: name -> float64 `[n]`, or texts `[n]` (dtype object).
        note: the lines that opened the file with "#": where its numbers come from.
    """

    values: Mapping[str, np.ndarray]
    note: str = ""

    def __len__(self) -> int:
        return len(next(iter(self.values.values()), ()))

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, in the order of the file."""
        return tuple(self.values)

    def column(self, name: str) -> np.ndarray:
        """Returns a column `[n]`: float64 or texts. Raises UserError if there is none."""
        if name not in self.values:
            hint = near_misses(name, self.names) or f"; it has {', '.join(self.names)}"
            raise UserError(f"the table has no column {name!r}{hint}")
        return self.values[name]

    def where(self, **wanted: Any) -> "Table":
        """Returns the rows whose columns have these values: family="ViT", seed=(0, 1)."""
        keep = np.ones(len(self), bool)
        for name, value in wanted.items():
            choices = [value] if isinstance(value, str) or np.isscalar(value) else list(value)
            keep &= np.isin(self.column(name), np.array(choices, self.column(name).dtype))
        return self.take(keep)

    def take(self, index: np.ndarray) -> "Table":
        """Returns some rows, by a mask `[n]` or by their numbers."""
        return dataclasses.replace(self, values={k: v[index] for k, v in self.values.items()})

    def known(self, *names: str) -> "Table":
        """Returns the rows in which none of these columns is empty."""
        columns = [self.column(name) for name in names]
        empty = [np.isnan(x) if x.dtype == float else x == "" for x in columns]
        return self.take(~np.any([np.zeros(len(self), bool), *empty], axis=0))

    def distinct(self, name: str) -> list[Any]:
        """Returns the values of a column, each once, in the order in which they come."""
        return list(dict.fromkeys(self.column(name).tolist()))

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yields every row as a dictionary."""
        for cells in zip(*(column.tolist() for column in self.values.values()), strict=True):
            yield dict(zip(self.values, cells, strict=True))


def from_rows(rows: Sequence[Row]) -> Table:
    """Returns rows as a table with all of `COLUMNS`, then the others as they come."""
    names = dict.fromkeys([*COLUMNS, *(name for row in rows for name in row)])
    return Table({name: _array(name, [row.get(name) for row in rows]) for name in names})


def _array(name: str, cells: Sequence[Any]) -> np.ndarray:
    """Returns a column; an empty cell (None, "" or NaN) as NaN or ""."""
    if is_number(name):
        return np.array([math.nan if cell in (None, "") else float(cell) for cell in cells], float)
    texts = ["" if cell is None else str(cell) for cell in cells]
    return np.array(texts, object)


def write(rows: Sequence[Row], folder: str | os.PathLike) -> tuple[pathlib.Path, ...]:
    """Writes `table.parquet` and `table.csv`, each at once or not at all; returns their paths.

    Without pyarrow there is only the CSV.
    """
    folder, table = pathlib.Path(folder), from_rows(rows)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, save in (("table.parquet", _write_parquet), ("table.csv", _write_csv)):
        partial = folder / f"{name}.{os.getpid()}.partial"  # several may gather the same study
        try:
            save(table, partial)
        except UserError:
            (folder / name).unlink(missing_ok=True)  # an older one would be another table
            continue
        partial.replace(folder / name)
        paths.append(folder / name)
    return tuple(paths)


def _write_csv(table: Table, path: pathlib.Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table.names)
        writer.writerows([_cell(value) for value in row.values()] for row in table.rows())


def _cell(value: str | float) -> str:
    """Returns a text that reads back as the same value; whole numbers without a point."""
    if isinstance(value, str):
        return value
    if math.isnan(value):
        return ""
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def _write_parquet(table: Table, path: pathlib.Path) -> None:
    pyarrow, parquet = import_parquet()
    kinds = {True: pyarrow.float64(), False: pyarrow.string()}
    columns = {
        name: pyarrow.array(column, kinds[is_number(name)], from_pandas=True)
        for name, column in table.values.items()
    }
    parquet.write_table(pyarrow.table(columns), path)


def read(path: str | os.PathLike) -> Table:
    """Reads a table: a `.csv` or `.parquet` file, or the folder of a study.

    Raises:
        UserError: there is none, it cannot be read, or a cell of a column of numbers is no number.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        path = path / "table.csv"
    if not path.is_file():
        raise UserError(f"{path}: there is no table; name a .csv or .parquet, or a study's folder")
    if path.suffix == ".parquet":
        return _read_parquet(path)
    if path.suffix == ".csv":
        return _read_csv(path)
    raise UserError(f"{path}: a table is a .csv or a .parquet file")


def _read_parquet(path: pathlib.Path) -> Table:
    _, parquet = import_parquet()
    try:
        found = parquet.read_table(path)
    except (OSError, ValueError) as error:  # pyarrow's own are both
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} cannot be read: {reason}") from None
    columns = {name: found[name].to_pylist() for name in found.column_names}
    return Table({name: _parsed(path, name, cells) for name, cells in columns.items()})


def _parsed(path: pathlib.Path, name: str, cells: Sequence[Any]) -> np.ndarray:
    try:
        return _array(name, cells)
    except ValueError as error:
        raise UserError(f"{path}: column {name!r} holds numbers, but {error}") from None


def _read_csv(path: pathlib.Path) -> Table:
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise UserError(f"{path} is no UTF-8 text; save it as CSV in UTF-8") from None
    opening = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    note = "\n".join(line.removeprefix("#").strip() for line in lines[:opening])
    head, *body = list(csv.reader(lines[opening:])) or [[]]
    cells = [row for row in body if row]
    for number, row in enumerate(cells, 1):
        if len(row) != len(head):
            raise UserError(f"{path}: row {number} has {len(row)} cells under {len(head)} columns")
    for name in head:
        if head.count(name) > 1:
            raise UserError(f"{path}: two columns are called {name!r}; rename one")
    columns = {name: [row[index] for row in cells] for index, name in enumerate(head)}
    return Table({name: _parsed(path, name, column) for name, column in columns.items()}, note)
