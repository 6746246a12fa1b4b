# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Mixup and CutMix: labels against the pixels themselves, distributions, sharding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from scipy import stats

from vit_jax.data.mixing import MixingConfig, mix
from vit_jax.errors import UserError

RNG = np.random.default_rng(0)
B, H, W, CLASSES = 6, 10, 14, 5
LABELS = RNG.integers(0, CLASSES, B)
ONE_HOT = np.eye(CLASSES, dtype=np.float32)[LABELS]
# Example b is filled with the number b + 1, so that a pixel tells where it came from.
NUMBERS = np.ones((B, H, W, 3), np.float32)
NUMBERS *= np.arange(1, B + 1, dtype=np.float32)[:, None, None, None]


def draws(config, images, labels, count):
    """Mixes with `count` keys at once."""
    keys = jax.random.split(jax.random.key(int(RNG.integers(1 << 30))), count)
    run = jax.jit(jax.vmap(lambda key: mix(jnp.asarray(images), jnp.asarray(labels), key, config)))
    return [np.asarray(x) for x in run(keys)]


def own_share(labels):
    """The weight of each example's own label, from labels mixed out of an identity matrix."""
    return labels[:, np.arange(B), np.arange(B)]


@pytest.mark.parametrize("alpha", [0.4, 0.8, 1.0, 3.0])
def test_weights_follow_the_beta_distribution(alpha):
    config = MixingConfig(mixup_alpha=alpha)
    labels = jnp.eye(2)
    keys = jax.random.split(jax.random.key(int(RNG.integers(1 << 30))), 3000)
    shares = jax.jit(jax.vmap(lambda key: mix(jnp.zeros([2, 1, 1, 1]), labels, key, config)[1]))(
        keys
    )
    assert stats.kstest(np.asarray(shares)[:, 0, 0], stats.beta(alpha, alpha).cdf).pvalue > 1e-6


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_mixup_mixes_pixels_and_labels_by_one_weight(alpha):
    images = RNG.normal(size=(B, H, W, 3)).astype(np.float32)
    mixed, labels = draws(MixingConfig(mixup_alpha=alpha), images, np.eye(B, dtype=np.float32), 500)
    share = own_share(labels)[:, :1]
    np.testing.assert_allclose(own_share(labels), np.broadcast_to(share, (500, B)), atol=1e-6)
    previous = images[(np.arange(B) - 1) % B]
    weight = share[..., None, None, None]
    np.testing.assert_allclose(mixed, weight * images + (1 - weight) * previous, atol=2e-6)
    # Beta(a, a) has mean 1/2 and variance 1 / (4 (2a + 1)).
    std = 0.5 / np.sqrt(2 * alpha + 1)
    assert abs(share.mean() - 0.5) < 5 * std / np.sqrt(500)
    assert abs(share.std() / std - 1) < 0.2


@pytest.mark.parametrize("size", [(10, 14), (7, 7), (32, 8)])
def test_cutmix_labels_are_the_pixel_fractions(size):
    config = MixingConfig(cutmix_alpha=1.0)
    images = np.broadcast_to(NUMBERS[:, :1, :1], (B, *size, 3))
    mixed, labels = draws(config, images, np.eye(B, dtype=np.float32), 500)
    own = mixed == images
    previous = mixed == images[(np.arange(B) - 1) % B]
    assert (own ^ previous).all()
    np.testing.assert_allclose(own_share(labels), own.mean((2, 3, 4)), atol=1e-6)
    np.testing.assert_allclose(labels.sum(-1), 1, atol=1e-6)
    # What was replaced is one rectangle, at the same place in every example.
    cut = ~own[:, 0, :, :, 0]
    assert (cut == ~own[:, 3, :, :, 1]).all()
    rows, columns = cut.any(2), cut.any(1)
    assert (cut == rows[:, :, None] & columns[:, None, :]).all()
    for side in (rows, columns):
        assert (np.abs(np.diff(np.pad(side.astype(int), ((0, 0), (1, 1))))).sum(1) <= 2).all()


def test_cutmix_boxes_have_the_expected_area():
    """The mean area against a float64 simulation of the paper's formula, clipped at the edges."""
    side = 64
    images = np.zeros((1, side, side, 1), np.float32)
    config = MixingConfig(cutmix_alpha=1.0)
    keys = jax.random.split(jax.random.key(int(RNG.integers(1 << 30))), 4000)
    pair = jnp.eye(2)
    images = jnp.broadcast_to(jnp.arange(2.0)[:, None, None, None], (2, side, side, 1))
    kept = jax.jit(jax.vmap(lambda key: mix(images, pair, key, config)[1][0, 0]))(keys)
    length = side * np.sqrt(1 - RNG.beta(1, 1, 200000))
    centre = RNG.uniform(0, side, (2, 200000))
    clipped = np.minimum(centre + length / 2, side) - np.maximum(centre - length / 2, 0)
    expected = 1 - np.prod(clipped, 0) / side**2
    assert abs(np.mean(kept) - expected.mean()) < 0.02
    assert abs(np.std(kept) - expected.std()) < 0.02


def test_the_switch_and_the_probability():
    config = MixingConfig(0.5, 1.0, switch_probability=0.3, probability=0.6)
    mixed, labels = draws(config, NUMBERS, np.eye(B, dtype=np.float32), 1500)
    untouched = (own_share(labels) == 1).all(1)
    whole = np.equal(np.round(mixed), mixed).all((1, 2, 3, 4))  # numbers stay whole under CutMix
    share_mixup = (~whole).mean()
    assert abs(share_mixup - 0.6 * 0.7) < 0.08
    assert 0.35 < untouched.mean() < 0.55  # 0.4, and boxes or weights that round to nothing
    np.testing.assert_allclose(labels.sum(-1), 1, atol=1e-6)


@pytest.mark.parametrize(
    "config",
    [
        MixingConfig(),
        MixingConfig(0.8, 1.0, probability=0.0),
    ],
)
def test_off_costs_nothing(config):
    images, labels = jnp.asarray(NUMBERS), jnp.asarray(ONE_HOT)
    mixed = mix(images, labels, jax.random.key(0), config)
    assert mixed[0] is images
    assert mixed[1] is labels
    assert not config.enabled


def test_soft_labels_and_types_are_kept():
    soft = RNG.dirichlet(np.ones(CLASSES), B).astype(np.float32)
    images = jnp.asarray(NUMBERS, jnp.bfloat16)
    mixed, labels = mix(images, jnp.asarray(soft), jax.random.key(3), MixingConfig(0.8, 1.0))
    assert mixed.dtype == jnp.bfloat16
    assert labels.dtype == jnp.float32
    np.testing.assert_allclose(labels.sum(-1), 1, atol=1e-5)


def test_a_sharded_batch_mixes_alike_and_moves_one_example_a_device():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    images = RNG.normal(size=(32, H, W, 3)).astype(np.float32)
    labels = np.eye(32, dtype=np.float32)
    config = MixingConfig(0.8, 1.0)
    key = jax.random.key(int(RNG.integers(1 << 30)))
    expected = mix(jnp.asarray(images), jnp.asarray(labels), key, config)
    rows = NamedSharding(mesh, PartitionSpec("data"))
    put = [jax.device_put(x, rows) for x in (images, labels)]
    run = jax.jit(lambda *batch: mix(*batch, config), out_shardings=(rows, rows))
    for ours, theirs in zip(run(*put, key), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    text = run.lower(*put, key).compile().as_text()
    assert "collective-permute" in text
    assert "all-gather" not in text
    assert f"f32[1,{H},{W},3]" in text  # what one device hands to the next


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mixup_alpha", -0.1),
        ("cutmix_alpha", float("nan")),
        ("probability", 1.1),
        ("switch_probability", -1.0),
    ],
)
def test_impossible_values_are_refused(field, value):
    with pytest.raises(UserError, match=rf"mixing\.{field}.*{value}"):
        MixingConfig(**{field: value})
