# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Data that goes away or rots while it is read: replaced and named while it is little, one clear
line when it is much."""

import logging
import pathlib
import shutil

import bad_pictures
import numpy as np
import pytest

from vit_jax.data import ops
from vit_jax.data.pipeline import TrainPipeline
from vit_jax.data.sources import create_source
from vit_jax.errors import UserError

OPS = ops.parse("decode|resize(16)")


@pytest.fixture(autouse=True)
def quiet(caplog):
    caplog.set_level(logging.CRITICAL)


def test_a_picture_that_vanishes_is_replaced_and_named(tmp_path):
    source = create_source(f"folder:{bad_pictures.fill(tmp_path)}", "train")
    pipeline = TrainPipeline(source=source, ops=OPS, batch_size=4, prefetch_batches=1)
    batches = pipeline.batches()
    next(batches)
    gone = 7
    pathlib.Path(source.name(gone)).unlink()
    seen = [next(batches)["index"] for _ in range(3 * len(source) // 4)]
    assert set(np.concatenate(seen)) >= set(range(len(source))) - {gone}
    assert "No such file" in pipeline.bad_records[gone]
    assert set(pipeline.bad_records) == {gone}


def test_a_folder_that_vanishes_is_one_line(tmp_path):
    root = bad_pictures.fill(tmp_path / "pictures")
    source = create_source(f"folder:{root}", "train")
    batches = TrainPipeline(source=source, ops=OPS, batch_size=4).batches()
    next(batches)
    shutil.rmtree(root)
    with pytest.raises(
        UserError, match=r"images cannot be read, among them .*No such file"
    ) as line:
        list(batches)
    assert "\n" not in str(line.value)


def cut_short(content):
    return content[: len(content) // 2]


def flip(content):
    spoilt = bytearray(content)
    spoilt[20_000::5_000] = bytes(b ^ 0xFF for b in spoilt[20_000::5_000])
    return bytes(spoilt)


@pytest.fixture
def shard(tmp_path):
    """The digits' training shard, in a folder of its own."""
    create_source("digits", "train", str(tmp_path))
    return next(tmp_path.rglob("*-train.array_record*"))


@pytest.mark.parametrize("opened", [True, False], ids=["while read", "before"])
@pytest.mark.parametrize("damage", [cut_short, flip])
def test_a_rotten_shard_is_one_line(shard, tmp_path, damage, opened):
    source = create_source("digits", "train", str(tmp_path))
    if opened:
        assert source[0]["image"]
    shard.write_bytes(damage(shard.read_bytes()))
    pipeline = TrainPipeline(source=source, ops=ops.parse("decode|resize(8)"), batch_size=64)
    reason = r"Corrupted Riegeli|its file was cut short"
    with pytest.raises(UserError, match=rf"cannot be read, among them .*({reason})") as line:
        list(pipeline.batches())
    assert "\n" not in str(line.value)


def test_what_a_rotten_shard_still_holds_is_read(shard, tmp_path):
    source = create_source("digits", "train", str(tmp_path))
    whole = [source[i]["image"] for i in range(len(source))]
    shard.write_bytes(flip(shard.read_bytes()))
    read = source._serialised(np.arange(len(source)))
    good = [i for i, record in enumerate(read) if record]
    assert 0 < len(good) < len(source)
    assert [source[i]["image"] for i in good] == [whole[i] for i in good]
    bad = next(i for i, record in enumerate(read) if not record)
    with pytest.raises(OSError, match="Corrupted"):
        source[bad]
