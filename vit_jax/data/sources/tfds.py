# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""`tfds:NAME`: data sets prepared by TensorFlow Datasets, read at random through ArrayRecord.

`digits` is the one that needs no preparation: it prepares itself, offline, on first use.
"""

import dataclasses
import operator
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from vit_jax.data.sources.base import SOURCES, Source
from vit_jax.data.tensorflow import import_tensorflow, quiet
from vit_jax.errors import UserError
from vit_jax.paths import is_remote
from vit_jax.registry import near_misses

if TYPE_CHECKING:
    import tensorflow as tf
    import tensorflow_datasets as tfds

# What `vit-jax prepare` makes, since nobody may download it: the name in TFDS -> that there.
OURS = {"imagenet2012": "imagenet1k", "imagenet21k": "imagenet21k"}


@SOURCES.register("tfds")
def create_tfds_source(name: str, split: str, data_dir: str | None = None) -> "TfdsSource":
    """Returns the records of a data set that TFDS has prepared as ArrayRecord.

    Args:
        name: what TFDS calls it, e.g. "cifar10", "imagenet2012:5.*.*", "my_dataset/config".
        split: any split expression of TFDS, e.g. "train[:90%]", "train+validation".
        data_dir: where TFDS keeps its data; None for its default (TFDS_DATA_DIR or
            ~/tensorflow_datasets).

    Raises:
        UserError: an unknown data set, one that is not prepared or only as TFRecord (with the
            command that mends it), an unknown split, or no image and label among its features.
    """
    return TfdsSource(open_builder(name, data_dir), split)


def open_builder(name: str, data_dir: str | None = None) -> "tfds.core.DatasetBuilder":
    """Returns the builder of a data set that is prepared as ArrayRecord; arguments as above.

    Raises:
        UserError: an unknown data set, or one that is not prepared so, with the command to run.
    """
    builder = find_builder(name, data_dir)
    if not builder.is_prepared():
        root = builder.data_dir_root
        raise UserError(
            f"data set {builder.info.full_name!r} is not prepared in {root}: "
            f"run `{preparation(name, root)}`"
        )
    _require_array_record(builder)
    return builder


def find_builder(name: str, data_dir: str | None = None) -> "tfds.core.DatasetBuilder":
    """Returns the builder of a data set, prepared or not; UserError if there is none."""
    import_tensorflow()
    import tensorflow_datasets as tfds

    try:
        with quiet():
            return tfds.builder(name, data_dir=data_dir, try_gcs=False)
    except tfds.core.registered.DatasetNotFoundError:
        known = tfds.list_builders(with_community_datasets=False)
        hint = near_misses(name.split("/")[0].split(":")[0], known)
        where = data_dir or "TFDS's data_dir"
        if name in OURS:
            hint = f": run `{preparation(name, where)}`"
        raise UserError(
            f"data.source='tfds:{name}': no such data set in TFDS or {where}{hint}"
        ) from None
    except (AssertionError, ValueError) as error:  # a version or a configuration there is not
        reason = str(error).splitlines()[0].rpartition('": ')[2]
        raise UserError(f"data.source='tfds:{name}': {reason}") from None


def preparation(name: str, root: Any) -> str:
    """Returns the command that prepares a data set; the program `tfds` would need Beam for it."""
    if name in OURS:
        return f"vit-jax prepare {OURS[name]} --from=ARCHIVE --to={root}"
    return (
        'python -c "import tensorflow_datasets as tfds; '
        f"tfds.builder('{name}', data_dir='{root}', file_format='array_record')"
        '.download_and_prepare()"'
    )


@SOURCES.register("digits")
def create_digits_source(argument: str, split: str, data_dir: str | None = None) -> "TfdsSource":
    """Returns scikit-learn's handwritten digits; splits "train", "validation", "test"."""
    import_tensorflow()
    from vit_jax.data.digits import prepare

    if argument:
        raise UserError(f"data.source='digits:{argument}': 'digits' takes no argument")
    builder = prepare(data_dir)
    _require_array_record(builder)
    return TfdsSource(builder, split)


@dataclasses.dataclass(frozen=True)
class Reading:
    """Which image and which class an example of TFDS has.

    Attributes:
        image: the feature that is the image.
        features: the other features that `label` needs.
        class_names: of the classes, in order.
        label: (features by name) -> class, an integer scalar; graph ops, which also run eagerly.
        brightness: what stored pixels are multiplied by: 255 for data sets that store 0 and 1.
    """

    image: str
    features: tuple[str, ...]
    class_names: tuple[str, ...]
    label: Callable[[Mapping[str, Any]], Any]
    brightness: int = 1


class TfdsSource(Source):
    """One split of a data set prepared as ArrayRecord.

    Args:
        builder: of the data set.
        split: any split expression of TFDS.
        reading: None for the one image and the one class label there are.
    """

    def __init__(
        self, builder: "tfds.core.DatasetBuilder", split: str, reading: Reading | None = None
    ):
        import tensorflow_datasets as tfds

        self._label_prefix = f"{builder.info.full_name} {split}"
        self._reading = reading or read_label(builder, *_find_keys(builder))
        self.class_names = self._reading.class_names
        self.encoded = self._reading.brightness == 1
        # Only these are parsed, whatever else the examples hold.
        features = builder.info.features
        wanted = (self._reading.image, *self._reading.features)
        self._features = tfds.features.FeaturesDict({key: features[key] for key in wanted})
        self._decoders = {self._reading.image: tfds.decode.SkipDecoding()}
        file_name = {key: feature for key, feature in features.items() if key == "file_name"}
        self._file_name = tfds.features.FeaturesDict(file_name) if file_name else None
        self._is_remote = is_remote(builder.data_path)
        try:
            self._records = builder.as_data_source(
                split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
            )
        except (ValueError, AssertionError) as error:
            known = ", ".join(builder.info.splits)
            reason = (str(error).strip() or "no such split").splitlines()[0]
            raise UserError(
                f"split {split!r} of {builder.info.full_name} (splits: {known}): {reason}"
            ) from None

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = self._features.deserialize_example_np(
            self._record(index), decoders=self._decoders
        )
        image = self._image(example)
        if not self.encoded:
            image = image.numpy()
        label = int(self._reading.label(example))
        return {"image": image, "label": label, "name": self.name(index)}

    def name(self, index: int) -> str:
        """Returns the data set, the split and the number of a record."""
        return f"{self._label_prefix}[{index}]"

    def file_name(self, index: int) -> str:
        """Returns the feature "file_name", which ImageNet has; reads the record."""
        if self._file_name is None:
            return self.name(index)
        return self._file_name.deserialize_example_np(self._record(index))["file_name"].decode()

    def fetch(self, indices: "tf.Tensor") -> "dict[str, tf.Tensor]":
        """Returns serialised examples, string `[n]`."""
        tf = import_tensorflow()
        examples = tf.numpy_function(self._serialised, [indices], tf.string)
        examples.set_shape([indices.shape[0]])
        return {"example": examples}

    def unpack(self, item: "dict[str, tf.Tensor]") -> "dict[str, tf.Tensor]":
        """Parses one example; no Python runs here."""
        tf = import_tensorflow()
        example = self._features.deserialize_example(item["example"], decoders=self._decoders)
        label = tf.cast(self._reading.label(example), tf.int32)
        return {"image": self._image(example), "label": label}

    def _image(self, example: Mapping[str, Any]) -> Any:
        """Returns the bytes of the image, or its pixels if they are stored too dark."""
        contents = example[self._reading.image]
        if self.encoded:
            return contents
        tf = import_tensorflow()
        pixels = tf.io.decode_image(contents, expand_animations=False)
        pixels.set_shape(self._features[self._reading.image].shape)
        return pixels * tf.constant(self._reading.brightness, tf.uint8)

    def _serialised(self, indices: np.ndarray) -> np.ndarray:
        examples = np.empty(len(indices), dtype=object)
        if self._is_remote:  # shards at once, in threads; on a disk that costs more than it saves
            try:
                examples[:] = self._records.__getitems__(indices.tolist())
            except RuntimeError:  # of a shard; the records of others are in order
                examples[:] = [self._record_or_empty(int(i)) for i in indices]
        else:
            examples[:] = [self._record_or_empty(int(i)) for i in indices]
        return examples

    def _record(self, index: int) -> bytes:
        """Returns a serialised example; OSError if its file is damaged, cut short or gone."""
        try:
            record = self._records[index]
        except RuntimeError as error:  # array_record's, whatever is wrong with the file
            raise OSError(str(error)) from error
        if not record:
            raise OSError("the record is empty, its file was cut short")
        return record

    def _record_or_empty(self, index: int) -> bytes:
        try:
            return self._record(index)
        except OSError:
            return b""  # which no parser accepts


def _require_array_record(builder: "tfds.core.DatasetBuilder") -> None:
    """Raises UserError with the command to run if the data set cannot be read at random."""
    formats = {f.value for f in builder.info.available_file_formats()}
    if "array_record" not in formats:
        command = (
            "pip install apache-beam && tfds convert_format "
            f"--dataset_version_dir={builder.data_dir} --out_file_format=array_record"
        )
        raise UserError(
            f"data set {builder.info.full_name!r} is prepared as {', '.join(sorted(formats))}, "
            f"which cannot be read at random: run `{command}`"
        )


def read_label(builder: "tfds.core.DatasetBuilder", image: str, label: str) -> Reading:
    """Returns the reading of a data set whose feature `label` is the class."""
    feature = builder.info.features[label]
    known = tuple(feature.names or ()) or tuple(str(i) for i in range(feature.num_classes))
    return Reading(image, (label,), known, operator.itemgetter(label))


def _find_keys(builder: "tfds.core.DatasetBuilder") -> tuple[str, str]:
    """Returns which features are image and label: the supervised ones, or the only ones."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    candidates = [
        [key for key, feature in features.items() if isinstance(feature, kind)]
        for kind in (tfds.features.Image, tfds.features.ClassLabel)
    ]
    supervised = builder.info.supervised_keys or ()
    found = []
    for kind, keys in zip(("image", "class label"), candidates, strict=True):
        chosen = [key for key in keys if key in supervised] or keys
        if len(chosen) != 1:
            raise UserError(
                f"data set {builder.info.full_name!r} has {len(chosen)} {kind} features "
                f"({', '.join(features)}): one of each is needed to classify"
            )
        found.append(chosen[0])
    return found[0], found[1]
