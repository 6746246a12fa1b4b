# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The classes of ImageNet in the order of classifiers' outputs, by any of their names."""

import numpy as np
import pytest

from vit_jax.evaluation import imagenet


def test_a_thousand_classes_each_named_once_in_the_order_of_their_ids():
    ids, names = imagenet.wordnet_ids(), imagenet.class_names()
    assert len(ids) == len(set(ids)) == len(names) == len(set(names)) == 1000
    assert list(ids) == sorted(ids)
    known = {0: "tench", 134: "crane (bird)", 207: "golden retriever", 517: "crane (machine)"}
    known |= {281: "tabby", 645: "maypole", 999: "toilet tissue"}
    assert {index: names[index] for index in known} == known
    assert ids[207] == "n02099601"


@pytest.mark.parametrize(
    ("name", "first", "last", "total"),
    # the sums over the lists that the authors publish beside their evaluation code
    [
        ("a", [6, 11, 13, 15, 17], [986, 987, 988], 102178),
        ("r", [1, 2, 4, 6, 8], [981, 983, 988], 86135),
    ],
)
def test_subsets_are_those_of_their_authors(name, first, last, total):
    chosen = imagenet.subset(name)
    assert len(chosen) == len(set(chosen.tolist())) == 200
    assert chosen[:5].tolist() == first
    assert chosen[-3:].tolist() == last
    assert chosen.sum() == total


def test_names_in_any_vocabulary_and_order():
    order = np.random.default_rng().permutation(1000)
    for names in (imagenet.wordnet_ids(), imagenet.class_names(), [str(i) for i in range(1000)]):
        np.testing.assert_array_equal(imagenet.indices([names[i] for i in order]), order)
    assert imagenet.indices(["10", "2", "999"]).tolist() == [10, 2, 999]
    assert imagenet.indices(["n01440764", "goldfish"]) is None
    assert imagenet.indices(["1000"]) is None
