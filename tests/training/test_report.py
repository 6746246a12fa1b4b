# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What a run says of its data, and the commands it ends with."""

import shlex
import types

import numpy as np
import pytest

from vit_jax import cli
from vit_jax.data.sources import Source
from vit_jax.training import report


class Counted(Source):
    def __init__(self, counts, left_out=""):
        self.counts = counts
        self.class_names = tuple(f"class {i}" for i in range(len(counts or ())))
        self._left_out = left_out

    @property
    def left_out(self):
        return self._left_out

    def class_counts(self):
        return None if self.counts is None else np.array(self.counts)

    def __len__(self):
        return sum(self.counts)

    def __getitem__(self, index):
        raise AssertionError("nothing is read")


def test_few_classes_have_a_line_each():
    splits = {"train": Counted([8, 1, 4], "2 hidden"), "validation": Counted([3, 0, 1], "2 hidden")}
    assert report.data(splits).splitlines() == [
        "class      train    validation",
        "-------  -------  ------------",
        "class 0        8             3",
        "class 1        1             0",
        "class 2        4             1",
        "validation has no image of class 1",
        "left out where train lies: 2 hidden",
    ]


def test_many_classes_have_a_line_together():
    counts = [*range(100, 150), 3, 500]
    lines = report.data({"train": Counted(counts), "test": Counted([0] * 52)}).splitlines()
    assert lines[0] == (
        "train: 3 to 500 images a class, median 124; fewest class 50 3, class 0 100, class 1 101; "
        "most class 51 500, class 49 149, class 48 148"
    )
    assert "test has no image of class 0, class 1, class 2, class 3, class 4 and 47 more" in lines
    assert lines[-1].startswith("train has 167 times as many images of 'class 51' as of 'class 50'")


def test_what_cannot_be_counted_is_not():
    assert report.data({"train": Counted(None)}) == ""


def test_unreadable_images_are_named():
    source = types.SimpleNamespace(name=lambda i: f"{i}.jpg")
    pipeline = types.SimpleNamespace(source=source, bad_records=dict.fromkeys(range(7), "broken"))
    fine = types.SimpleNamespace(source=source, bad_records={})
    assert report.unreadable({"train": fine, "test": fine}) == ""
    text = report.unreadable({"train": pipeline, "test": fine})
    assert text.startswith("train: 7 unreadable images were replaced by others: 0.jpg (broken), 1")
    assert text.endswith("4.jpg (broken) and 2 more")


@pytest.mark.parametrize("folder", ["runs/a", "my runs/it's mine"])
def test_every_command_is_one(folder, tmp_path):
    """As a shell would take them, every printed command is understood."""
    image = tmp_path / "a picture.jpg"
    image.touch()
    source = types.SimpleNamespace(name=lambda i: str(image))
    evaluated = {"validation": types.SimpleNamespace(source=source)}
    lines = report.commands(folder, evaluated).splitlines()
    assert [line.split(":")[0] for line in lines] == ["evaluate", "predict", "export", "convert"]
    for line in lines:
        program, *words = shlex.split(line.split(":", 1)[1])
        assert program == "vit-jax"
        parser, _ = cli.build_parser(words)
        args = vars(parser.parse_args(words))
        assert folder in args.values() or [folder] in args.values()
        assert args.get("split", "validation") == "validation"
        assert args.get("images", [str(image)]) == [str(image)]
