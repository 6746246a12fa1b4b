# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The tasks of VTAB-1k on tiny data sets with the features of the real ones."""

import pathlib
import types

import numpy as np
import pytest

from vit_jax.data.ops import parse
from vit_jax.data.sources import create_source, vtab
from vit_jax.data.sources.tfds import find_builder
from vit_jax.data.tensorflow import import_tensorflow, quiet
from vit_jax.errors import UserError

rng = np.random.default_rng(0)

# The paper's tables: examples of the splits of TFDS, of the test part of the task, classes.
TABLE = {
    "caltech101": ({"train": 3057, "test": 6084}, 6084, 102),
    "cifar100": ({"train": 50000, "test": 10000}, 10000, 100),
    "dtd": ({"train": 1880, "validation": 1880, "test": 1880}, 1880, 47),
    "oxford_flowers102": ({"train": 1020, "validation": 1020, "test": 6149}, 6149, 102),
    "oxford_iiit_pet": ({"train": 3680, "test": 3669}, 3669, 37),
    "sun397": ({"train": 76128, "validation": 10875, "test": 21750}, 21750, 397),
    "svhn": ({"train": 73257, "test": 26032}, 26032, 10),
    "patch_camelyon": ({"train": 262144, "validation": 32768, "test": 32768}, 32768, 2),
    "eurosat": ({"train": 27000}, 5400, 10),
    "resisc45": ({"train": 31500}, 6300, 45),
    "diabetic_retinopathy": ({"train": 35126, "validation": 10906, "test": 42670}, 42670, 5),
    "clevr_count": ({"train": 70000, "validation": 15000, "test": 15000}, 15000, 8),
    "clevr_distance": ({"train": 70000, "validation": 15000, "test": 15000}, 15000, 6),
    "dmlab": ({"train": 65550, "validation": 22628, "test": 22735}, 22735, 6),
    "dsprites_location": ({"train": 737280}, 73728, 16),
    "dsprites_orientation": ({"train": 737280}, 73728, 16),
    "kitti_distance": ({"train": 6347, "validation": 423, "test": 711}, 711, 4),
    "smallnorb_azimuth": ({"train": 24300, "test": 24300}, 12150, 18),
    "smallnorb_elevation": ({"train": 24300, "test": 24300}, 12150, 9),
}


def prepare(data_dir, data_set, examples):
    """Prepares a data set of TFDS with other examples: {split: [example, ...]}."""
    import_tensorflow()
    import tensorflow_datasets as tfds

    with quiet():
        builder = tfds.builder(data_set, data_dir=data_dir, file_format="array_record")
        builder._split_generators = lambda *_: {
            split: enumerate(some) for split, some in examples.items()
        }
        builder.download_and_prepare()
    return builder


def fake(feature):
    """Returns a random value of a feature; sequences have four items."""
    import tensorflow_datasets as tfds

    kinds = tfds.features
    match feature:
        case kinds.FeaturesDict():
            return {key: fake(part) for key, part in feature.items()}
        case kinds.Sequence():
            return [fake(feature.feature) for _ in range(4)]
        case kinds.Image():
            return rng.integers(0, 255, [n or 5 for n in feature.shape], np.uint8)
        case kinds.ClassLabel():
            return int(rng.integers(feature.num_classes))
        case kinds.Text():
            return "x"
        case kinds.BBoxFeature():
            return kinds.BBox(0.0, 0.0, 1.0, 1.0)
    return rng.uniform(0, 30, feature.shape).astype(np.float32)


def sizes(splits):
    """Returns a builder that knows only how many examples there are."""
    known = {name: types.SimpleNamespace(num_examples=n) for name, n in splits.items()}
    return types.SimpleNamespace(info=types.SimpleNamespace(splits=known))


def rows(expression, splits):
    """Returns the (split, example) that an expression of TFDS names, read independently."""
    found = []
    for part in expression.split("+"):
        name, _, limits = part.rstrip("]").partition("[")
        first, _, end = limits.partition(":")
        found += [(name, i) for i in range(int(first or 0), int(end or splits[name]))]
    return found


def test_there_are_seven_natural_four_specialised_and_eight_structured_tasks():
    assert set(vtab.TASKS.names()) == set(TABLE)
    groups = [vtab.TASKS.get(name).group for name in TABLE]
    assert [groups.count(group) for group in vtab.GROUPS] == [7, 4, 8]


@pytest.mark.parametrize("name", TABLE)
def test_800_and_200_examples_that_do_not_meet_each_other_or_the_test(name):
    splits, test_examples, _ = TABLE[name]
    task = vtab.TASKS.get(name)
    found = {
        split: rows(vtab.split_expression(task, split, sizes(splits)), splits)
        for split in vtab.SPLITS
    }
    train, validation, both, test = (set(found[split]) for split in vtab.SPLITS)
    assert found["train800"] == [("train", i) for i in range(800)]
    assert (len(validation), len(both), len(test)) == (200, 1000, test_examples)
    assert both == train | validation
    assert not test & both


def test_splits_are_those_of_the_protocol():
    def text(name, split):
        return vtab.split_expression(vtab.TASKS.get(name), split, sizes(TABLE[name][0]))

    assert text("cifar100", "val200") == "train[45000:45200]"
    assert text("cifar100", "train800val200") == "train[:800]+train[45000:45200]"
    assert text("oxford_iiit_pet", "val200") == "train[2944:3144]"
    assert text("eurosat", "test") == "train[21600:]"
    assert text("dsprites_location", "val200") == "train[589824:590024]"
    assert text("clevr_count", "test") == "validation[0:]"
    assert text("smallnorb_azimuth", "train800val200") == "train[:800]+test[0:200]"
    assert text("smallnorb_azimuth", "test") == "test[12150:]"


@pytest.fixture
def few(monkeypatch):
    """Makes 4 + 2 examples of 800 + 200."""
    monkeypatch.setattr(vtab, "TRAIN", 4)
    monkeypatch.setattr(vtab, "VALIDATION", 2)


@pytest.mark.parametrize("name", TABLE)
def test_every_task_reads_its_data_set(tmp_path, few, name):
    """With random examples of the real features: classes as many as there are, images readable."""
    task, (splits, _, classes) = vtab.TASKS.get(name), TABLE[name]
    features = find_builder(task.data_set, str(tmp_path)).info.features
    examples = [fake(features) for _ in range(20)]
    prepare(tmp_path, task.data_set, dict.fromkeys(splits, examples))
    source = create_source(f"vtab:{name}", "train800val200", str(tmp_path))
    assert (len(source), len(source.class_names)) == (6, classes)
    tf = import_tensorflow()
    host = parse("decode|resize(8)|value_range(-1, 1)").host
    for i in (0, 5):
        in_graph, record = source.read(tf.constant(i, tf.int64)), source[i]
        assert int(in_graph["label"]) == record["label"]
        image = host(in_graph, tf.constant([0, 0]))["image"]
        assert image.shape == (8, 8, 3)
        np.testing.assert_array_equal(
            image, host({**record, "image": tf.constant(record["image"])}, None)["image"]
        )


def labels(source):
    tf = import_tensorflow()
    return [int(source.read(tf.constant(i, tf.int64))["label"]) for i in range(len(source))]


def boxes(count, depths=None):
    """Returns a picture of CLEVR with objects at some depths."""
    coords = np.zeros((count, 3), np.float32)
    coords[:, 2] = 20 if depths is None else depths
    one = dict.fromkeys(("color", "material", "shape", "size"), [0] * count)
    return {
        "image": np.zeros((4, 4, 3), np.uint8),
        "file_name": "x.png",
        "objects": {
            **one,
            "rotation": [0.0] * count,
            "3d_coords": coords,
            "pixel_coords": coords,
        },
        "question_answer": {"question": [], "answer": []},
    }


def in_order(tmp_path, name, examples, monkeypatch):
    """Returns the task's source of exactly these examples, in their order."""
    task = vtab.TASKS.get(name)
    monkeypatch.setattr(vtab, "split_expression", lambda *_: "train")
    import_tensorflow()
    import tensorflow_datasets as tfds

    monkeypatch.setattr(
        tfds.core.DatasetInfo, "disable_shuffling", property(lambda _: True), raising=True
    )
    prepare(tmp_path, task.data_set, {"train": examples})
    return create_source(f"vtab:{name}", "train800", str(tmp_path))


def test_clevr_counts_three_to_ten(tmp_path, monkeypatch):
    counts = [3, 10, 7, 4]
    source = in_order(tmp_path, "clevr_count", [boxes(n) for n in counts], monkeypatch)
    assert [source.class_names[i] for i in labels(source)] == [str(n) for n in counts]


def test_clevr_takes_the_depth_of_the_nearest_object(tmp_path, monkeypatch):
    nearest = [2.0, 8.0, 8.25, 8.75, 9.5, 9.75, 11.0]
    examples = [boxes(3, [d + 1, d, 30]) for d in nearest]
    source = in_order(tmp_path, "clevr_distance", examples, monkeypatch)
    edges = np.array([0.0, 8.0, 8.5, 9.0, 9.5, 10.0, 100.0])
    expected = [max(i for i, edge in enumerate(edges) if edge < d) for d in nearest]
    assert labels(source) == expected == [0, 0, 1, 2, 3, 4, 5]


def test_kitti_takes_the_nearest_car_van_or_truck(tmp_path, monkeypatch):
    car, truck, pedestrian = 0, 2, 3
    scenes = [
        [(car, 5.0), (truck, 30.0)],
        [(pedestrian, 5.0), (truck, 12.0)],
        [(car, 60.0)],
        [(pedestrian, 5.0)],
        [],
    ]
    source = in_order(tmp_path, "kitti_distance", [street(s) for s in scenes], monkeypatch)
    expected = ["below 8 m", "8 to 20 m", "above 20 m", "no vehicle", "no vehicle"]
    assert [source.class_names[i] for i in labels(source)] == expected
    assert [source[i]["label"] for i in range(5)] == [0, 1, 2, 3, 3]


def street(objects):
    """Returns a picture of KITTI with (type, metres ahead) objects."""
    n = len(objects)
    return {
        "image": np.zeros((4, 4, 3), np.uint8),
        "image/file_name": "x.png",
        "objects": {
            "type": [kind for kind, _ in objects],
            "truncated": [0.0] * n,
            "occluded": [0] * n,
            "alpha": [0.0] * n,
            "bbox": np.tile(np.float32([0, 0, 1, 1]), (n, 1)),
            "dimensions": np.zeros((n, 3), np.float32),
            "location": np.float32([[0, 0, z] for _, z in objects]).reshape(n, 3),
            "rotation_y": [0.0] * n,
        },
    }


@pytest.mark.parametrize(
    ("part", "feature", "of"),
    [("location", "label_x_position", 32), ("orientation", "label_orientation", 40)],
)
def test_dsprites_has_sixteen_classes_and_white_shapes(tmp_path, monkeypatch, part, feature, of):
    rest = ("label_shape", "label_scale", "label_orientation", "label_x_position")
    rest += ("label_y_position",)
    values = tuple(name.replace("label", "value") for name in rest)
    picture = np.zeros((64, 64, 1), np.uint8)
    picture[10:20, 30:40] = 1
    zeros = {**dict.fromkeys(rest, 0), **dict.fromkeys(values, 0.0)}
    examples = [{"image": picture, **zeros, feature: i} for i in range(of)]
    source = in_order(tmp_path, f"dsprites_{part}", examples, monkeypatch)
    assert labels(source) == [int(i * 16 / of) for i in range(of)]
    np.testing.assert_array_equal(source[0]["image"], 255 * picture)
    assert not source.encoded


def test_mistakes_name_what_there_is(tmp_path):
    with pytest.raises(UserError, match=r"unknown VTAB task 'clevr_cout'; did you mean 'clevr_co"):
        create_source("vtab:clevr_cout", "test", str(tmp_path))
    with pytest.raises(UserError, match=r"unknown split 'val' of .*'vtab:dtd'; did you mean 'val"):
        create_source("vtab:dtd", "val", str(tmp_path))
    with pytest.raises(UserError, match=r"'dtd/3.*' is not prepared in .*: run `python -c "):
        create_source("vtab:dtd", "test", str(tmp_path))


def test_the_documented_table_is_the_code():
    text = (pathlib.Path(__file__).parents[2] / "docs" / "vtab.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    documented = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines]
    expected = []
    for group in vtab.GROUPS:
        for name in vtab.TASKS.names():
            task, (splits, examples, classes) = vtab.TASKS.get(name), TABLE[name]
            parts = [vtab.split_expression(task, s, sizes(splits)) for s in ("val200", "test")]
            row = [name, group, task.data_set, str(classes), parts[0]]
            row += [parts[1].replace("[0:]", ""), str(examples)]
            expected += [row] if task.group == group else []
    assert [[*row[:4], *row[5:8]] for row in documented] == expected
