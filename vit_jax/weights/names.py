# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Names and layouts of other people's tensors, declared once and used in both directions."""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from vit_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Layout:
    """How one tensor is stored on the two sides.

    Attributes:
        to_ours: their array and our shape to our array.
        to_theirs: our array to their array.
    """

    to_ours: Callable[[np.ndarray, tuple[int, ...]], np.ndarray]
    to_theirs: Callable[[np.ndarray], np.ndarray]


def linear(num_inputs: int = 1) -> Layout:
    """Torch's `[out, in]` and our `[*inputs, *outputs]`, with `num_inputs` input axes."""

    def to_theirs(ours: np.ndarray) -> np.ndarray:
        return ours.reshape(math.prod(ours.shape[:num_inputs]), -1).T

    return Layout(lambda theirs, shape: theirs.T.reshape(shape), to_theirs)


# Torch's [O, I, H, W] and our [H, W, I, O].
convolution = Layout(
    lambda theirs, shape: theirs.transpose(2, 3, 1, 0), lambda a: a.transpose(3, 2, 0, 1)
)
# One axis on their side, any number on ours.
vector = Layout(lambda theirs, shape: theirs.reshape(shape), lambda ours: ours.reshape(-1))
# A leading axis of one on their side.
table = Layout(lambda theirs, shape: theirs[0], lambda ours: ours[None])
same = Layout(lambda theirs, shape: theirs, lambda ours: ours)


@dataclasses.dataclass(frozen=True)
class NameMap:
    """The names of a family: regular expressions on our paths, such as `block_00/attn/qkv/kernel`.

    Attributes:
        names: (pattern, replacement) pairs that turn our path into their key, applied in order.
        layouts: (pattern, layout) pairs; the first pattern found in our path decides.
        ignored: pattern of their keys that carry no weights (buffers).
    """

    names: tuple[tuple[str, str], ...]
    layouts: tuple[tuple[str, Layout], ...]
    ignored: str = r"(?!)"

    def key(self, path: str) -> str:
        """Returns their name of our parameter."""
        for pattern, replacement in self.names:
            path = re.sub(pattern, replacement, path)
        return path

    def layout(self, path: str) -> Layout:
        """Returns how our parameter is stored on their side."""
        return next(layout for pattern, layout in self.layouts if re.search(pattern, path))

    def load(self, theirs: Mapping[str, np.ndarray], template: Any) -> dict[str, Any]:
        """Returns their tensors as our parameters.

        Args:
            theirs: state dictionary of arrays.
            template: our (unrolled) parameters, or their shapes and dtypes.

        Raises:
            UserError: tensors are missing, left over or of another shape; all of them are listed.
        """
        ours: dict[str, np.ndarray] = {}
        problems, unused = [], {key for key in theirs if not re.search(self.ignored, key)}
        for path, leaf in flatten_dict(template, sep="/").items():
            key = self.key(path)
            expected = jax.eval_shape(self.layout(path).to_theirs, leaf).shape
            unused.discard(key)
            if key not in theirs:
                problems.append(f"missing {key} {list(expected)}")
            elif theirs[key].shape != expected:
                shape = list(theirs[key].shape)
                problems.append(f"{key} is {shape}, the model's {path} needs {list(expected)}")
            else:
                ours[path] = self.layout(path).to_ours(np.asarray(theirs[key]), leaf.shape)
                ours[path] = ours[path].astype(leaf.dtype)
        problems += [f"unused {key} {list(theirs[key].shape)}" for key in sorted(unused)]
        if problems:
            raise UserError(f"the weights do not fit the model: {'; '.join(problems)}")
        return unflatten_dict(ours, sep="/")

    def dump(self, params: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Returns our (unrolled) parameters under their names and in their layouts."""
        flat = flatten_dict(params, sep="/")
        return {self.key(p): self.layout(p).to_theirs(np.asarray(a)) for p, a in flat.items()}


# What all of timm's families share; a family puts its own pairs ahead of these.
TIMM_NAMES = (
    (r"\bblock_0*(\d+)", r"blocks/\1"),
    (r"attn/out\b", r"attn/proj"),
    (r"\b(kernel|scale)$", "weight"),
    (r"/", "."),
)
TIMM_LAYOUTS = (
    (r"patch_embed/kernel$", convolution),
    (r"\bout/kernel$", linear(num_inputs=2)),
    (r"\bkernel$", linear()),
    (r"\b(bias|scale|gamma)$", vector),
)
