# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""From bytes to the numbers a model takes, on the device inside the jitted step.

Shipping uint8 quarters the transfer, and normalising in the input pipeline halves its throughput.
"""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from vit_jax.data.ops.op import Op, Record, register
from vit_jax.registry import near_misses

# name -> (mean, std) of pixels in [0, 1]; one number serves every channel.
STATISTICS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5,), (0.5,)),  # [-1, 1]: Inception, and the original ViT and AugReg checkpoints
    "inception": ((0.5,), (0.5,)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "none": ((0.0,), (1.0,)),
}


@dataclasses.dataclass(frozen=True)
class DeviceOp(Op):
    """An op on batches of images inside the jitted step; the last of a list."""

    on_device: ClassVar[bool] = True

    def scale(self, images):
        """Returns float32 images from uint8 ones, `[..., H, W, C]`."""
        raise NotImplementedError

    def check_channels(self, channels: int) -> None:
        """Raises UserError if the op cannot serve images of that many channels."""

    def __call__(self, record: Record, seed) -> Record:
        raise TypeError(f"{self.name} runs on the device: call Ops.device")


@register("normalise", aliases=("normalize",))
@dataclasses.dataclass(frozen=True)
class Normalise(DeviceOp):
    """(x / 255 - mean) / std, per channel.

    `mean` is the name of known statistics (then std is left out) or one number per channel.
    """

    mean: str | tuple[float, ...]
    std: tuple[float, ...] | None = None

    def check(self) -> None:
        if isinstance(self.mean, str):
            if self.mean not in STATISTICS:
                known = near_misses(self.mean, STATISTICS) or f"; known: {', '.join(STATISTICS)}"
                self.refuse(f"unknown statistics {self.mean!r}{known}")
            self.require(self.std is None, f"std comes with the statistics {self.mean!r}: drop it")
        else:
            self.require(self.std is not None, "std is missing beside the numbers of mean")
        mean, std = self.statistics
        self.require(len(mean) in (1, 3), f"mean must have 1 or 3 numbers, got {len(mean)}")
        self.require(len(mean) == len(std), "mean and std must be of one length")
        self.require(min(std) > 0, f"std must be positive, got {std}")

    @property
    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """(mean, std) of pixels in [0, 1], one number each or one a channel."""
        return STATISTICS[self.mean] if isinstance(self.mean, str) else (self.mean, self.std or ())

    def check_channels(self, channels: int) -> None:
        if len(self.statistics[0]) not in (1, channels):
            self.refuse(
                f"has {len(self.statistics[0])} channels of statistics for images of {channels}: "
                "use normalise(half), or one number each"
            )

    def scale(self, images):
        mean, std = (np.asarray(x, np.float32) for x in self.statistics)
        return (images.astype(jnp.float32) - 255 * mean) / (255 * std)


@register("value_range")
@dataclasses.dataclass(frozen=True)
class ValueRange(DeviceOp):
    """Maps 0 to `low` and 255 to `high`."""

    low: float = 0.0
    high: float = 1.0

    def check(self) -> None:
        self.require(self.low < self.high, f"low must be below high, got {self.low}, {self.high}")

    def scale(self, images):
        return images.astype(jnp.float32) * ((self.high - self.low) / 255) + self.low
