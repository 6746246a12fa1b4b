# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""From a source to global batches: read, decode and augment in parallel, in an order known ahead.

A batch is one small tf.data graph over its rows, two or more of them in flight. Rows that cannot be
decoded fall out of that graph and are mended one by one, so a bad image costs one image, and what a
row shows depends on nothing but its number.
"""

import dataclasses
import functools
import logging
import math
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from vit_jax.data import order
from vit_jax.data.cache import CachedSource
from vit_jax.data.sources.base import Source
from vit_jax.data.tensorflow import import_tensorflow
from vit_jax.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

logger = logging.getLogger(__name__)

Batch = dict[str, np.ndarray]

_FOREVER = 2**62  # batches


class HostOps(Protocol):
    """What a pipeline needs of `vit_jax.data.ops.Ops`."""

    def host(self, record: "dict[str, tf.Tensor]", seed: "tf.Tensor") -> "dict[str, tf.Tensor]":
        """Returns the record with an image uint8 `[H, W, C]`, a pure function of both arguments."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Pipeline:
    """What training and evaluation share.

    Attributes:
        source: the records.
        ops: decoding and augmentation; all images must leave it with one shape.
        batch_size: the global one.
        rows: which rows of every global batch this process delivers; None for all.
        seed: of the order and of the augmentation.
        cache: keep the raw records in memory.
        threads: how many read, decode and augment; 0 for one a core.
        prefetch_batches: how many finished batches may wait.
        max_bad_fraction: the share of the source, rounded up to whole images, that may be
            undecodable before it is an error.
    """

    source: Source
    ops: HostOps
    batch_size: int
    rows: np.ndarray | None = None
    seed: int = 0
    cache: bool = False
    threads: int = 0
    prefetch_batches: int = 2
    max_bad_fraction: float = 0.01

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UserError(f"batch_size={self.batch_size} must be at least 1")

    def _index(self, k: "tf.Tensor") -> "tf.Tensor":
        """Returns the records that the examples k, int64 `[b]`, show."""
        raise NotImplementedError

    def _stream(self, dataset: "tf.data.Dataset", start: int) -> Iterator[tuple[Batch, np.ndarray]]:
        """Yields (batch, bad [b]) of `_dataset(start, ...)`; bad rows show a replacement."""
        k = start + self._rows
        for batch in dataset.as_numpy_iterator():
            yield self._mend(batch, k)
            k = k + self.batch_size

    def _dataset(self, start: int, num_batches: int | None) -> "tf.data.Dataset":
        """Returns one element a batch, which lacks the rows that could not be read or decoded."""
        tf = import_tensorflow()
        rows = tf.constant(self._rows)
        size = len(self._rows)

        as_it_stands = tf.autograph.experimental.do_not_convert  # there is nothing to rewrite

        @as_it_stands
        def one_batch(number):
            k = start + number * self.batch_size + rows
            index = self._index(k)
            inputs = (tf.range(size), k, index, self._records.fetch(index))
            examples = tf.data.Dataset.from_tensor_slices(inputs).map(
                as_it_stands(lambda row, *args: {"row": row, **self._example(*args)}),
                num_parallel_calls=self._workers,
            )
            batch = examples.ignore_errors().batch(size)
            if_all_failed = tf.nest.map_structure(
                lambda spec: tf.zeros([d or 0 for d in spec.shape], spec.dtype), batch.element_spec
            )
            return batch.concatenate(tf.data.Dataset.from_tensors(if_all_failed)).take(1)

        numbers = tf.data.Dataset.range(_FOREVER if num_batches is None else num_batches)
        # The next batch begins while the last rows of this one are at work: no core waits.
        in_flight = 1 + math.ceil(self._workers / size)
        batches = numbers.interleave(
            one_batch, cycle_length=in_flight, num_parallel_calls=in_flight
        )
        return batches.prefetch(self.prefetch_batches).with_options(self._options())

    def _options(self) -> "tf.data.Options":
        options = import_tensorflow().data.Options()
        options.deterministic = True
        options.autotune.enabled = False  # everything it would choose is chosen here
        options.threading.private_threadpool_size = self._workers
        options.threading.max_intra_op_parallelism = 1
        return options

    def _example(self, k: "tf.Tensor", index: "tf.Tensor", item: "dict[str, tf.Tensor]") -> dict:
        tf = import_tensorflow()
        record = self.ops.host(self._records.unpack(item), order.example_seed(self.seed, k))
        return {
            "image": record["image"],
            "label": tf.cast(record["label"], tf.int32),
            "index": index,
        }

    def _mend(self, batch: Batch, k: np.ndarray) -> tuple[Batch, np.ndarray]:
        """Returns the batch with all its rows, and which of them show a replacement."""
        present = batch.pop("row")
        bad = np.zeros(len(k), bool)
        if len(present) == len(k):
            return batch, bad
        missing = np.setdiff1d(np.arange(len(k)), present)
        mended = []
        for row in missing:
            example, bad[row] = self._readable_example(int(k[row]))
            mended.append(example)
        whole = {}
        for key, first in mended[0].items():
            whole[key] = np.empty((len(k), *first.shape), first.dtype)
            whole[key][missing] = [example[key] for example in mended]
            if len(present):
                whole[key][present] = batch[key]
        return whole, bad

    def _readable_example(self, k: int) -> tuple[Batch, bool]:
        """Returns (example k, False), or (with the next good record in its place, True)."""
        tf = import_tensorflow()
        errors = tf.errors
        bad = (
            errors.InvalidArgumentError, errors.NotFoundError, errors.DataLossError,
            errors.OutOfRangeError, errors.FailedPreconditionError, errors.PermissionDeniedError,
        )  # fmt: skip
        first = int(self._index(tf.constant([k], tf.int64))[0])
        for step in range(len(self.source)):
            index = (first + step) % len(self.source)
            try:
                example = self._one_example(tf.constant(k, tf.int64), tf.constant(index, tf.int64))
            except bad as error:
                self._report_bad(index, error)
            else:
                return {key: value.numpy() for key, value in example.items()}, step > 0
        raise UserError("no image of the data source can be decoded")

    @functools.cached_property
    def _one_example(self) -> Any:
        tf = import_tensorflow()

        def example(k, index):
            item = self._records.fetch(index[None])
            return self._example(k, index, {key: value[0] for key, value in item.items()})

        scalar = tf.TensorSpec([], tf.int64)
        return tf.function(example, autograph=False, input_signature=[scalar, scalar])

    def _report_bad(self, index: int, error: Exception) -> None:
        """Names a bad record in the log, once; raises UserError if there are too many."""
        if index in self.bad_records:
            return
        reason = self._damage(index) or _reason(error)
        self.bad_records[index] = reason
        count, total = len(self.bad_records), len(self.source)
        name = self.source.name(index)
        logger.warning("cannot read %s (%s): replaced; %d of %d so far", name, reason, count, total)
        if count > math.ceil(self.max_bad_fraction * total):
            names = ", ".join(self.source.name(i) for i in list(self.bad_records)[:3])
            raise UserError(
                f"data.max_bad_fraction={self.max_bad_fraction}: {count} of {total} images cannot "
                f"be read, among them {names} ({reason}): mend or remove them, or allow more"
            )

    def _damage(self, index: int) -> str:
        """Returns what a source says of a record it cannot read, if that is more than its bytes."""
        try:
            self.source[index]
        except OSError as error:
            return "" if error.errno else str(error)
        return ""

    @functools.cached_property
    def bad_records(self) -> dict[int, str]:
        """Returns the records found to be undecodable so far, by this process: index -> reason."""
        return {}

    @functools.cached_property
    def _workers(self) -> int:
        if self.threads:
            return self.threads
        return (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )

    @functools.cached_property
    def _records(self) -> Source:
        return CachedSource(self.source, self._workers) if self.cache else self.source

    @functools.cached_property
    def _rows(self) -> np.ndarray:
        rows = range(self.batch_size) if self.rows is None else self.rows
        return np.asarray(rows, np.int64)


def _reason(error: Exception) -> str:
    """Returns the line of a TensorFlow error that says what is wrong, not where in the graph."""
    message = str(getattr(error, "message", error)).split("\n\t [[")[0].split(" [Op:")[0]
    return message.strip().splitlines()[-1].split("}} ")[-1]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TrainPipeline(_Pipeline):
    """Shuffled, augmented global batches without end; see `_Pipeline` for the fields.

    Every N consecutive examples from a multiple of N on are one epoch of N records: each record
    exactly once, in an order of its own. Batches run over the ends of epochs. A record that cannot
    be decoded is replaced by the next one that can.
    """

    def batches(self, start_example: int = 0) -> Iterator[Batch]:
        """Yields `{"image": uint8 [b, H, W, C], "label": int32 [b], "index": int64 [b]}`.

        Args:
            start_example: how many examples the run has seen; the batches are those that an
                uninterrupted run would see from there on.

        Raises:
            UserError: more than `max_bad_fraction` of the source cannot be decoded.
        """
        for batch, _ in self._stream(self._dataset(start_example, None), start_example):
            yield batch

    def _index(self, k: "tf.Tensor") -> "tf.Tensor":
        return order.example_index(k, self.seed, len(self.source))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class EvalPipeline(_Pipeline):
    """Every record exactly once, in order; see `_Pipeline` for the fields.

    The last batch is padded; padding and records that cannot be decoded are masked out.
    """

    @property
    def num_batches(self) -> int:
        """Returns the number of batches, the same on every process."""
        return math.ceil(len(self.source) / self.batch_size)

    def batches(self) -> Iterator[Batch]:
        """Yields `num_batches` batches as `TrainPipeline` does, with `"mask"`, float32 `[b]`.

        Masked rows have index -1; what else they hold means nothing.

        Raises:
            UserError: more than `max_bad_fraction` of the source cannot be decoded.
        """
        k = self._rows
        for batch, bad in self._stream(self._all, 0):
            good = ~bad & (k < len(self.source))
            index = np.where(good, batch["index"], -1)
            yield {**batch, "index": index, "mask": good.astype(np.float32)}
            k = k + self.batch_size

    @functools.cached_property
    def _all(self) -> "tf.data.Dataset":
        return self._dataset(0, self.num_batches)  # kept: tracing it takes longer than small sets

    def _index(self, k: "tf.Tensor") -> "tf.Tensor":
        return import_tensorflow().minimum(k, len(self.source) - 1)
