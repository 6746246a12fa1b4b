# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The 1,000 classes of ImageNet (ILSVRC 2012), and which 200 of them ImageNet-A and -R have.

`imagenet.tsv` has a line a class, in the order of the outputs of every ImageNet classifier, which
is that of the WordNet ids: the id, the subsets it is in, and the first lemma of its synset in
WordNet 3.0, with a word in brackets where two classes share one.
"""

import functools
import importlib.resources
from collections.abc import Sequence

import numpy as np

SUBSETS = ("a", "r")


@functools.cache
def _lines() -> tuple[tuple[str, str, str], ...]:
    text = importlib.resources.files(__package__).joinpath("imagenet.tsv").read_text("utf-8")
    return tuple(
        (wordnet_id, subsets, name)
        for wordnet_id, subsets, name in (line.split("\t") for line in text.splitlines())
    )


def class_names() -> tuple[str, ...]:
    """Returns the 1,000 classes in words, each once: "tench", "goldfish", ..."""
    return tuple(name for _, _, name in _lines())


def wordnet_ids() -> tuple[str, ...]:
    """Returns the 1,000 classes as folders and TFDS call them: "n01440764", "n01443537", ..."""
    return tuple(wordnet_id for wordnet_id, _, _ in _lines())


def subset(name: str) -> np.ndarray:
    """Returns the 200 classes, int64, sorted, of a data set that has not all.

    Args:
        name: "a" for ImageNet-A (arXiv 1907.07174), "r" for ImageNet-R (arXiv 2006.16241).
    """
    if name not in SUBSETS:
        raise ValueError(f"no subset {name!r}")
    return np.array([i for i, (_, subsets, _) in enumerate(_lines()) if name in subsets])


def indices(names: Sequence[str]) -> np.ndarray | None:
    """Returns which ImageNet class each name means, int64 `[n]`; None if one means none.

    Args:
        names: all WordNet ids, all names as in `class_names`, or all numbers from 0 to 999, the
            folders of ImageNet-V2.
    """
    for known in (wordnet_ids(), class_names(), tuple(map(str, range(1000)))):
        positions = {name: index for index, name in enumerate(known)}
        if all(name in positions for name in names):
            return np.array([positions[name] for name in names])
    return None
