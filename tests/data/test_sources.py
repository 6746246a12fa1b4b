# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Sources by name, folders and their splits, prepared data sets, and what their errors say."""

import io
import itertools
import os
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vit_jax.data.cache import CachedSource, estimate_bytes, free_memory_bytes
from vit_jax.data.sources import Source, create_source
from vit_jax.data.sources import folder as folder_module
from vit_jax.data.tensorflow import import_tensorflow
from vit_jax.errors import UserError

tf = import_tensorflow()
rng = np.random.default_rng(0)


def picture(kind="png", size=(4, 5)):
    image = Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8))
    contents = io.BytesIO()
    image.save(contents, kind)
    return contents.getvalue()


def fill(folder, names):
    """Writes an empty file for every name: splitting never looks inside."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def names_of(root, split, below=""):
    source = create_source(f"folder:{root}", split)
    return [os.path.relpath(source.name(i), root / below) for i in range(len(source))]


# --- the interface ---------------------------------------------------------------------------


class Arrays(Source):
    """The smallest source one can add: decoded images from memory."""

    class_names = ("even", "odd")
    encoded = False

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return {"image": self.images[index], "label": index % 2, "name": self.name(index)}


def test_a_source_of_arrays_reads_as_graph_ops():
    images = rng.integers(0, 255, (5, 3, 4, 1), dtype=np.uint8)
    source = Arrays(images)
    record = tf.function(source.read)(tf.constant(3, tf.int64))
    assert record["image"].shape == (3, 4, 1)
    np.testing.assert_array_equal(record["image"], images[3])
    assert (record["label"].numpy(), record["label"].dtype) == (1, tf.int32)
    fetched = source.fetch(tf.constant([4, 0, 4], tf.int64))
    np.testing.assert_array_equal(fetched["image"], images[[4, 0, 4]])


def test_every_source_reads_in_the_graph_what_it_reads_in_python(tmp_path):
    for label in ("a", "b"):
        for i in range(3):
            (tmp_path / "f" / label).mkdir(parents=True, exist_ok=True)
            (tmp_path / "f" / label / f"{i}.png").write_bytes(picture())
    sources = [
        create_source(f"folder:{tmp_path}/f", "train+validation+test"),
        create_source("digits", "validation", str(tmp_path)),
    ]
    for source in [*sources, *(CachedSource(s, threads=2) for s in sources)]:
        for index in (0, 3, len(source) - 1):
            in_graph = tf.function(source.read)(tf.constant(index, tf.int64))
            record = source[index]
            assert in_graph["image"].numpy() == record["image"]
            assert in_graph["label"].numpy() == record["label"]
            assert isinstance(record["name"], str)
            assert record["name"] == source.name(index)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("digit", "unknown data source 'digit'; did you mean 'digits'?"),
        ("folders:x", "did you mean 'folder'?"),
        ("digits:x", "'digits' takes no argument"),
        ("folder:", "write 'folder:PATH'"),
        ("folder:no/such", "there is no folder no/such"),
        ("tests", "'tests' is a folder: write 'folder:tests'"),
    ],
)
def test_a_source_that_is_not_there_says_how_to_name_one(text, message, monkeypatch):
    monkeypatch.chdir(os.path.join(os.path.dirname(__file__), "..", ".."))
    with pytest.raises(UserError, match=re.escape(message)):
        create_source(text, "train")


# --- folders ---------------------------------------------------------------------------------


def test_a_folder_with_splits(tmp_path):
    fill(tmp_path / "train", ["b/1.jpg", "b/2.JPEG", "a/x.PNG", "a/deep/er/y.webp", "c/z.bmp"])
    fill(tmp_path / "val", ["a/v.gif", "c/w.jpg"])
    # What is not a picture, or is hidden, is not there.
    fill(
        tmp_path / "train", ["a/.h.jpg", "a/t.txt", ".cache/x.jpg", "__MACOSX/x.jpg", "b/.d/x.jpg"]
    )
    train = create_source(f"folder:{tmp_path}", "train")
    assert train.class_names == ("a", "b", "c")
    assert names_of(tmp_path, "train", "train") == [
        "a/deep/er/y.webp", "a/x.PNG", "b/1.jpg", "b/2.JPEG", "c/z.bmp",
    ]  # fmt: skip
    assert [train[i]["label"] for i in range(len(train))] == [0, 0, 1, 1, 2]
    for split in ("validation", "val", "valid"):
        source = create_source(f"folder:{tmp_path}", split)
        assert source.class_names == train.class_names
        assert [source[i]["label"] for i in range(len(source))] == [0, 2]
    assert len(create_source(f"folder:{tmp_path}", "train+validation")) == 7


def test_what_is_left_out_is_counted(tmp_path):
    fill(tmp_path / "train", ["b/1.jpg", "a/x.PNG", "a/deep/y.webp"])
    fill(tmp_path / "train", ["a/t.txt", "a/deep/u.TXT", "b/p.tif", "b/README", "stray.jpg"])
    fill(tmp_path / "train", ["a/.h.jpg", ".cache/x.jpg", "__MACOSX/x.jpg", "b/.d/x.jpg"])
    fill(tmp_path / "val", ["a/1.jpg", "b/2.jpg"])
    train = create_source(f"folder:{tmp_path}", "train")
    assert train.left_out == (
        "4 hidden, 1 in no class folder, 1 of the kind .tif, 2 of the kind .txt, "
        "1 without an ending"
    )
    counted = sum(int(part.split()[0]) for part in train.left_out.split(", "))
    assert counted + len(train) == sum(p.is_file() for p in (tmp_path / "train").rglob("*"))
    assert create_source(f"folder:{tmp_path}", "val").left_out == ""


def test_classes_are_counted(tmp_path):
    fill(
        tmp_path,
        ["train/a/1.jpg", "train/a/2.jpg", "train/b/1.jpg", "train/c/1.jpg", "val/a/1.jpg"],
    )
    for split, counts in {"train": [2, 1, 1], "val": [1, 0, 0], "train+val": [3, 1, 1]}.items():
        assert create_source(f"folder:{tmp_path}", split).class_counts().tolist() == counts
    arrays = Arrays(rng.integers(0, 255, (5, 3, 4, 1), dtype=np.uint8))
    assert arrays.class_counts().tolist() == [3, 2]


def test_split_folders_by_any_of_their_names(tmp_path):
    fill(tmp_path, ["Training/a/1.jpg", "Training/b/1.jpg", "Valid/a/2.jpg", "testing/b/3.jpg"])
    assert names_of(tmp_path, "train") == ["Training/a/1.jpg", "Training/b/1.jpg"]
    assert names_of(tmp_path, "validation") == ["Valid/a/2.jpg"]
    assert names_of(tmp_path, "test") == ["testing/b/3.jpg"]


def test_a_class_may_be_called_train(tmp_path):
    fill(tmp_path, [f"{c}/{i}.jpg" for c in ("train", "car") for i in range(30)])
    assert create_source(f"folder:{tmp_path}", "train").class_names == ("car", "train")


def test_links_are_followed_and_loops_end(tmp_path):
    fill(tmp_path, ["store/n01/1.jpg", "store/n01/images/2.jpg", "set/train/n02/3.jpg"])
    os.symlink(tmp_path / "store" / "n01", tmp_path / "set" / "train" / "n01")
    os.symlink(tmp_path / "store" / "n01", tmp_path / "store" / "n01" / "images" / "again")
    assert names_of(tmp_path / "set", "train", "train") == [
        "n01/1.jpg",
        "n01/images/2.jpg",
        "n02/3.jpg",
    ]


def test_a_relative_folder_starts_at_data_dir(tmp_path):
    fill(tmp_path, ["set/train/a/1.jpg", "set/train/b/1.jpg"])
    assert len(create_source("folder:set", "train", str(tmp_path))) == 2


@settings(max_examples=20, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 60), min_size=2, max_size=4),
    cuts=st.lists(st.integers(1, 99), max_size=3, unique=True),
)
def test_parts_of_a_split_cover_it_once_and_the_first_knows_every_class(
    tmp_path_factory, sizes, cuts
):
    root = tmp_path_factory.mktemp("set")
    fill(root, [f"c{c}/{i}.jpg" for c, size in enumerate(sizes) for i in range(size)])
    everything = sorted(names_of(root, "train"))
    edges = [0, *sorted(cuts), 100]
    found, first = [], None
    for start, stop in itertools.pairwise(edges):
        try:
            part = names_of(root, f"train[{start}%:{stop}%]")
        except UserError:  # a small part of few pictures may be empty
            part = []
        first = part if first is None else first
        found += part
    assert sorted(found) == everything
    assert {name.split("/")[0] for name in first} == {f"c{c}" for c in range(len(sizes))}


def test_the_automatic_split_is_80_10_10_in_every_class_and_disjoint(tmp_path):
    n = 1000
    fill(tmp_path, [f"{c}/{i}.jpg" for c in ("a", "b") for i in range(n)])
    parts = {s: names_of(tmp_path, s) for s in ("train", "validation", "test")}
    found = [name for part in parts.values() for name in part]
    assert sorted(found) == sorted(names_of(tmp_path, "train+validation+test"))
    assert len(set(found)) == len(found) == 2 * n
    for split, share in {"train": 0.8, "validation": 0.1, "test": 0.1}.items():
        for c in ("a", "b"):
            count = sum(name.startswith(f"{c}/") for name in parts[split])
            assert abs(count - share * n) < 5 * np.sqrt(n * share * (1 - share))


def test_the_automatic_split_does_not_move_pictures(tmp_path):
    old = [f"{c}/{i}.jpg" for c in ("a", "b") for i in range(200)]
    fill(tmp_path / "one", old)
    before = {s: set(names_of(tmp_path / "one", s)) for s in ("train", "validation", "test")}
    # Elsewhere, with pictures and a class added: what was there stays in its part.
    fill(tmp_path / "two", [*old, *(f"{c}/new{i}.jpg" for c in ("a", "b", "c") for i in range(99))])
    for split, names in before.items():
        assert set(names_of(tmp_path / "two", split)) & set(old) == names


def test_the_automatic_split_is_the_same_everywhere(tmp_path):
    fill(tmp_path, [f"{c}/{i}.jpg" for c in ("a", "b") for i in range(12)])
    # Written down once: a change would leak pictures from training into old hold-outs.
    found = {s: names_of(tmp_path, s) for s in ("validation", "test")}
    assert found == {
        "validation": ["a/5.jpg", "a/7.jpg", "b/10.jpg"],
        "test": ["b/0.jpg"],
    }


@pytest.mark.parametrize(
    ("files", "split", "message"),
    [
        ([], "train", "holds no class folders"),
        (["1.jpg", "2.jpg"], "train", "one folder a class"),
        (["a/1.jpg"], "train", "holds one class folder, 'a'"),
        (["a/1.jpg", "b/notes.txt"], "train", "b holds no pictures"),
        (["train/a/1.jpg", "train/b/1.jpg"], "validation", "'train[90%:]'"),
        (["train/a/1.jpg", "train/b/1.jpg"], "tets", "unknown split 'tets'"),
        (["a/1.jpg", "b/1.jpg"], "tset", "did you mean 'test'"),
        (["a/1.jpg", "b/1.jpg"], "train[:90]", "a part such as 'train[:90%]'"),
        (["a/1.jpg", "b/1.jpg"], "train[50%:20%]", "is not a part of 0% to 100%"),
        (["a/1.jpg", "b/1.jpg"], "train[:101%]", "is not a part of 0% to 100%"),
        (["a/1.jpg", "b/1.jpg"], "test", "holds no pictures: take a larger part"),
        (["train/a/1.jpg", "train/b/1.jpg", "val/c/1.jpg"], "val", "lacks, 'c': rename or remove"),
    ],
)
def test_a_folder_that_cannot_be_used_says_how_to_mend_it(tmp_path, files, split, message):
    fill(tmp_path, files)
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        create_source(f"folder:{tmp_path}", split)
    assert "\n" not in str(caught.value)


def test_places_are_uniform():
    places = np.array([folder_module._place(f"class/{i}.jpg") for i in range(4000)])
    counts, _ = np.histogram(places, bins=20, range=(0, 1))
    assert np.sum((counts - 200) ** 2 / 200) < 60  # 19 degrees of freedom, six standard deviations


# --- TensorFlow Datasets ---------------------------------------------------------------------


def build(tmp_path, features, examples, file_format="array_record", **info):
    """Prepares a data set of the given features in `tmp_path` and returns its name."""
    import tensorflow_datasets as tfds

    def dataset(_):
        return iter(enumerate(examples))

    class Mine(tfds.core.GeneratorBasedBuilder):
        name = f"mine_{next(_NUMBERS)}"
        VERSION = tfds.core.Version("1.0.0")
        code_path = None

        def _info(self):
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features(tfds.features)), **info
            )

        def _split_generators(self, dl_manager):
            return {"train": dataset(0), "test": dataset(0)}

        def _generate_examples(self):
            raise AssertionError

    Mine(data_dir=tmp_path, file_format=file_format).download_and_prepare()
    return Mine.name


_NUMBERS = iter(range(100))


def test_tfds_tells_the_names_of_files_where_it_keeps_them(tmp_path):
    names = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in (7, 1, 50_000)]
    pixels = np.zeros((2, 2, 3), np.uint8)
    name = build(
        tmp_path,
        lambda f: {
            "image": f.Image(encoding_format="png"),
            "label": f.ClassLabel(num_classes=3),
            "file_name": f.Text(),
        },
        [{"image": pixels, "label": i, "file_name": file} for i, file in enumerate(names)],
    )
    source = create_source(f"tfds:{name}", "test", str(tmp_path))
    assert [source.file_name(i) for i in range(3)] == [names[source[i]["label"]] for i in range(3)]
    assert {source.file_name(i) for i in range(3)} == set(names)
    digits = create_source("digits", "test")
    assert digits.file_name(3) == digits.name(3)


def test_tfds_finds_image_and_label_whatever_they_are_called(tmp_path):
    images = rng.integers(0, 255, (6, 3, 2, 3), dtype=np.uint8)
    name = build(
        tmp_path,
        lambda f: {
            "photo": f.Image(encoding_format="png"),
            "mask": f.Image(encoding_format="png"),
            "species": f.ClassLabel(names=["cat", "dog"]),
            "colour": f.ClassLabel(num_classes=3),
            "note": f.Text(),
        },
        [
            {"photo": im, "mask": im[:1], "species": i % 2, "colour": 2, "note": "x"}
            for i, im in enumerate(images)
        ],
        supervised_keys=("photo", "species"),
    )
    source = create_source(f"tfds:{name}", "train[:50%]+test", str(tmp_path))
    assert source.class_names == ("cat", "dog")
    assert len(source) == 9
    found = []
    for i in range(3, 9):
        in_graph = source.read(tf.constant(i, tf.int64))
        assert in_graph["image"].numpy() == source[i]["image"]
        image = np.asarray(Image.open(io.BytesIO(source[i]["image"])))
        found.append((image.tobytes(), source[i]["label"], int(in_graph["label"])))
    expected = [(im.tobytes(), i % 2, i % 2) for i, im in enumerate(images)]
    assert sorted(found) == sorted(expected)


def test_tfds_takes_the_only_image_and_label_and_refuses_to_guess(tmp_path):
    image = np.zeros((2, 2, 3), np.uint8)
    only = build(
        tmp_path,
        lambda f: {"x": f.Image(encoding_format="png"), "y": f.ClassLabel(num_classes=3)},
        [{"x": image, "y": 1}],
    )
    source = create_source(f"tfds:{only}", "train", str(tmp_path))
    assert source.class_names == ("0", "1", "2")
    assert source[0]["label"] == 1
    several = build(
        tmp_path,
        lambda f: {
            "x": f.Image(encoding_format="png"),
            "y": f.ClassLabel(num_classes=3),
            "z": f.ClassLabel(num_classes=3),
        },
        [{"x": image, "y": 1, "z": 2}],
    )
    with pytest.raises(UserError, match="has 2 class label features"):
        create_source(f"tfds:{several}", "train", str(tmp_path))


def test_tfds_errors_name_the_command_that_mends_them(tmp_path):
    with pytest.raises(UserError, match=r"did you mean .*'cifar10'"):
        create_source("tfds:cifar11", "train", str(tmp_path))
    with pytest.raises(UserError) as caught:
        create_source("tfds:cifar10", "train", str(tmp_path))
    command = re.search(r'run `python -c "(.*)"`', str(caught.value))[1]
    assert command.endswith(
        f"tfds.builder('cifar10', data_dir='{tmp_path}', file_format='array_record')"
        ".download_and_prepare()"
    )
    name = build(
        tmp_path,
        lambda f: {"image": f.Image(encoding_format="png"), "label": f.ClassLabel(num_classes=2)},
        [{"image": np.zeros((2, 2, 3), np.uint8), "label": 1}],
        file_format="tfrecord",
    )
    with pytest.raises(UserError) as caught:
        create_source(f"tfds:{name}", "train", str(tmp_path))
    assert (
        f"tfds convert_format --dataset_version_dir={tmp_path}/{name}/1.0.0 "
        "--out_file_format=array_record`"
    ) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("cifar10:9.*.*", r"Dataset cifar10 cannot be loaded at version 9\.\*\.\*, only: 3"),
        ("cifar10/small", r"BuilderConfig small not found"),
    ],
)
def test_a_version_or_configuration_there_is_not(tmp_path, name, reason):
    with pytest.raises(UserError, match=rf"data\.source='tfds:.*': {reason}"):
        create_source(f"tfds:{name}", "train", str(tmp_path))


@pytest.mark.parametrize("split", ["valid", "train[:5%", "train[:5%]+dev"])
def test_an_unknown_tfds_split_names_the_known(tmp_path_factory, split):
    data_dir = os.environ["TFDS_DATA_DIR"]
    with pytest.raises(UserError, match="splits: train, validation, test"):
        create_source("digits", split, data_dir)


# --- the cache -------------------------------------------------------------------------------


def test_the_cache_holds_the_records_and_reads_each_once():
    reads = []

    class Counting(Arrays):
        def __getitem__(self, index):
            reads.append(index)
            return super().__getitem__(index)

    source = Counting(rng.integers(0, 255, (200, 3, 4, 1), dtype=np.uint8))
    cached = CachedSource(source, threads=2)
    reads.clear()
    for index in (0, 7, 199, 7):
        np.testing.assert_array_equal(cached[index]["image"], source.images[index])
        assert cached[index]["label"] == index % 2
    assert reads == []


def test_the_cache_says_its_size_before_it_is_filled(caplog):
    images = rng.integers(0, 255, (500, 64, 64, 3), dtype=np.uint8)
    with caplog.at_level("INFO"):
        CachedSource(Arrays(images), threads=1)
    said = float(re.search(r"500 records take about (\d+) MiB", caplog.text)[1])
    assert said == pytest.approx(images.nbytes / 2**20, rel=0.1)


def test_a_cache_that_does_not_fit_is_refused_before_it_is_filled(monkeypatch):
    source = Arrays(rng.integers(0, 255, (100, 64, 64, 3), dtype=np.uint8))
    size = estimate_bytes(source)
    monkeypatch.setattr("vit_jax.data.cache.free_memory_bytes", lambda: size)
    with pytest.raises(UserError, match=r"data.cache=True needs about 1 MiB .* data.cache=False"):
        CachedSource(source, threads=1)
    monkeypatch.setattr("vit_jax.data.cache.free_memory_bytes", lambda: 2 * size)
    CachedSource(source, threads=1)
    monkeypatch.setattr("vit_jax.data.cache.free_memory_bytes", lambda: None)
    CachedSource(source, threads=1)


def test_free_memory_is_within_what_the_machine_has():
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < free_memory_bytes() <= total
