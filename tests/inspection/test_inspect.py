# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""`vit-jax inspect`: every family gets the figures it has, from the numbers the functions give."""

import json
import pathlib
import shutil
import types

import jax
import numpy as np
import pytest
from PIL import Image

from vit_jax import cli, config
from vit_jax.data import ops as ops_lib
from vit_jax.data.tensorflow import import_tensorflow
from vit_jax.inspection import attention, figures, geometry, look, receptive, windows
from vit_jax.models import init_variables
from vit_jax.training import trained
from vit_jax.weights import conversion

OPS = "decode|resize(16)|normalise(half)"
TINY = {"patch_size": 4, "width": 8, "depth": 2}
MODELS = {
    "vit": (
        "vit_tiny_patch16_224",
        TINY | {"num_heads": 2, "mlp_dim": 8},
        {"attention", "rollout", "distance", "positions", "filters", "features", "receptive"},
    ),
    "swin": (
        "swin_tiny_patch4_window7_224",
        {"patch_size": 2, "width": 8, "depths": (2, 1), "num_heads": (1, 2), "window_size": 3},
        {"attention", "distance", "filters", "bias", "features", "receptive"},
    ),
    "mixer": (
        "mixer_s16_224",
        TINY | {"token_mlp_dim": 6, "channel_mlp_dim": 8},
        {"filters", "mixing", "features", "receptive"},
    ),
    "resnet": (
        "resnet18",
        {"depths": (1, 1), "width": 8, "root": "3x3"},
        {"filters", "features", "receptive"},
    ),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A checkpoint of each family with random parameters, and three pictures."""
    folder = tmp_path_factory.mktemp("inside")
    ops = ops_lib.parse(OPS)
    for family, (name, fields, _) in MODELS.items():
        chosen = config.default_config()
        chosen.model.name, chosen.model.overrides = name, fields
        chosen.data.eval_ops = OPS
        model = trained.build_model(chosen, 2, ops)
        shapes = jax.eval_shape(
            lambda model=model: init_variables(model, jax.random.key(0), (16, 16, 3))
        )
        draw = np.random.default_rng(1)
        params, state = jax.tree.map(
            lambda s, draw=draw: draw.normal(size=s.shape).astype(np.float32), shapes
        )
        trained.save(
            folder / family, params=params, config=chosen, class_names=("a", "b"), ops=ops,
            model_state=jax.tree.map(np.abs, state),
        )  # fmt: skip
    (folder / "pictures").mkdir()
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 256, (20, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / f"{i}.png")
    return folder


def inspect(place, family, *words):
    target = place / f"inside_{family}"
    status = cli.main(["inspect", str(place / family), *words, f"--to={target}"])
    numbers = dict(np.load(target / "numbers.npz")) if target.exists() else {}
    return status, target, numbers


@pytest.mark.parametrize("family", MODELS)
def test_a_family_gets_the_figures_it_has(family, place, capsys):
    status, target, numbers = inspect(place, family, str(place / "pictures"), "--json")
    told = json.loads(capsys.readouterr().out)
    expected = MODELS[family][2]
    assert status == 0
    assert {row["figure"] for row in told["figures"]} == expected
    assert told["left_out"].keys() == {
        "attention", "rollout", "distance", "positions", "filters", "bias", "mixing", "features",
        "receptive",
    } - expected  # fmt: skip
    assert all(reason for reason in told["left_out"].values())
    for row in told["figures"]:
        with Image.open(row["file"].split(" and ")[0]) as picture:
            assert min(picture.size) > 50
    assert {path.stem.split("_")[0] for path in target.glob("*.png")} == expected
    assert {name.split("/")[0] for name in numbers} == expected | {"pictures"}
    assert all(np.isfinite(v).all() for n, v in numbers.items() if n != "pictures")


def test_the_numbers_of_a_vit_are_those_of_the_functions(place):
    words = [str(place / "pictures"), "--figures=attention,rollout,distance", "--layers=1"]
    _, _, numbers = inspect(place, "vit", *words)
    inside, run = _look(place, "vit")
    block = geometry.blocks(run.model.spec)[1]
    assert [n for n in numbers if n.startswith("attention/")] == ["attention/block_01"]
    rows = attention.over_picture(inside.maps["block_01"][:, :, 0], block)
    np.testing.assert_allclose(numbers["attention/block_01"], rows, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(numbers["rollout/last"], rows.mean(1), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(
        numbers["rollout/rollout"],
        attention.rollout_of_answer(run.model.spec, inside.maps, block),
        rtol=1e-4,
        atol=1e-7,
    )
    for name in ("block_00", "block_01"):
        expected = attention.mean_distance(inside.maps[name], block)
        np.testing.assert_allclose(numbers[f"distance/{name}"], expected, rtol=1e-4)


def test_a_query_of_ones_own_choice(place):
    """--at names a pixel: in a ViT a patch instead of the class token, in a Swin its place."""
    words = [str(place / "pictures"), "--figures=attention", "--at=9,15"]
    for family, pixels in (("vit", 4), ("swin", 2)):
        _, _, numbers = inspect(place, family, *words)
        inside, run = _look(place, family)
        block = geometry.blocks(run.model.spec)[1]
        row, column = 9 // pixels, 15 // pixels
        if family == "vit":
            token = 1 + 4 * row + column
            expected = attention.over_picture(inside.maps["block_01"][:, :, token], block)
        else:
            expected = windows.on_image(inside.maps["block_01"], block, (row, column))
        np.testing.assert_allclose(numbers["attention/block_01"], expected, rtol=1e-4, atol=1e-6)


def _look(place, family):
    """Returns what a checkpoint shows of the pictures, all at once, by the functions."""
    run = trained.load(place / family)
    tf = import_tensorflow()
    files = [path.read_bytes() for path in sorted((place / "pictures").iterdir())]
    images = np.stack([run.ops.host({"image": tf.constant(f)})["image"].numpy() for f in files])
    return look.collect(run.model, run.params, run.ops.device(images), run.model_state), run


def test_without_pictures_what_needs_none_is_drawn(place, capsys):
    status, _, numbers = inspect(place, "mixer", "--figures=mixing,features")
    out = capsys.readouterr().out
    assert status == 0
    assert "left out: features: no pictures were given" in out
    assert {name.split("/")[0] for name in numbers} == {"mixing", "pictures"}


def test_a_receptive_field_is_that_of_the_pixel_asked_for(place):
    """Off the middle; rows are not columns. Each batch of inputs has its own signs."""
    _, _, numbers = inspect(place, "resnet", "--figures=receptive", "--at=3,12")
    run = trained.load(place / "resnet")
    noise = np.random.default_rng(0).normal(size=(16, 16, 16, 3)).astype(np.float32)
    variables = {"params": run.params, **run.model_state}
    at = 3.5 / 16, 12.5 / 16
    batches = [
        receptive.of_model(run.model, variables, batch, at, seed=seed)
        for seed, batch in enumerate(np.split(noise, 2))
    ]
    for name in ("stem", "block_01"):
        mean = np.mean([batch[name] for batch in batches], axis=0)
        np.testing.assert_allclose(numbers[f"receptive/{name}"], mean, rtol=1e-4, atol=1e-9)
    row, column = np.unravel_index(numbers["receptive/stem"].argmax(), (16, 16))
    assert abs(row - 3) <= 2
    assert abs(column - 12) <= 2


def test_a_reach_stands_at_the_depth_of_its_block(place, monkeypatch):
    """Of two blocks the first is half of the way, whether or not the second is drawn."""
    drawn, reaches = [], figures.drawing.reaches
    monkeypatch.setattr(
        figures.drawing, "reaches", lambda far: (drawn.append(far), reaches(far))[1]
    )
    for layers, depths in (("0", [0, 0.5]), ("1", [0, 1]), ("0,1", [0, 0.5, 1])):
        inspect(place, "vit", "--figures=receptive", f"--layers={layers}")
        assert list(drawn.pop()[""]) == depths


def test_tokens_beyond_the_picture_are_cut_off():
    """Four tokens of 64 pixels on 100, drawn at twice the size: the second begins at 128 of 200."""
    block = geometry.Block("block_00", (2, 2), 64, heads=1)
    looked = types.SimpleNamespace(blocks=(block,), size=(100, 100))
    picture = np.zeros((200, 200, 3), np.uint8)
    laid = figures._laid(looked, np.array([[0, 1], [2, 3]]), "block_00", picture)
    expected = np.zeros((200, 200), int)
    expected[128:] += 2
    expected[:, 128:] += 1
    np.testing.assert_array_equal(laid, expected)
    tile = np.ones((5, 5, 3))
    assert figures._laid(looked, tile, "stem", picture) is tile, "no token's"


def test_an_earlier_call_leaves_nothing_behind(place, tmp_path):
    """Of the same figures; others, and files of the user's own, stay."""
    options = ["--figures=attention", f"--to={tmp_path}"]
    (tmp_path / "attention.txt").write_text("mine")
    (tmp_path / "distance.png").write_text("mine")
    assert cli.main(["inspect", str(place / "vit"), str(place / "pictures"), *options]) == 0
    assert len(list(tmp_path.glob("attention_*.png"))) == 3
    one = str(place / "pictures" / "1.png")
    assert cli.main(["inspect", str(place / "vit"), one, *options]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        "attention_1_1.png", "numbers.npz", "attention.txt", "distance.png",
    }  # fmt: skip


@pytest.mark.parametrize(
    "name", ["cost_$5_$6.png", b"a\xffb.png".decode("utf-8", "surrogateescape")]
)
def test_any_name_of_a_file_will_do(place, tmp_path, name, capsys):
    shutil.copy(place / "pictures" / "0.png", tmp_path / name)
    figures = "--figures=attention,rollout,features"
    target = tmp_path / "inside"
    command = ["inspect", str(place / "vit"), str(tmp_path / name), figures, f"--to={target}"]
    assert cli.main(command) == 0
    assert len(list(target.glob("*.png"))) == 3
    assert "attention_1_" in capsys.readouterr().out


def test_the_background_may_be_left_out(place):
    words = [str(place / "pictures"), "--figures=features"]
    for black, flags in ((False, ()), (True, ("--foreground",))):
        _, _, numbers = inspect(place, "mixer", *words, *flags)
        dark = ~numbers["features/block_00"].any(axis=-1)
        assert dark.any() == black
        assert not dark.all()


def test_models_are_compared(place, capsys):
    words = ["--figures=receptive", f"--compare={place / 'resnet'}"]
    _, target, numbers = inspect(place, "mixer", *words)
    assert {"receptive/mixer/stem", "receptive/resnet/block_01"} <= numbers.keys()
    assert (target / "receptive_reach.png").exists()


def test_weights_of_others_are_looked_into(place, tmp_path):
    """The same model as a file of timm's: the same numbers."""
    run = trained.load(place / "vit")
    file = tmp_path / "vit.safetensors"
    conversion.save_weights(run.params, run.model, file)
    figures = ["--figures=positions,filters", f"--to={tmp_path / 'out'}"]
    fields = [f"--model.{field}={value}" for field, value in MODELS["vit"][1].items()]
    words = ["--model=vit_tiny_patch16_224", "--image-size=16", *fields, *figures]
    assert cli.main(["inspect", str(file), *words]) == 0
    theirs = np.load(tmp_path / "out" / "numbers.npz")
    _, _, ours = inspect(place, "vit", figures[0])
    assert theirs.keys() == ours.keys()
    for name in ours:
        np.testing.assert_array_equal(theirs[name], ours[name])


def test_what_cannot_be_read_is_named(place, capsys):
    bad = place / "bad.png"
    bad.write_bytes(b"no picture")
    picture = str(place / "pictures" / "0.png")
    status, _, numbers = inspect(place, "vit", str(bad), picture, "--figures=distance")
    assert status == 1
    assert numbers["pictures"].tolist() == [picture]
    assert "bad.png: not an image" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--figures=atention"], "unknown figure 'atention'; did you mean 'attention'?"),
        (["--layers=0,7"], "--layers: no layer 7; the model has 0 to 1"),
        (["--layers=1-0"], "runs backwards; write 0-1"),
        (["--layers=a"], "'a' is no layer"),
        (["--at=3,16"], "--at: column 16 is outside of 16 pixels"),
        (["--at=3"], "--at='3' is no pixel; write Y,X"),
        (["--model=ViT-B/16"], "--model: a checkpoint of ours is looked into as it is"),
        (["--figures=bias", "--compare=x"], "--compare is for the figure receptive"),
        (["--figures=receptive", "--compare=x", "--layers=1"], "leave out --layers"),
        (["--figures=bias", "--foreground"], "--foreground is for the figure features"),
        (["--figures=filters", "--at=1,1"], "--at is for the figure attention or receptive"),
        (["--figures=bias,mixing"], "nothing to draw: bias: no relative position bias"),
        (["--figures=distance"], "nothing to draw: distance: no pictures were given"),
    ],
)
def test_mistakes_die_in_a_line(words, complaint, place, tmp_path, capsys):
    command = ["inspect", str(place / "vit"), *words, f"--to={tmp_path / 'none'}"]
    assert cli.main(command) == 2
    assert complaint in capsys.readouterr().err
    assert not pathlib.Path(tmp_path / "none").exists()


def test_a_folder_that_is_a_file_is_refused(place, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    command = ["inspect", str(place / "mixer"), "--figures=filters", f"--to={tmp_path / 'file'}"]
    assert cli.main(command) == 2
    assert "cannot be made: File exists" in capsys.readouterr().err


def test_weights_of_others_need_a_name(place, tmp_path, capsys):
    file = tmp_path / "some.npz"
    np.savez(file, a=np.zeros(2))
    assert cli.main(["inspect", str(file), f"--to={tmp_path / 'none'}"]) == 2
    assert "--model is missing" in capsys.readouterr().err


def test_models_of_several_sizes_are_not_compared(place, capsys, tmp_path):
    chosen = config.default_config()
    chosen.model.name = "vit_tiny_patch16_224"
    chosen.model.overrides = MODELS["vit"][1]
    chosen.data.eval_ops = "decode|resize(8)|normalise(half)"
    ops = ops_lib.parse(chosen.data.eval_ops)
    model = trained.build_model(chosen, 2, ops)
    shapes = jax.eval_shape(lambda: init_variables(model, jax.random.key(0), (8, 8, 3))[0])
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    trained.save(tmp_path / "small", params=params, config=chosen, class_names=("a", "b"), ops=ops)
    status, _, _ = inspect(place, "vit", "--figures=receptive", f"--compare={tmp_path / 'small'}")
    assert status == 2
    assert "compare models of one size" in capsys.readouterr().err
