# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""`vtab:TASK`: the 19 tasks of VTAB-1k (arXiv 1910.04867) on data sets of TFDS.

Every task is a classification with 800 examples to train on and 200 to choose by. Where a data set
has no class label, the task says how one follows from what it has. Splits, thresholds and groups
are those of the protocol's own code (google-research/task_adaptation).
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from vit_jax.data.sources.base import SOURCES
from vit_jax.data.sources.tfds import Reading, TfdsSource, open_builder, read_label
from vit_jax.data.tensorflow import import_tensorflow
from vit_jax.errors import UserError
from vit_jax.registry import Registry, near_misses

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

TRAIN, VALIDATION = 800, 200
SPLITS = ("train800", "val200", "train800val200", "test")
GROUPS = ("natural", "specialised", "structured")

Features = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Task:
    """One of the 19.

    Attributes:
        group: one of `GROUPS`.
        data_set: what TFDS calls it, with the major version whose examples these are.
        validation: (split of TFDS, per cent of it) where the 200 examples begin.
        test: (split of TFDS, per cent of it) where the test part begins; it ends with the split.
        class_label: the feature that is the class.
        reading: how the class follows from other features, without a class label.
        needs: a package that preparing the data set takes, beside those of vit_jax.
    """

    group: str
    data_set: str
    validation: tuple[str, int]
    test: tuple[str, int]
    class_label: str = "label"
    reading: Reading | None = None
    needs: str = ""


TASKS: Registry[Task] = Registry("VTAB task")


@SOURCES.register("vtab")
def create_vtab_source(name: str, split: str, data_dir: str | None = None) -> TfdsSource:
    """Returns the examples of a task.

    Args:
        name: of the task, e.g. "clevr_count".
        split: one of `SPLITS`.
        data_dir: where TFDS keeps its data; None for its default.

    Raises:
        UserError: an unknown task or split, or a data set that is not prepared (with the command).
    """
    task = TASKS.get(name)
    if split not in SPLITS:
        hint = near_misses(split, SPLITS) or f"; known: {', '.join(SPLITS)}"
        raise UserError(f"unknown split {split!r} of data.source='vtab:{name}'{hint}")
    builder = open_builder(task.data_set, data_dir)
    reading = task.reading or read_label(builder, "image", task.class_label)
    return TfdsSource(builder, split_expression(task, split, builder), reading)


def split_expression(task: Task, split: str, builder: "tfds.core.DatasetBuilder") -> str:
    """Returns the examples of a split in the words of TFDS, counted in the prepared data set."""

    def begin(place: tuple[str, int]) -> int:
        name, percent = place
        return builder.info.splits[name].num_examples * percent // 100

    first = begin(task.validation)
    train = f"train[:{TRAIN}]"
    validation = f"{task.validation[0]}[{first}:{first + VALIDATION}]"
    return {
        "train800": train,
        "val200": validation,
        "train800val200": f"{train}+{validation}",
        "test": f"{task.test[0]}[{begin(task.test)}:]",
    }[split]


# --- classes that follow from other features -------------------------------------------------


def _between(value: Any, limits: tuple[float, ...]) -> Any:
    """Returns how many of the ascending limits are below the value, a scalar."""
    tf = import_tensorflow()
    return tf.reduce_sum(tf.cast(tf.constant(limits, tf.float32) < value, tf.int32))


def _places(features: Features, name: str) -> Any:
    """Returns a property of the objects as float32 `[objects, 3]`; NumPy has it as a list."""
    tf = import_tensorflow()
    return tf.reshape(tf.cast(features["objects"][name], tf.float32), [-1, 3])


def _clevr_count(features: Features) -> Any:
    return import_tensorflow().shape(_places(features, "pixel_coords"))[0] - 3


def _clevr_distance(features: Features) -> Any:
    nearest = import_tensorflow().reduce_min(_places(features, "pixel_coords")[:, 2])
    return _between(nearest, (8.0, 8.5, 9.0, 9.5, 10.0))


def _kitti_distance(features: Features) -> Any:
    """The nearest car, van or truck (types 0 to 2), in metres ahead of the camera."""
    tf = import_tensorflow()
    is_vehicle = tf.cast(features["objects"]["type"], tf.int64) < 3
    ahead = tf.where(is_vehicle, _places(features, "location")[:, 2], 1000.0)
    return _between(tf.reduce_min(tf.concat([ahead, [1000.0]], axis=0)), (8.0, 20.0, 999.0))


def _every(feature: str, values_a_class: float) -> Callable[[Features], Any]:
    """Returns the label that puts so many neighbouring values of a feature into one class."""

    def label(features: Features) -> Any:
        tf = import_tensorflow()
        return tf.cast(tf.cast(features[feature], tf.float32) // values_a_class, tf.int32)

    return label


def _numbers(first: int, last: int) -> tuple[str, ...]:
    return tuple(str(number) for number in range(first, last + 1))


_CLEVR_DISTANCES = ("below 8", "8 to 8.5", "8.5 to 9", "9 to 9.5", "9.5 to 10", "above 10")
_KITTI_DISTANCES = ("below 8 m", "8 to 20 m", "above 20 m", "no vehicle")


# --- the tasks -------------------------------------------------------------------------------


def _objects(names: tuple[str, ...], label: Callable[[Features], Any]) -> Reading:
    return Reading("image", ("objects",), names, label)


def _dsprites(feature: str, values_a_class: float) -> Reading:
    return Reading(
        "image", (feature,), _numbers(0, 15), _every(feature, values_a_class), brightness=255
    )


def _register(group: str, name: str, data_set: str, **fields: Any) -> None:
    TASKS.register(name)(Task(group, data_set, **fields))


def _register_tasks() -> None:
    own = {"validation": ("validation", 0), "test": ("test", 0)}
    tenth = {"validation": ("train", 90), "test": ("test", 0)}
    fifths = {"validation": ("train", 60), "test": ("train", 80)}
    cv2 = {"needs": "opencv-python-headless"}

    natural, specialised, structured = GROUPS
    _register(natural, "caltech101", "caltech101:3.*.*", **tenth)
    _register(natural, "cifar100", "cifar100:3.*.*", **tenth)
    _register(natural, "dtd", "dtd:3.*.*", **own)
    _register(natural, "oxford_flowers102", "oxford_flowers102:2.*.*", **own)
    pets = {"validation": ("train", 80), "test": ("test", 0)}
    _register(natural, "oxford_iiit_pet", "oxford_iiit_pet:4.*.*", **pets)
    _register(natural, "sun397", "sun397/tfds:4.*.*", **own, **cv2)
    _register(natural, "svhn", "svhn_cropped:3.*.*", **tenth)

    _register(specialised, "patch_camelyon", "patch_camelyon:2.*.*", **own)
    _register(specialised, "eurosat", "eurosat/rgb:2.*.*", **fifths)
    _register(specialised, "resisc45", "resisc45:3.*.*", **fifths)
    retina = "diabetic_retinopathy_detection/btgraham-300:3.*.*"
    _register(specialised, "diabetic_retinopathy", retina, **own, **cv2)

    clevr = {"validation": ("train", 90), "test": ("validation", 0)}
    count = _objects(_numbers(3, 10), _clevr_count)
    distance = _objects(_CLEVR_DISTANCES, _clevr_distance)
    _register(structured, "clevr_count", "clevr:3.*.*", reading=count, **clevr)
    _register(structured, "clevr_distance", "clevr:3.*.*", reading=distance, **clevr)
    _register(structured, "dmlab", "dmlab:2.*.*", **own)
    dsprites = {"validation": ("train", 80), "test": ("train", 90)}
    for part, reading in {
        "location": _dsprites("label_x_position", 2.0),
        "orientation": _dsprites("label_orientation", 2.5),
    }.items():
        _register(structured, f"dsprites_{part}", "dsprites:2.*.*", reading=reading, **dsprites)
    near = _objects(_KITTI_DISTANCES, _kitti_distance)
    _register(structured, "kitti_distance", "kitti:3.*.*", reading=near, **own, **cv2)
    norb = {"validation": ("test", 0), "test": ("test", 50)}
    for part in ("azimuth", "elevation"):
        label = {"class_label": f"label_{part}"}
        _register(structured, f"smallnorb_{part}", "smallnorb:2.*.*", **label, **norb)


_register_tasks()
