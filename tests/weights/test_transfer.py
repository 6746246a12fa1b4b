# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Parameters move from model to model whole, or not at all; only the head may stay behind."""

import jax
import numpy as np
import pytest

from vit_jax import create_model
from vit_jax.errors import UserError
from vit_jax.layers.stack import stack_layers
from vit_jax.weights.transfer import transfer

SMALL = {"image_size": 16, "patch_size": 8, "width": 12, "depth": 2, "num_heads": 2, "mlp_dim": 16}


def params(seed, num_classes, **overrides):
    model = create_model("vit_tiny_patch16_224", num_classes, **(SMALL | overrides))
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), np.zeros((1, 16, 16, 3))))
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda s: rng.normal(size=s.shape).astype("f4"), shapes["params"])


def test_everything_but_a_head_of_another_size_is_taken_over():
    trained, fresh = params(0, num_classes=5), params(1, num_classes=3)
    merged, report = transfer(trained, fresh)
    jax.tree.map(np.testing.assert_array_equal, merged["head"], fresh["head"])
    for name in set(merged) - {"head"}:
        jax.tree.map(np.testing.assert_array_equal, merged[name], trained[name])
    assert set(report.initialised) == set(report.ignored) == {"head/kernel", "head/bias"}


def test_a_head_of_the_same_size_is_taken_over():
    trained = params(0, num_classes=3)
    merged, report = transfer(trained, params(1, num_classes=3))
    jax.tree.map(np.testing.assert_array_equal, merged, trained)
    assert not report.initialised
    assert not report.ignored


def test_scanned_and_unrolled_models_exchange_parameters():
    trained = params(0, num_classes=3)
    scanned, _ = transfer(trained, params(1, num_classes=3, scan=True))
    jax.tree.map(np.testing.assert_array_equal, scanned, stack_layers(trained))
    unrolled, _ = transfer(scanned, params(2, num_classes=3))
    jax.tree.map(np.testing.assert_array_equal, unrolled, trained)


def test_what_does_not_fit_is_listed_in_one_line():
    with pytest.raises(UserError, match=r"pos_embed is \[17, 12\] here and \[5, 12\] there") as e:
        transfer(params(0, 3), params(1, 3, patch_size=4))
    assert "\n" not in str(e.value)
    with pytest.raises(UserError, match=r"block_02/.* absent"):
        transfer(params(0, 3), params(1, 3, depth=3))
    with pytest.raises(UserError, match=r"block_01/.* has no place here"):
        transfer(params(0, 3), params(1, 3, depth=1))
