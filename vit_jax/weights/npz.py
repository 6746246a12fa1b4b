# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The .npz files of Google's Flax projects: what their families share.

Kernels are stored as ours are, `[inputs, outputs]` at their true rank; tables and the gains of a
GroupNorm carry leading axes of one; query, key and value are apart.
"""

import re

import numpy as np

from vit_jax.weights.names import SPLIT_PROJECTIONS, NameMap, Pairs, Storage, Tensors, same, table

NAMES = (
    (r"/q/(?=\w+$)", "/query/"),
    (r"/k/(?=\w+$)", "/key/"),
    (r"/v/(?=\w+$)", "/value/"),
    (r"/fc1/", "/Dense_0/"),
    (r"/fc2/", "/Dense_1/"),
)


_STORAGE = (
    (r"^(pos_embed|\w+_tokens?|pool/probe)$", table),
    (
        r"^stem/.*norm\w*/(scale|bias)$",
        Storage(lambda theirs, shape: theirs.reshape(shape), lambda a: a.reshape(1, 1, 1, -1)),
    ),
    (r"", same),
)
# A file may hold the state of a trainer, or several towers of which `img` is the image's.
_SYNONYMS = ((r"^(opt/target/|params/(img/)?)", ""),)
_OTHER_TOWERS = r"^(txt/|t$|b$|bias$)"


def name_map(names: Pairs, absent: str) -> NameMap:
    """Returns the map of a family; `names` need not deal with towers, scans and norms."""
    return NameMap(
        names,
        _STORAGE,
        splits=SPLIT_PROJECTIONS,
        ignored=_OTHER_TOWERS,
        absent=absent,
        synonyms=_SYNONYMS,
        prepare=_prepare,
    )


def _prepare(theirs: Tensors) -> Tensors:
    """Cuts scanned blocks apart; gives the norms of a ResNet the axes that newer files lack."""
    tensors: dict[str, np.ndarray] = {}
    for key, array in theirs.items():
        if "/encoderblock/" in key:
            for i, of_block in enumerate(array):
                tensors[key.replace("/encoderblock/", f"/encoderblock_{i}/")] = of_block
        elif re.search(r"(^|/)gn(_?\w+)/(scale|bias)$", key) and array.ndim == 1:
            tensors[key] = array.reshape(1, 1, 1, -1)
        else:
            tensors[key] = array
    return tensors
