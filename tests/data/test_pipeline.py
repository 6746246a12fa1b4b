# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The pipelines: every record once, the same bytes from anywhere, bad images that stop nothing."""

import dataclasses
import io
import itertools

import numpy as np
import pytest
from PIL import Image

from vit_jax.data import ops as ops_module
from vit_jax.data.order import example_index, example_seed
from vit_jax.data.pipeline import EvalPipeline, TrainPipeline
from vit_jax.data.sources import Source, create_source
from vit_jax.data.tensorflow import import_tensorflow
from vit_jax.errors import UserError

tf = import_tensorflow()

AUGMENT = ops_module.parse("decode|inception_crop(8)|flip")
SEED = 11


class Pictures(Source):
    """Random JPEG and PNG files in memory, of different sizes, each in a class of its own."""

    def __init__(self, n):
        rng = np.random.default_rng(0)
        self.class_names = tuple(str(i) for i in range(n))
        self.files = []
        for i in range(n):
            height, width = rng.integers(9, 40, 2)
            pixels = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
            contents = io.BytesIO()
            Image.fromarray(pixels).save(contents, "jpeg" if i % 3 else "png")
            self.files.append(contents.getvalue())

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        return {"image": self.files[index], "label": index, "name": self.name(index)}

    def name(self, index):
        return f"picture {index}"


def train(source, batch_size=4, **options):
    return TrainPipeline(source=source, ops=AUGMENT, batch_size=batch_size, seed=SEED, **options)


def evaluate(source, batch_size=4, **options):
    ops = ops_module.parse("decode|resize(8)")
    return EvalPipeline(source=source, ops=ops, batch_size=batch_size, **options)


def take(pipeline, count, start_example=0):
    return list(itertools.islice(pipeline.batches(start_example), count))


def stack(batches):
    return {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}


def assert_equal(a, b):
    assert a.keys() == b.keys()
    for key in a:
        assert a[key].dtype == b[key].dtype
        np.testing.assert_array_equal(a[key], b[key], err_msg=key)


@pytest.fixture(scope="module")
def pictures():
    return Pictures(13)


@pytest.fixture(scope="module")
def reference(pictures):
    """Three epochs and a bit, example by example, without the pipeline: what the order promises."""
    examples = []
    for k in range(13 * 3 + 1):
        k64 = tf.constant(k, tf.int64)
        index = int(example_index(k64, SEED, 13))
        record = {"image": tf.constant(pictures.files[index]), "label": tf.constant(index)}
        image = AUGMENT.host(record, example_seed(SEED, k64))["image"].numpy()
        examples.append({"image": image, "label": np.int32(index), "index": np.int64(index)})
    return {key: np.stack([e[key] for e in examples]) for key in examples[0]}


def part(examples, start, stop):
    return {key: value[start:stop] for key, value in examples.items()}


# --- training --------------------------------------------------------------------------------


def test_batches_are_the_examples_in_their_order(pictures, reference):
    batches = take(train(pictures), 10)
    assert batches[0]["image"].shape == (4, 8, 8, 3)
    assert {key: value.dtype for key, value in batches[0].items()} == {
        "image": np.uint8,
        "label": np.int32,
        "index": np.int64,
    }
    assert_equal(stack(batches), part(reference, 0, 40))


def test_every_epoch_shows_every_record_once_though_batches_cross_its_end(pictures):
    index = stack(take(train(pictures, batch_size=5), 13))["index"].reshape(5, 13)
    np.testing.assert_array_equal(np.sort(index), np.tile(np.arange(13), (5, 1)))
    assert len({tuple(epoch) for epoch in index}) == 5


@pytest.mark.parametrize("start", [1, 4, 13, 27])
def test_a_restart_gives_the_bytes_of_the_uninterrupted_run(pictures, reference, start):
    assert_equal(stack(take(train(pictures), 3, start)), part(reference, start, start + 12))


def test_a_start_far_away_costs_nothing_and_is_the_same_order(pictures):
    start = 2**41 * 13
    index = stack(take(train(pictures, batch_size=13), 1, start))["index"]
    expected = example_index(start + np.arange(13), SEED, 13)
    np.testing.assert_array_equal(index, expected)


def test_processes_together_deliver_the_global_batch(pictures, reference):
    shares = [np.array([0, 3, 4]), np.array([1, 6]), np.array([2, 5, 7])]
    parts = [take(train(pictures, 8, rows=rows), 4) for rows in shares]
    order = np.argsort(np.concatenate(shares))
    for number, batches in enumerate(zip(*parts, strict=True)):
        whole = {key: value[order] for key, value in stack(batches).items()}
        assert_equal(whole, part(reference, 8 * number, 8 * number + 8))


@pytest.mark.parametrize(
    "options",
    [
        {"threads": 1},
        {"threads": 7, "prefetch_batches": 1},
        {"cache": True},
        {"batch_size": 1, "threads": 3},
        {"batch_size": 40},
    ],
    ids=str,
)
def test_how_it_is_run_does_not_change_what_is_seen(pictures, reference, options):
    batches = take(train(pictures, **options), 40 // options.get("batch_size", 4))
    assert_equal(stack(batches), reference)


def test_seeds_change_order_and_augmentation(pictures, reference):
    other = stack(take(dataclasses.replace(train(pictures), seed=SEED + 1), 10))
    assert not np.array_equal(other["index"], reference["index"])
    views = {int(i): image for i, image in zip(other["index"], other["image"], strict=True)}
    for image, index in zip(reference["image"], reference["index"], strict=True):
        assert not np.array_equal(image, views[int(index)])


def test_a_record_is_augmented_anew_in_every_epoch(reference):
    for index in range(13):
        views = reference["image"][:39][reference["index"][:39] == index]
        assert len({view.tobytes() for view in views}) == 3


# --- evaluation ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("batch_size", "processes"), [(1, 1), (4, 1), (4, 2), (4, 4), (13, 2), (32, 4)]
)
def test_evaluation_covers_every_record_once(pictures, batch_size, processes):
    pipelines = [
        evaluate(pictures, batch_size, rows=rows)
        for rows in np.array_split(np.arange(batch_size), processes)
    ]
    parts = [list(pipeline.batches()) for pipeline in pipelines]
    num_batches = -(-13 // batch_size)
    assert [p.num_batches for p in pipelines] == [num_batches] * processes
    assert [len(batches) for batches in parts] == [num_batches] * processes
    seen = stack([stack(batches) for batches in parts])
    assert seen["mask"].dtype == np.float32
    assert seen["mask"].sum() == 13
    shown = seen["mask"] == 1
    np.testing.assert_array_equal(np.sort(seen["index"][shown]), np.arange(13))
    np.testing.assert_array_equal(seen["index"][shown], seen["label"][shown])
    assert set(seen["index"][~shown]) <= {-1}
    # Rows of a global batch concatenate to records in order, padded at the end.
    whole = np.concatenate([stack(rows)["index"] for rows in zip(*parts, strict=True)])
    np.testing.assert_array_equal(whole, [*range(13), *[-1] * (len(whole) - 13)])


def test_evaluation_may_run_again_and_gives_the_same(pictures):
    pipeline = evaluate(pictures)
    assert_equal(stack(list(pipeline.batches())), stack(list(pipeline.batches())))


# --- bad images ------------------------------------------------------------------------------

BAD = {2: "zero", 3: "noise", 6: "missing", 7: "cut", 12: "directory"}


@pytest.fixture
def damaged(tmp_path, pictures):
    """The pictures as a folder in which five cannot be decoded, two in a row, one the last."""
    for i, contents in enumerate(pictures.files):
        path = tmp_path / "train" / f"class{i // 7}" / f"{i:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents)
    source = create_source(f"folder:{tmp_path}", "train")
    for i, how in BAD.items():
        path = tmp_path / "train" / f"class{i // 7}" / f"{i:02d}.jpg"
        path.unlink()
        if how == "zero":
            path.write_bytes(b"")
        elif how == "noise":
            path.write_bytes(np.random.default_rng(1).bytes(500))
        elif how == "cut":
            path.write_bytes(pictures.files[i][:200])  # within the tables: nothing can be decoded
        elif how == "directory":
            path.mkdir()
    return source


def next_good(index):
    while index in BAD:
        index = (index + 1) % 13
    return index


@pytest.mark.parametrize("cache", [False, True])
def test_bad_images_are_replaced_by_the_next_good_one(damaged, reference, cache, caplog):
    pipeline = train(damaged, max_bad_fraction=0.5, cache=cache)
    seen = stack(take(pipeline, 10))
    replaced = [next_good(int(i)) for i in reference["index"]]
    np.testing.assert_array_equal(seen["index"], replaced)
    np.testing.assert_array_equal(seen["label"], np.array(replaced) // 7)
    good = reference["index"] == replaced
    np.testing.assert_array_equal(seen["image"][good], reference["image"][good])
    # Each is named once, however often it was met.
    assert set(pipeline.bad_records) == set(BAD)
    for i in range(13):
        assert sum(f"{i:02d}.jpg" in line for line in caplog.text.splitlines()) == (i in BAD)


def test_what_replaces_a_bad_image_does_not_depend_on_what_is_known(damaged, pictures):
    # Of a picture cut in the middle some crops can be decoded and others cannot.
    with open(damaged.name(8), "wb") as file:
        file.write(pictures.files[8][: len(pictures.files[8]) * 2 // 3])
    whole = stack(take(train(damaged, max_bad_fraction=0.5), 10))
    fresh = train(damaged, max_bad_fraction=0.5)
    for start in (22, 5, 22):
        assert_equal(stack(take(fresh, 2, start)), part(whole, start, start + 8))
    mine = stack(take(train(damaged, rows=np.array([1, 3]), max_bad_fraction=0.5), 10))
    assert_equal(mine, {key: value[1::2] for key, value in whole.items()})


def test_a_batch_in_which_nothing_can_be_decoded(damaged):
    rows = take(train(damaged, batch_size=1, max_bad_fraction=0.5), 39)
    whole = stack(take(train(damaged, batch_size=39, max_bad_fraction=0.5), 1))
    assert_equal(stack(rows), whole)


def test_bad_images_are_masked_in_evaluation(damaged, caplog):
    pipeline = evaluate(damaged, max_bad_fraction=0.5)
    seen = stack(list(pipeline.batches()))
    expected = [-1 if i in BAD or i > 12 else i for i in range(16)]
    np.testing.assert_array_equal(seen["index"], expected)
    np.testing.assert_array_equal(seen["mask"], np.array(expected) >= 0)
    assert len(pipeline.bad_records) == len(BAD)
    assert caplog.text.count("cannot read") == len(BAD)


@pytest.mark.parametrize("fraction", [0.0, 0.2, 4 / 13])
def test_too_many_bad_images_are_an_error_that_names_some(damaged, fraction):
    message = r"data.max_bad_fraction=.* of 13 images cannot be read, among them .*\.jpg"
    with pytest.raises(UserError, match=message):
        take(train(damaged, max_bad_fraction=fraction), 20)
    with pytest.raises(UserError, match=message):
        list(evaluate(damaged, max_bad_fraction=fraction).batches())


def test_a_share_of_a_small_source_allows_one(damaged):
    take(train(damaged, max_bad_fraction=5 / 13), 20)


def test_a_source_without_one_good_image_is_an_error(tmp_path):
    for name in ("train/a/1.jpg", "train/b/1.jpg"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"no picture")
    source = create_source(f"folder:{tmp_path}", "train")
    for pipeline in (train(source, max_bad_fraction=1.0), evaluate(source, max_bad_fraction=1.0)):
        with pytest.raises(UserError, match="no image of the data source can be decoded"):
            next(iter(pipeline.batches()))


def test_mistakes_in_code_are_not_taken_for_bad_images(pictures):
    class Broken(Pictures):
        def __getitem__(self, index):
            if index == 5:
                raise ZeroDivisionError("a bug in the source")
            return super().__getitem__(index)

    with pytest.raises(tf.errors.UnknownError, match="a bug in the source"):
        take(train(Broken(13)), 5)


def test_an_impossible_batch_size_is_refused(pictures):
    with pytest.raises(UserError, match="batch_size=0"):
        train(pictures, batch_size=0)
