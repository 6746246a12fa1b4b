# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Mixup (arXiv 1710.09412) and CutMix (arXiv 1905.04899) on batches, inside the jitted step."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import betaincinv

from vit_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class MixingConfig:
    """How batches are mixed; the fields of the config's section `mixing`.

    Args:
        mixup_alpha: the mixing weight of mixup is drawn from Beta(alpha, alpha); 0 is off.
        cutmix_alpha: likewise the share of the image that CutMix keeps; 0 is off.
        switch_probability: how often CutMix is chosen where both are on.
        probability: how often a batch is mixed at all.

    Raises:
        UserError: an alpha is negative or a probability not within [0, 1].
    """

    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0
    switch_probability: float = 0.5
    probability: float = 1.0

    def __post_init__(self) -> None:
        for field in ("mixup_alpha", "cutmix_alpha"):
            value = getattr(self, field)
            if not 0 <= value < float("inf"):
                raise UserError(f"mixing.{field} must be 0 (off) or positive, got {value}")
        for field in ("switch_probability", "probability"):
            value = getattr(self, field)
            if not 0 <= value <= 1:
                raise UserError(f"mixing.{field} must be within [0, 1], got {value}")

    @property
    def enabled(self) -> bool:
        """Whether any batch can come out mixed."""
        return self.probability > 0 and (self.mixup_alpha > 0 or self.cutmix_alpha > 0)

    @property
    def cutmix_share(self) -> float:
        """The probability that a mixed batch is mixed by CutMix."""
        if self.mixup_alpha and self.cutmix_alpha:
            return self.switch_probability
        return float(self.cutmix_alpha > 0)


def mix(images, labels, key, config: MixingConfig):
    """Returns a batch mixed with itself shifted by one example.

    One draw serves the batch, as timm's `batch` mode. Every example is mixed with the one before
    it, which in a sharded batch moves one example a device; reversing would move them all. Off,
    the arguments come back as they are.

    Args:
        images: float `[B, H, W, C]`.
        labels: `[B, classes]`, one-hot or soft; smoothing may come before or after.
        key: a jax random key.
        config: what to do; static.

    Returns:
        (images, labels) of the same shapes and types. A label weighs each of the two examples by
        exactly the part of the image it got.
    """
    if not config.enabled:
        return images, labels
    kept, share = _weights(images.shape[1:3], key, config)
    kept, share = kept[None, :, :, None].astype(images.dtype), share.astype(labels.dtype)
    return (
        kept * images + (1 - kept) * jnp.roll(images, 1, axis=0),
        share * labels + (1 - share) * jnp.roll(labels, 1, axis=0),
    )


def _weights(size: tuple[int, int], key, config: MixingConfig):
    """Returns the weight of each pixel's own example, float32 `[H, W]`, and its mean."""
    on_key, switch_key, mixup_key, cutmix_key = jax.random.split(key, 4)
    kept, share = jnp.ones(size), jnp.ones([])
    if config.cutmix_share < 1:
        share = _symmetric_beta(mixup_key, config.mixup_alpha)
        kept = jnp.full(size, share)
    if config.cutmix_share:
        kept_cut, share_cut = _cutmix_weights(size, cutmix_key, config.cutmix_alpha)
        cut = jax.random.bernoulli(switch_key, config.cutmix_share)
        kept, share = jnp.where(cut, kept_cut, kept), jnp.where(cut, share_cut, share)
    on = jax.random.bernoulli(on_key, config.probability)
    return jnp.where(on, kept, 1.0), jnp.where(on, share, 1.0)


def _cutmix_weights(size: tuple[int, int], key, alpha: float):
    """Returns 0 in a random box and 1 around it, `[H, W]`, and the mean.

    The box has the image's aspect ratio and the share 1 - Beta(alpha, alpha) of its area. Its
    centre is uniform in the image, and its edges are clipped: the mean is not the share drawn.
    """
    share_key, centre_key = jax.random.split(key)
    side = jnp.sqrt(1 - _symmetric_beta(share_key, alpha))
    centres = jax.random.uniform(centre_key, (2,))
    inside = []
    for length, centre in zip(size, centres, strict=True):
        half = jnp.floor(length * side) // 2
        offset = jnp.arange(length) - jnp.floor(centre * length)
        inside.append((offset >= -half) & (offset < half))
    rows, columns = inside
    kept = 1.0 - (rows[:, None] & columns[None, :])
    cut = jnp.sum(rows) * jnp.sum(columns)
    return kept, 1 - cut / (size[0] * size[1])


def _symmetric_beta(key, alpha: float):
    """Returns one draw of Beta(alpha, alpha), by its quantiles in steps of 1 / 4096.

    jax.random.beta rejects in a loop, which takes a second to compile for each use.
    """
    steps = 4096
    quantiles = jnp.asarray(betaincinv(alpha, alpha, np.arange(steps + 1) / steps), jnp.float32)
    place = steps * jax.random.uniform(key)
    below = jnp.floor(place).astype(int)
    low, high = quantiles[below], quantiles[below + 1]
    return low + (place - below) * (high - low)
