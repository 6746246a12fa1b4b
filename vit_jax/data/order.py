# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The order of the examples and their randomness, as pure functions of (seed, example number).

Example k of a run is the record `example_index(k, seed, n)` augmented with `example_seed(seed, k)`.
Nothing is stored: a run can start anywhere in O(1), and neither the number of hosts nor of threads
changes what is seen.
"""

from typing import TYPE_CHECKING

from vit_jax.data.tensorflow import import_tensorflow

if TYPE_CHECKING:
    import tensorflow as tf

# Streams of random numbers drawn from one seed must differ by purpose.
_SHUFFLE, _AUGMENT = range(2)
_STREAMS = 2
_ROUNDS = 4  # of the cipher that permutes; tf.random.experimental.index_shuffle takes as many


def example_seed(seed: int, k: "tf.Tensor") -> "tf.Tensor":
    """Returns the randomness of example k.

    Args:
        seed: the seed of the run.
        k: int64 scalar, the number of the example; safe beyond 2^31.

    Returns:
        int32 `[2]`, a seed for `tf.random.stateless_*` and `tf.image.stateless_*`.
    """
    return _fold(seed, _AUGMENT, k)


def example_index(k: "tf.Tensor", seed: int, n: int) -> "tf.Tensor":
    """Returns which of the n records example k shows: every epoch is a permutation of its own.

    Args:
        k: int64 scalar or `[b]`, the numbers of the examples; k // n is the epoch.
        seed: the seed of the run.
        n: the number of records.

    Returns:
        int64, of the shape of `k`.
    """
    tf = import_tensorflow()
    k = tf.convert_to_tensor(k, tf.int64)
    flat = tf.reshape(k, [-1])
    epochs, inverse = tf.unique(flat // n)
    keys = tf.map_fn(lambda e: _fold(seed, _SHUFFLE, e), epochs, fn_output_signature=tf.int32)
    keys = tf.pad(keys, [[0, 0], [1, 0]])  # the op wants three words
    # The raw op: tf.random.experimental.index_shuffle (TF 2.21) fails with one seed an index.
    index = tf.raw_ops.RandomIndexShuffle(
        index=flat % n,
        seed=tf.gather(keys, inverse),
        max_index=tf.constant(n - 1, tf.int64),
        rounds=_ROUNDS,
    )
    return tf.reshape(index, tf.shape(k))


def _fold(seed: int, stream: int, number: "tf.Tensor") -> "tf.Tensor":
    """Returns int32 `[2]`: a hash of the seed, the stream and an int64 number."""
    tf = import_tensorflow()
    # Philox is keyed by both words, so keys that differ anywhere give unrelated numbers.
    key = tf.stack([tf.constant(seed * _STREAMS + stream, tf.int64), tf.cast(number, tf.int64)])
    return tf.random.stateless_uniform([2], key, minval=None, maxval=None, dtype=tf.int32)
