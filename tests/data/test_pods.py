# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Reading from buckets, and each process of many reading no more than its part."""

import collections
import io

import imagenet_archives as made
import numpy as np
import pytest
from array_record.python import array_record_data_source
from etils.epath import backend, gpath
from PIL import Image

from vit_jax.data import ops as ops_lib
from vit_jax.data.pipeline import EvalPipeline, TrainPipeline
from vit_jax.data.sources import Source, create_source
from vit_jax.data.sources import tfds as tfds_source
from vit_jax.data.tensorflow import import_tensorflow

OPS = ops_lib.parse("decode|inception_crop(8)|flip")
tf = import_tensorflow()


# --- buckets ---------------------------------------------------------------------------------

URI = "gs://pictures"


def bucket(folder, opened):
    """Returns a backend of etils.epath whose gs://pictures is a folder; counts what is opened."""

    def local(path):
        return str(path).replace(URI, str(folder))

    class Bucket(backend._OsPathBackend):
        def open(self, path, mode="r"):
            opened[str(path)] += 1
            return super().open(local(path), mode)

        def glob(self, path):
            return [found.replace(str(folder), URI) for found in super().glob(local(path))]

    for name in ("exists", "isdir", "listdir", "stat"):
        real = getattr(backend._OsPathBackend, name)
        setattr(Bucket, name, lambda self, path, real=real: real(self, local(path)))
    return Bucket()


@pytest.fixture
def remote(tmp_path, monkeypatch):
    """An empty folder that is also gs://pictures, and how often each file of it was opened."""
    folder, opened = tmp_path / "bucket", collections.Counter()
    folder.mkdir()
    fake, real = bucket(folder, opened), gpath._GPath._backend.fget
    choose = property(lambda path: fake if str(path).startswith("gs://") else real(path))
    monkeypatch.setattr(gpath._GPath, "_backend", choose)
    # ArrayRecord opens gs:// by a client of its own.
    create = array_record_data_source._create_reader

    def create_reader(path, options):
        opened[str(path)] += 1
        return create(str(path).replace(URI, str(folder)), options)

    monkeypatch.setattr(array_record_data_source, "_create_reader", create_reader)
    return folder, opened


def fill(folder, classes=3, each=6):
    for label in range(classes):
        for i in range(each):
            path = folder / "train" / f"class{label}" / ("deeper" if i == 0 else "") / f"{i}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(made.encode(made.picture([label, i], (20 + i, 24))))
    (folder / "train" / "class0" / "notes.txt").write_text("no picture")


def contents(source):
    return [(source[i]["image"], source[i]["label"]) for i in range(len(source))]


def test_a_folder_in_a_bucket_is_the_folder(remote):
    folder, opened = remote
    fill(folder)
    local, far = (create_source(f"folder:{root}", "train") for root in (folder, URI))
    assert far.class_names == local.class_names
    assert far.left_out == local.left_out == "1 of the kind .txt"
    assert contents(far) == contents(local)
    assert [far.name(i) for i in range(len(far))] == [
        local.name(i).replace(str(folder), URI) for i in range(len(local))
    ]
    opened.clear()
    batches = [
        next(TrainPipeline(source=s, ops=OPS, batch_size=5, seed=3).batches()) for s in (local, far)
    ]
    for key, value in batches[0].items():
        np.testing.assert_array_equal(batches[1][key], value)
    assert set(opened) == {far.name(i) for i in range(len(far))} & set(opened)
    assert {far.name(int(i)) for i in batches[1]["index"]} <= set(opened)
    relative = create_source("folder:train", "train", URI)
    assert contents(relative) == contents(create_source(f"folder:{folder}/train", "train"))


def test_a_prepared_data_set_in_a_bucket_is_read_by_its_address(remote):
    from test_preparation import prepare

    folder, opened = remote
    archive = made.write_21k(folder, made.class_tars(12, made.CLASSES[:2], damage=False))
    prepare(archive, folder / "data")
    opened.clear()
    local, far = (create_source("tfds:imagenet21k", "train", f"{r}/data") for r in (folder, URI))
    assert (len(far), far.class_names) == (12, made.CLASSES[:2])
    indices = tf.constant([3, 11, 0, 3], tf.int64)
    np.testing.assert_array_equal(far.fetch(indices)["example"], local.fetch(indices)["example"])
    assert contents(far) == contents(local)
    shards = [path for path in opened if "array_record" in path and path.startswith(URI)]
    assert len(shards) == 2
    assert tfds_source.find_builder("imagenet21k", f"{URI}/data").is_prepared()


def test_archives_in_a_bucket_are_prepared_from_there(remote, tmp_path):
    from test_preparation import prepare, sums

    folder, _ = remote
    tars = made.class_tars(12, made.CLASSES[:2])
    archive = made.write_21k(folder, tars)
    far = prepare(f"{URI}/{made.FALL}", tmp_path / "far")
    assert sums(far) == sums(prepare(archive, tmp_path / "near"))


# --- each process its part -------------------------------------------------------------------


class Counting(Source):
    """Pictures in memory; counts which are read."""

    class_names = ("one",)

    def __init__(self, number):
        self.reads = collections.Counter()
        random = np.random.default_rng(number)
        self._pictures = []
        for _ in range(number):
            file = io.BytesIO()
            Image.fromarray(random.integers(0, 256, (9, 9, 3), np.uint8)).save(file, "PNG")
            self._pictures.append(file.getvalue())

    def __len__(self):
        return len(self._pictures)

    def __getitem__(self, index):
        self.reads[index] += 1
        return {"image": self._pictures[index], "label": 0, "name": self.name(index)}


def test_each_process_reads_only_the_records_of_its_rows():
    """Over whole epochs all of them together read each record once an epoch, none twice."""
    processes, batch_size, number, epochs = 2, 8, 24, 2
    rows = np.array_split(np.arange(batch_size), processes)
    steps = epochs * number // batch_size
    whole = Counting(number)
    expected = TrainPipeline(source=whole, ops=OPS, batch_size=batch_size, seed=1).batches()
    expected = [next(expected) for _ in range(steps)]
    total = collections.Counter()
    for mine in rows:
        source = Counting(number)
        pipeline = TrainPipeline(
            source=source, ops=OPS, batch_size=batch_size, seed=1, rows=mine, prefetch_batches=1
        )
        dataset = pipeline._dataset(0, steps)  # which ends, and so reads nothing ahead of its end
        delivered = [batch for batch, _ in pipeline._stream(dataset, 0)]
        needed = collections.Counter()
        for batch, every in zip(delivered, expected, strict=True):
            for key in every:
                np.testing.assert_array_equal(batch[key], every[key][mine])
            needed.update(batch["index"].tolist())
        assert source.reads == needed
        assert sum(needed.values()) == epochs * number // processes
        total += source.reads
    assert total == collections.Counter(dict.fromkeys(range(number), epochs))


def test_in_evaluation_too_each_process_reads_only_its_part():
    number, batch_size = 21, 8
    total = collections.Counter()
    for mine in np.split(np.arange(batch_size), 2):
        source = Counting(number)
        pipeline = EvalPipeline(source=source, ops=OPS, batch_size=batch_size, rows=mine)
        shown = [i for b in pipeline.batches() for i in b["index"].tolist() if i >= 0]
        padding = source.reads - collections.Counter(shown)
        assert set(padding) <= {number - 1}  # what pads the last batch
        total += collections.Counter(shown)
    assert total == collections.Counter(range(number))
