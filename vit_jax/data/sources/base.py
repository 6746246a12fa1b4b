# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What a data source is, and how a config names one.

Every source is a random-access sequence of records. A new one is a class with `class_names`,
`__len__` and `__getitem__`, registered under the scheme it is named by.
"""

import abc
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from vit_jax.data.tensorflow import import_tensorflow
from vit_jax.errors import UserError
from vit_jax.registry import Registry

if TYPE_CHECKING:
    import tensorflow as tf


REMOTE_THREADS = 64  # that wait for one file each where every file takes tens of milliseconds
COUNTED_RECORDS = 10_000  # at most, to count the classes: reading so many takes a second or two


class Source(abc.ABC):
    """A random-access sequence of records `{"image", "label", "name"}`.

    Attributes:
        class_names: the name of every label, in order.
        encoded: whether images are the bytes of image files; else uint8 `[H, W, C]` of one shape.
    """

    class_names: tuple[str, ...]
    encoded: bool = True

    @property
    def left_out(self) -> str:
        """What lies where the data lies and is not part of it, in words; empty for nothing."""
        return ""

    def class_counts(self) -> np.ndarray | None:
        """Returns the number of records of each class, int `[classes]`.

        None for a large source whose labels are only found by reading it all.
        """
        if len(self) > COUNTED_RECORDS:
            return None
        labels = [self._read_or_empty(index)["label"] for index in range(len(self))]
        return np.bincount(labels, minlength=len(self.class_names))

    @abc.abstractmethod
    def __len__(self) -> int:
        """Returns the number of records."""

    @abc.abstractmethod
    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns `{"image": bytes or uint8 [H, W, C], "label": int, "name": str}`.

        Raises:
            OSError: the record cannot be read.
        """

    def name(self, index: int) -> str:
        """Returns what to call a record in a message, without reading it."""
        return f"record {index}"

    def file_name(self, index: int) -> str:
        """Returns what the record's file was called where it comes from, or its `name`."""
        return self.name(index)

    def read(self, index: "tf.Tensor") -> "dict[str, tf.Tensor]":
        """Returns the record at an int64 scalar as graph ops: `{"image", "label"}`."""
        tf = import_tensorflow()
        item = self.fetch(tf.reshape(tf.cast(index, tf.int64), [1]))
        return self.unpack({key: value[0] for key, value in item.items()})

    def fetch(self, indices: "tf.Tensor") -> "dict[str, tf.Tensor]":
        """Returns what is needed of the records `indices`, int64 `[n]`, as tensors `[n, ...]`.

        One call a batch: what must run in Python, and so holds its lock, belongs here. A record
        that cannot be read comes as an empty string, which no decoder accepts.
        """
        tf = import_tensorflow()
        image_type = tf.string if self.encoded else tf.uint8
        images, labels = tf.numpy_function(self._gather, [indices], (image_type, tf.int32))
        shape = [] if self.encoded else list(self[0]["image"].shape)
        images.set_shape([indices.shape[0], *shape])
        labels.set_shape([indices.shape[0]])
        return {"image": images, "label": labels}

    def unpack(self, item: "dict[str, tf.Tensor]") -> "dict[str, tf.Tensor]":
        """Returns the record `{"image", "label"}` of one row of `fetch`; graph ops, in parallel."""
        return item

    def _gather(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        records = [self._read_or_empty(int(i)) for i in indices]
        if self.encoded:
            images = np.empty(len(records), dtype=object)
            images[:] = [r["image"] for r in records]
        else:
            images = np.stack([r["image"] for r in records])
        return images, np.array([r["label"] for r in records], np.int32)

    def _read_or_empty(self, index: int) -> dict[str, Any]:
        try:
            return self[index]
        except OSError:
            if not self.encoded:
                raise
            return {"image": b"", "label": 0}


SOURCES: Registry[Callable[[str, str, str | None], Source]] = Registry("data source")


def create_source(text: str, split: str, data_dir: str | None = None) -> Source:
    """Returns the source a config names.

    Args:
        text: "SCHEME:ARGUMENT", e.g. "tfds:cifar10", "folder:~/flowers", or "digits".
        split: which part, e.g. "train", "train[:90%]", "train+validation".
        data_dir: where prepared data sets live; None for the scheme's default.

    Raises:
        UserError: an unknown scheme, an unknown split, or data that is not there, with the fix.
    """
    scheme, _, argument = text.partition(":")
    if scheme not in SOURCES and os.path.isdir(os.path.expanduser(text)):
        raise UserError(f"data.source={text!r} is a folder: write 'folder:{text}'")
    return SOURCES.get(scheme)(argument, split, data_dir)
