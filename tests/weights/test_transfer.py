# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Parameters move from model to model whole, resized as timm does it, or not at all."""

import functools
import pathlib

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from transfer_cases import CASES, reference

from vit_jax import create_model
from vit_jax.errors import UserError
from vit_jax.layers.stack import stack_layers
from vit_jax.models import init_params
from vit_jax.weights import from_timm, resize
from vit_jax.weights.transfer import transfer

GOLDEN = pathlib.Path(__file__).parent / "golden"
TIMM = resize.Methods(bias="geometric")
FAMILIES = {
    "vit": (
        "vit_tiny_patch16_224",
        {"patch_size": 8, "width": 12, "depth": 2, "num_heads": 2, "mlp_dim": 16},
    ),
    "swin": (
        "swin_tiny_patch4_window7_224",
        {"patch_size": 2, "width": 8, "depths": (2, 2), "num_heads": (2, 4), "window_size": 3},
    ),
    "mixer": (
        "mixer_s16_224",
        {"patch_size": 8, "width": 12, "depth": 2, "token_mlp_dim": 6, "channel_mlp_dim": 10},
    ),
}


def model(family="vit", num_classes=3, **overrides):
    name, small = FAMILIES[family]
    return create_model(name, num_classes, **({"image_size": 16} | small | overrides))


def params(model, seed, channels=3):
    """Returns parameters of which every one is random."""
    shapes = jax.eval_shape(
        functools.partial(init_params, model, channels=channels), jax.random.key(0)
    )
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda s: rng.normal(size=s.shape).astype("f4"), shapes)


def move(before, after, channels=3, known=True, **options):
    """Returns the trained parameters, what becomes of them in another model, and the report."""
    trained = params(before, seed=0)
    options |= {"trained_spec": before.spec} if known else {}
    moved, report = transfer(trained, params(after, 1, channels), after.spec, **options)
    trained, moved = (flatten_dict(p, sep="/") for p in (trained, moved))
    return trained, moved, report


@pytest.mark.parametrize("family", FAMILIES)
def test_everything_but_a_head_of_another_size_is_taken_over(family):
    before, after = model(family, num_classes=5), model(family)
    trained, moved, report = move(before, after)
    fresh = flatten_dict(params(after, 1), sep="/")
    head = {"head/kernel", "head/bias"}
    assert set(report.initialised) == set(report.ignored) == head
    assert not report.resized
    assert set(report.loaded) == moved.keys() - head == trained.keys() - head
    for path, array in moved.items():
        expected = np.zeros_like(fresh[path]) if path in head else trained[path]
        np.testing.assert_array_equal(array, expected)


def test_a_new_head_has_the_initial_bias_and_no_opinion():
    before, after = model(), model(num_classes=5, head_bias=-3.0)
    moved, _ = transfer(params(before, 0), params(after, 1), after.spec)
    images = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype("f4")
    np.testing.assert_array_equal(after.apply({"params": moved}, images), np.full((2, 5), -3.0))


def test_shapes_will_do_for_what_is_filled():
    before, after = model(), model(num_classes=5, pre_logits=12)
    shapes = jax.eval_shape(lambda: init_params(after, jax.random.key(0)))
    moved, report = transfer(params(before, 0), shapes, after.spec)
    left = {p for p, leaf in flatten_dict(moved, sep="/").items() if not hasattr(leaf, "__array__")}
    assert left == {"pre_logits/kernel", "pre_logits/bias"} < set(report.initialised)


def test_a_head_of_the_same_size_is_taken_over():
    trained, moved, report = move(model(), model())
    assert moved.keys() == trained.keys() == set(report.loaded)
    for path, array in moved.items():
        np.testing.assert_array_equal(array, trained[path])
    assert not any((report.initialised, report.ignored, report.resized))


def test_a_headless_model_takes_and_gives_the_rest():
    _, _, report = move(model(), model(num_classes=0))
    assert set(report.ignored) == {"head/bias", "head/kernel"}
    assert not report.initialised
    _, _, report = move(model(num_classes=0), model())
    assert set(report.initialised) == {"head/bias", "head/kernel"}
    assert not report.ignored


@pytest.mark.parametrize("family", FAMILIES)
def test_scanned_and_unrolled_models_exchange_parameters(family):
    unrolled, scanned = model(family), model(family, scan=True)
    trained = params(unrolled, 0)
    stacked, _ = transfer(trained, params(scanned, 1), scanned.spec)
    jax.tree.map(np.testing.assert_array_equal, stacked, stack_layers(trained))
    back, _ = transfer(stacked, params(unrolled, 2), unrolled.spec)
    jax.tree.map(np.testing.assert_array_equal, back, trained)


# as timm


def error_to_timm(case, arrays, **options):
    """Returns the largest difference of the logits over the largest logit."""
    before, after = (
        create_model(case.name, 5, **case.both | sizes | options)
        for sizes in (case.before, case.after)
    )
    theirs = {k.removeprefix("param/"): a for k, a in arrays.items() if k.startswith("param/")}
    # The spec of the model is known, but timm guesses: so do we.
    moved, report = transfer(from_timm(theirs, before), params(after, 1), after.spec, methods=TIMM)
    assert report.resized
    assert not any((report.initialised, report.ignored))
    logits = jax.jit(after.apply)({"params": moved}, arrays["images"])
    return np.abs(logits - arrays["logits"]).max() / np.abs(arrays["logits"]).max()


@pytest.mark.parametrize("name", CASES)
def test_another_size_gives_the_stored_logits_of_timm(name):
    with np.load(GOLDEN / f"transfer_{name}.npz") as stored:
        arrays = dict(stored)
    assert error_to_timm(CASES[name], arrays) < 1e-4
    assert error_to_timm(CASES[name], arrays, scan=True) < 1e-4


@pytest.mark.parametrize("name", CASES)
def test_another_size_gives_the_logits_of_timm_for_fresh_weights(name):
    pytest.importorskip("torch")
    pytest.importorskip("timm")
    arrays = reference(CASES[name], seed=np.random.SeedSequence().entropy)
    assert error_to_timm(CASES[name], arrays) < 1e-4


# other sizes


def test_another_image_resizes_the_table_and_keeps_the_tokens_rows():
    trained, moved, report = move(
        model(image_size=(16, 24), num_registers=2), model(image_size=(40, 16), num_registers=2)
    )
    assert report.resized == {"pos_embed": "2x3 to 5x2 patches"}
    np.testing.assert_array_equal(moved["pos_embed"][:3], trained["pos_embed"][:3])
    expected = resize.position_table(trained["pos_embed"], (2, 3), (5, 2), prefix=3)
    np.testing.assert_array_equal(moved["pos_embed"], expected)
    assert "resized: pos_embed (2x3 to 5x2 patches)" in str(report)


def test_as_many_patches_in_another_grid_are_resized_too():
    trained, moved, report = move(model(image_size=(16, 32)), model(image_size=(32, 16)))
    assert report.resized == {"pos_embed": "2x4 to 4x2 patches"}
    assert moved["pos_embed"].shape == trained["pos_embed"].shape
    assert not np.allclose(moved["pos_embed"], trained["pos_embed"])


def test_a_grid_that_nobody_knows_is_guessed_only_where_it_is_a_square():
    wide, square, tall = (model(image_size=size) for size in ((24, 32), 16, (64, 16)))
    _, _, report = move(square, wide, known=False)
    assert report.resized == {"pos_embed": "2x2 to 3x4 patches"}
    with pytest.raises(UserError, match=r"its 12 rows are no square; say with grid=\(rows, col"):
        move(wide, square, known=False)
    _, _, report = move(wide, square, known=False, grid=(3, 4))
    assert report.resized == {"pos_embed": "3x4 to 2x2 patches"}
    with pytest.raises(UserError, match="13 rows is not one of 3x5 patches and 1 tokens"):
        move(wide, square, known=False, grid=(3, 5))
    _, _, report = move(wide, wide, known=False)  # as many, and no square: the same grid
    assert not report.resized
    with pytest.raises(UserError, match=r"16 rows may be 4x4 or 8x2; .* or grid=\(8, 2\)"):
        move(model(image_size=32), tall, known=False)
    assert not move(tall, tall, known=False, grid=(8, 2))[2].resized
    assert move(model(image_size=32), tall, known=False, grid=(4, 4))[2].resized
    with pytest.raises(UserError, match=r"grid=\(4,\) is no grid"):
        move(wide, square, known=False, grid=(4,))


def test_positions_go_with_their_tokens():
    """A class token left out takes its row along; a new token's row is zero."""
    before = model(num_registers=2)
    after = model(num_registers=2, pool="gap")
    with pytest.raises(UserError, match=r"model: cls_token \(has no place here\)\. Make"):
        move(before, after)
    trained, moved, report = move(before, after, ignore=["cls_token"])
    np.testing.assert_array_equal(moved["pos_embed"], trained["pos_embed"][1:])
    assert "cls_token" in report.ignored
    trained, moved, _ = move(after, before, initialise=["cls_token"])
    np.testing.assert_array_equal(moved["pos_embed"][1:], trained["pos_embed"])
    np.testing.assert_array_equal(moved["pos_embed"][0], 0)


def test_a_larger_patch_in_a_larger_image_is_resized_together():
    before, after = model(), model(image_size=36, patch_size=12)
    trained, moved, report = move(before, after)
    assert report.resized == {
        "patch_embed/kernel": "patch 8x8 to 12x12",
        "pos_embed": "2x2 to 3x3 patches",
    }
    expected = resize.patch_kernel(trained["patch_embed/kernel"], (12, 12))
    np.testing.assert_array_equal(moved["patch_embed/kernel"], expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_grey_image_gives_what_its_three_equal_channels_gave(family):
    before = after = model(family)
    trained = params(before, 0)
    moved, report = transfer(trained, params(after, 1, channels=1), after.spec)
    assert report.resized == {"patch_embed/kernel": "3 channels summed"}
    grey = np.random.default_rng(0).normal(size=(2, 16, 16, 1)).astype("f4")
    np.testing.assert_allclose(
        after.apply({"params": moved}, grey),
        before.apply({"params": trained}, np.repeat(grey, 3, axis=3)),
        rtol=1e-3,
        atol=1e-4,
    )


def test_other_channels_are_refused():
    with pytest.raises(UserError, match=r"patch_embed/kernel \(images of 3 channels .* of 4 here"):
        move(model(), model(), channels=4)


def test_windows_and_their_tables_are_resized_stage_by_stage():
    before = model("swin", image_size=16, window_size=3)  # maps of 8 and 4 patches
    after = model("swin", image_size=(40, 12), window_size=(5, 4))  # of 20 x 6 and 10 x 3
    trained, moved, report = move(before, after)
    assert set(report.resized.values()) == {"window 3x3 to 5x4", "window 3x3 to 5x3"}
    path = "stage_1/block_01/attn/relative_position_bias"
    expected = resize.relative_position_bias(trained[path], (3, 3), (5, 3))
    np.testing.assert_array_equal(moved[path], expected)
    assert "stage_0/block_{00,01}/attn/relative_position_bias (window 3x3 to 5x4)" in str(report)
    assert move(before, after, known=False)[2].resized == report.resized
    with pytest.raises(UserError, match="63 rows are no square"):
        move(after, before, known=False)
    back = move(after, before, known=False, grid=(5, 4), initialise=["stage_1/.*_bias"])[2]
    assert set(back.resized.values()) == {"window 5x4 to 3x3"}


def test_a_larger_image_in_the_same_windows_takes_everything_over():
    _, _, report = move(model("swin"), model("swin", image_size=32))
    assert not report.resized
    assert not report.initialised


def test_mixers_are_not_resized_and_the_reason_is_given():
    with pytest.raises(UserError, match="2x2 patches there, 4x4 here; a Mixer mixes patches"):
        move(model("mixer"), model("mixer", image_size=32))
    with pytest.raises(UserError, match="2x4 patches there, 4x2 here; a Mixer"):
        move(model("mixer", image_size=(16, 32)), model("mixer", image_size=(32, 16)))
    with pytest.raises(UserError, match="4 patches there, 4x4 here; a Mixer"):
        move(model("mixer"), model("mixer", image_size=32), known=False)


# the tail, what is asked for, what is refused


def test_a_layer_ahead_of_the_head_is_dropped_or_made_anew_and_the_head_with_it():
    plain, layered = model(), model(pre_logits=12)
    tail = {"pre_logits/kernel", "pre_logits/bias", "head/kernel", "head/bias"}
    _, _, report = move(layered, plain)
    assert set(report.ignored) == tail
    assert set(report.initialised) == {"head/kernel", "head/bias"}
    _, _, report = move(plain, layered)
    assert set(report.initialised) == tail
    assert not move(layered, layered)[2].initialised


def test_both_heads_of_a_distilled_model_are_made_anew():
    before, after = (model(distilled=True, num_classes=n) for n in (5, 3))
    _, _, report = move(before, after)
    heads = {"head/kernel", "head/bias", "head_dist/kernel", "head_dist/bias"}
    assert set(report.initialised) == set(report.ignored) == heads
    _, _, report = move(before, model(num_classes=5), ignore=["dist_token"])
    assert set(report.ignored) == {"dist_token", "head_dist/kernel", "head_dist/bias"}
    assert report.resized == {"pos_embed": "for other tokens"}


def test_patterns_allow_what_is_missing_and_left_over():
    before, after = model(qk_norm=True), model(layer_scale=0.1)
    with pytest.raises(UserError, match=r"block_\{00,01\}/ls1/gamma \(absent there\)"):
        move(before, after, ignore=[r".*_norm/scale", r".*_norm/bias"])
    with pytest.raises(UserError, match=r"block_\{00,01\}/attn/\w+/scale \(has no place here\)"):
        move(before, after, initialise=[r".*/gamma"])
    options = {"initialise": [r".*/gamma"], "ignore": [r"block_\d+/attn/\w+_norm/.*"]}
    _, moved, report = move(before, after, **options)
    assert {path.split("/")[-2] for path in report.initialised} == {"ls1", "ls2"}
    fresh = flatten_dict(params(after, 1), sep="/")
    for path in report.initialised:
        np.testing.assert_array_equal(moved[path], fresh[path])


def test_what_is_initialised_on_request_is_not_loaded():
    _, moved, report = move(model(), model(), initialise=["head/.*", "norm/scale"])
    fresh = flatten_dict(params(model(), 1), sep="/")
    np.testing.assert_array_equal(moved["norm/scale"], fresh["norm/scale"])
    np.testing.assert_array_equal(moved["head/kernel"], 0)
    assert set(report.initialised) == {"head/kernel", "head/bias", "norm/scale"}
    assert set(report.ignored) == set(report.initialised)


def test_a_pattern_that_initialises_nothing_is_refused():
    with pytest.raises(
        UserError, match=r"initialise: 'heads/.*' matches no parameter's whole path"
    ):
        move(model(), model(), initialise=["heads/.*"])


def test_what_does_not_fit_is_listed_whole_in_one_line():
    with pytest.raises(UserError) as error:
        move(model(depth=4), model(width=16))
    text = str(error.value)
    assert "\n" not in text
    for part in (
        "block_{02,03}/mlp/fc1/kernel (has no place here)",
        "block_{00,01}/mlp/fc1/kernel ([12, 16] there, [16, 16] here)",
        "pos_embed ([5, 12] there, [5, 16] here)",
        "patch_embed/kernel ([8, 8, 3, 12] there, [8, 8, 3, 16] here)",
    ):
        assert part in text
    with pytest.raises(UserError, match=r"block_\{02,03\}/mlp/fc1/kernel \(absent there\)"):
        move(model(), model(depth=4))


def test_another_family_is_refused_by_name():
    with pytest.raises(UserError, match="are a Swin's and the model is a ViT"):
        move(model("swin"), model())
