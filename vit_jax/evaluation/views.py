# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Test-time augmentation: several views of an image, whose predictions are averaged.

`flip` adds the mirrored image; `five_crops` replaces the central crop of the preprocessing by the
four corners and the centre of the image it crops; both together are the ten crops of AlexNet.
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from vit_jax.data import ops as ops_lib
from vit_jax.data.tensorflow import import_tensorflow
from vit_jax.errors import UserError
from vit_jax.registry import near_misses

if TYPE_CHECKING:
    import tensorflow as tf

NAMES = ("flip", "five_crops")


@dataclasses.dataclass(frozen=True)
class Views:
    """The preprocessing of evaluation, with more than one result for each image.

    Attributes:
        ops: the preprocessing of one view.
        names: among `NAMES`.

    Raises:
        UserError: an unknown view, or five crops of ops that do not crop the centre.
    """

    ops: ops_lib.Ops
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.names:
            if name not in NAMES:
                raise UserError(
                    f"--views: unknown view {name!r}{near_misses(name, NAMES)}; "
                    f"there are {' and '.join(NAMES)}"
                )
        if "five_crops" in self.names:
            self._around_crop()

    def host(self, record: "dict[str, tf.Tensor]", seed: "tf.Tensor") -> "dict[str, tf.Tensor]":
        """Returns the record with "image" uint8 `[H, W, C]`, or `[5, H, W, C]`."""
        if "five_crops" not in self.names:
            return self.ops.host(record, seed)
        tf = import_tensorflow()
        before, crop = self._around_crop()
        record = before.host(record, seed)
        height, width = self.ops.image_size
        shape = tf.shape(record["image"])
        bottom, right = tf.maximum(shape[0], height), tf.maximum(shape[1], width)
        image = tf.image.resize_with_crop_or_pad(record["image"], bottom, right)  # only pads
        crops = [image[:height, :width], image[:height, -width:]]
        crops += [image[-height:, :width], image[-height:, -width:], crop(record, None)["image"]]
        for one in crops:
            one.set_shape([height, width, self.ops.channels])
        return {**record, "image": tf.stack(crops)}

    def device(self, images: jax.Array) -> jax.Array:
        """Returns float images `[B, views, H, W, C]` from what `host` returns, batched."""
        if "five_crops" not in self.names:
            images = images[:, None]
        images = self.ops.device(images)
        if "flip" in self.names:
            images = jnp.concatenate([images, images[..., ::-1, :]], axis=1)
        return images

    def _around_crop(self) -> tuple[ops_lib.Ops, ops_lib.Op]:
        """Returns the ops ahead of the central crop, and the crop, which is the host's last op."""
        on_host = [op for op in self.ops.ops if not op.on_device]
        if on_host[-1].name != "central_crop":
            raise UserError(
                "--views=five_crops needs a preprocessing that ends with central_crop, this is "
                f"{self.ops.spec!r}: use --views=flip"
            )
        return ops_lib.Ops(tuple(on_host[:-1])), on_host[-1]


def parse(text: str) -> tuple[str, ...]:
    """Returns the views of "flip,five_crops"; nothing for ""."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


class Inputs:
    """What several models are fed: every distinct preprocessing once.

    Args:
        wanted: one a model.

    Attributes:
        distinct: the different ones among them.
        of_model: which of these each model is fed with.
    """

    def __init__(self, wanted: Sequence[Views]):
        self.distinct = tuple(dict.fromkeys(wanted))
        self.of_model = tuple(self.distinct.index(views) for views in wanted)

    def device(self, images: Sequence[jax.Array]) -> tuple[Any, ...]:
        """Returns float images `[B, views, H, W, C]`, one array for each distinct preprocessing."""
        return tuple(
            views.device(batch) for views, batch in zip(self.distinct, images, strict=True)
        )
