# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The order is a permutation an epoch, and randomness is a function of the example number."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vit_jax.data.order import example_index, example_seed
from vit_jax.data.tensorflow import import_tensorflow

tf = import_tensorflow()


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 70),
    seed=st.integers(0, 2**31 - 1),
    first=st.integers(0, 2**45),
    epochs=st.integers(1, 4),
)
def test_every_epoch_shows_each_record_exactly_once(n, seed, first, epochs):
    k = first * n + np.arange(epochs * n)
    index = example_index(k, seed, n).numpy().reshape(epochs, n)
    assert index.dtype == np.int64
    np.testing.assert_array_equal(np.sort(index, axis=1), np.tile(np.arange(n), (epochs, 1)))


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(1, 500),
    seed=st.integers(0, 2**31 - 1),
    k=st.lists(st.integers(0, 2**60), min_size=1, max_size=20),
)
def test_an_index_does_not_depend_on_what_it_is_asked_with(n, seed, k):
    together = example_index(np.array(k), seed, n).numpy()
    alone = [int(example_index(tf.constant(one, tf.int64), seed, n)) for one in k]
    np.testing.assert_array_equal(together, alone)


def test_epochs_and_seeds_are_shuffled_differently():
    n = 1000
    index = example_index(np.arange(3 * n), 1, n).numpy().reshape(3, n)
    other = example_index(np.arange(n), 2, n).numpy()
    for a, b in [(index[0], index[1]), (index[1], index[2]), (index[0], other)]:
        # Two random permutations agree in one place on average (Poisson: P(> 8) is 1e-6).
        assert np.sum(a == b) <= 8
    # No trace of the order of the records: ranks are uncorrelated, with standard error 1/sqrt(n).
    for row in [*index, other]:
        assert abs(np.corrcoef(np.arange(n), row)[0, 1]) < 5 / np.sqrt(n)


def test_where_a_record_lands_is_uniform():
    n, epochs = 8, 800
    index = example_index(np.arange(n * epochs), 5, n).numpy().reshape(epochs, n)
    counts = np.stack([np.bincount(index[:, place], minlength=n) for place in range(n)])
    expected = epochs / n
    chi2 = np.sum((counts - expected) ** 2 / expected)
    # (n - 1)^2 = 49 degrees of freedom: mean 49, standard deviation 10.
    assert chi2 < 120


def test_seeds_of_examples_are_all_different_beyond_32_bits():
    k = [0, 1, 2, 2**31 - 1, 2**31, 2**32, 2**32 + 1, 2**33, 2**40, 2**62]
    seeds = [example_seed(s, tf.constant(one, tf.int64)) for s in (0, 1, 2**31 - 1) for one in k]
    assert all(s.dtype == tf.int32 and s.shape == [2] for s in seeds)
    assert len({tuple(s.numpy()) for s in seeds}) == len(seeds)


def test_a_graph_gives_the_seed_that_eager_gives():
    in_graph = tf.function(lambda k: example_seed(7, k))
    for k in (3, 2**35 + 3):
        k = tf.constant(k, tf.int64)
        np.testing.assert_array_equal(in_graph(k), example_seed(7, k))


def test_order_and_augmentation_use_different_randomness():
    # Otherwise the shuffle of epoch e and the crop of example e would move together.
    from vit_jax.data import order

    k = tf.constant(12, tf.int64)
    shuffle, augment = (order._fold(3, s, k).numpy() for s in (order._SHUFFLE, order._AUGMENT))
    assert not np.array_equal(shuffle, augment)
