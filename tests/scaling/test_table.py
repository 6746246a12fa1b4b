# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The table of a study: what is written is read back, from either file."""

import csv
import math
import sys

import numpy as np
import pytest

from vit_jax.errors import UserError
from vit_jax.scaling import table


def make_rows(rng, count=7):
    """Rows with numbers of every size, gaps, and labels of axes that look like numbers."""
    rows = []
    for index in range(count):
        row = {name: rng.lognormal(0, 20) for name in table.COLUMNS if table.is_number(name)}
        row |= {"family": f"f{index % 3}", "seed": index % 2, "model": 'a, "b"', "data": f"{index}"}
        row |= {"parameters": int(rng.integers(1, 10**12)), "flops": 7e22}
        for name in rng.choice(list(row), 3, replace=False):
            row[name] = None
        rows.append(row)
    return rows


@pytest.fixture(params=["table.csv", "table.parquet"])
def file_name(request):
    if request.param.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    return request.param


def test_what_is_written_is_read_back(tmp_path, file_name):
    rng = np.random.default_rng()
    rows = make_rows(rng)
    paths = table.write(rows, tmp_path)
    assert tmp_path / file_name in paths
    assert sorted(tmp_path.iterdir()) == sorted(paths), "nothing else is left there"
    found = table.read(tmp_path / file_name)
    assert found.names == (*table.COLUMNS, "data")
    assert len(found) == len(rows)
    for row, expected in zip(found.rows(), rows, strict=True):
        for name, value in row.items():
            wanted = expected.get(name)
            if isinstance(value, str):
                assert value == ("" if wanted is None else wanted)
            else:
                assert value == wanted or (math.isnan(value) and wanted is None), name


def test_the_folder_of_a_study_stands_for_its_table(tmp_path):
    table.write([{"family": "ViT", "loss": 0.5}], tmp_path)
    assert table.read(tmp_path).column("loss").tolist() == [0.5]


def test_whole_numbers_have_no_point(tmp_path):
    table.write([{"steps": 1563.0, "flops": 2.5e9, "loss": 0.1}], tmp_path)
    with (tmp_path / "table.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["steps"], row["flops"], row["loss"]) == ("1563", "2500000000", "0.1")
    assert row["accuracy"] == row["model"] == ""


def test_rows_are_chosen_by_value():
    rows = [
        {"family": family, "seed": seed, "loss": loss}
        for family, seed, loss in [("ViT", 0, 1.0), ("ViT", 1, None), ("Mixer", 0, 3.0)]
    ]
    found = table.from_rows(rows)
    assert found.where(family="ViT").column("seed").tolist() == [0, 1]
    assert found.where(family="ViT", seed=0).column("loss").tolist() == [1.0]
    assert found.where(family=("ViT", "Mixer"), seed=(0,)).column("loss").tolist() == [1.0, 3.0]
    assert len(found.where(family="BiT")) == 0
    assert found.known("loss", "family").column("seed").tolist() == [0, 0]
    assert len(found.known("model")) == 0
    assert found.distinct("family") == ["ViT", "Mixer"]
    with pytest.raises(UserError, match=r"no column 'famly'; did you mean 'family'"):
        found.where(famly="ViT")


def test_a_file_of_published_numbers_says_where_they_are_from(tmp_path):
    path = tmp_path / "paper.csv"
    path.write_text("# Zhai et al.\n# Table 1\nfamily,loss,blocks\nViT,,12\n")
    found = table.read(path)
    assert found.note == "Zhai et al.\nTable 1"
    assert next(found.where(family="ViT").rows())["blocks"] == "12"
    assert np.isnan(found.column("loss")).tolist() == [True]


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("a.csv", None, "there is no table"),
        ("a.txt", "family\n", r"is a \.csv or a \.parquet"),
        ("a.csv", "family,loss\nViT\n", "row 1 has 1 cells under 2 columns"),
        ("a.csv", "family,loss\nViT,low\n", "column 'loss' holds numbers, but .*'low'"),
        ("a.csv", "loss,loss\n1,2\n", "two columns are called 'loss'"),
        ("a.csv", b"family\n\xff\n", "is no UTF-8 text"),
        ("a.parquet", "no parquet", "a.parquet cannot be read: "),
    ],
)
def test_what_is_no_table_is_refused_in_a_line(tmp_path, name, text, error):
    if text is not None:
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=error):
        table.read(tmp_path / name)


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path):
    (tmp_path / "a.csv").write_bytes("\ufefffamily,loss\nViT,1\n".encode())
    assert table.read(tmp_path / "a.csv").names == ("family", "loss")


def test_without_pyarrow_there_is_the_csv_alone(tmp_path, monkeypatch):
    (tmp_path / "table.parquet").write_text("of another time")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (path,) = table.write([{"family": "ViT"}], tmp_path)
    assert path.name == "table.csv"
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]
    assert table.read(path).column("family").tolist() == ["ViT"]
