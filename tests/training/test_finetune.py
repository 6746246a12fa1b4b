# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The recipe for one's own pictures: what each method sets, and runs on folders as they come."""

import pathlib

import bad_pictures
import pytest
import tiny_runs as runs
from flax.traverse_util import flatten_dict

from vit_jax import config as config_lib
from vit_jax.errors import UserError
from vit_jax.evaluation.prediction import Predictor
from vit_jax.training import checkpoint, loop, trained

RECIPE = str(pathlib.Path(__file__).parents[2] / "configs" / "finetune.py")
METHODS = ("full", "adamw", "head_first", "linear", "lora")


def recipe(*overrides, **arguments):
    """Returns the validated recipe with some arguments and overrides of the command line."""
    text = ",".join(f"{name}={value}" for name, value in arguments.items())
    config = config_lib.load(f"{RECIPE}:{text}", [f"--config.{o}" for o in overrides])
    config_lib.validate(config)
    return config


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """The workdir of a model of ten digits, two steps old; its images are grey, 8 x 8."""
    folder = tmp_path_factory.mktemp("pretrained") / "run"
    steps = {"train__duration": "2 steps", "schedule__warmup": "1 steps"}
    every = {"evaluation__every": "", "checkpoint__every": ""}
    config = runs.tiny_config(**steps, **every, data__test_split="", data__validation_split="")
    loop.train(config, folder)
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder with odd and broken pictures; one of the broken may be forgiven."""
    names = (*bad_pictures.ODD, "truncated.jpg", *bad_pictures.NOT_PICTURES)
    return bad_pictures.fill(tmp_path_factory.mktemp("folder") / "my pictures", names)


def short(method, pretrained, pictures, *overrides):
    return recipe(
        "log.tensorboard=false", "data.threads=2", *overrides,
        init=pretrained, data=f"folder:{pictures}", method=method, batch=16, epochs=2, rank=2,
    )  # fmt: skip


def test_from_a_folder_to_commands(pretrained, pictures, tmp_path, monkeypatch, caplog):
    """Head first, then all: what is printed, drawn, kept, and what moved when."""
    printed = []
    monkeypatch.setattr(loop.Progress, "say", lambda self, text: printed.append(text))
    config = short("head_first", pretrained, pictures, "optimiser.freeze_for=1 epochs")
    folder = tmp_path / "my run"
    results = loop.train(config, folder)
    told = "\n".join(printed)
    lines = [line.split() for line in told.splitlines()]
    assert ["蓝", "13", "4", "3"] in lines
    assert "left out where train lies: 1 hidden, 1 of the kind .tif, 1 of the kind .txt" in told
    if "truncated.jpg" in caplog.text:
        assert "unreadable images were" in told
    for name in ("samples", "curves", "predictions", "confusion"):
        assert (folder / f"{name}.png").stat().st_size > 5_000
    assert f"vit-jax evaluate '--workdir={folder}' --split=test" in told
    assert results["test"]["examples"] > 0
    assert Predictor(folder).class_names == ("grün", "red ones", "蓝")


def test_the_body_waits_for_the_head(pretrained, pictures, tmp_path):
    """Steps 1 to 4 train the head alone, then all; a resumed run takes the same steps."""
    config = short(
        "head_first", pretrained, pictures,
        "optimiser.freeze_for=4 steps", "train.duration=6 steps", "checkpoint.every=2 steps",
        "checkpoint.keep_last=9", "log.pictures=false",
    )  # fmt: skip
    loop.train(config, tmp_path / "run")
    start = flatten_dict(trained.load(pretrained).params, sep="/")
    for step, body_moved in ((2, False), (4, False), (6, True)):
        path = tmp_path / "run" / checkpoint.FOLDER / f"{step:08d}"
        now = flatten_dict(checkpoint.load(path).params, sep="/")
        body = [name for name in now if not name.startswith("head/")]
        moved = {name: (now[name] != start[name]).any() for name in body}
        assert all(moved.values()) if body_moved else not any(moved.values()), step
    cut = runs.copy_until(tmp_path / "run", tmp_path / "cut", 2)
    loop.train(config, cut)
    runs.assert_same_bits(tmp_path / "run", cut)


def test_adapters_start_from_others_weights(pretrained, pictures, tmp_path):
    config = short("lora", pretrained, pictures, "train.duration=3 steps", "log.pictures=false")
    loop.train(config, tmp_path / "run")
    start = flatten_dict(trained.load(pretrained).params, sep="/")
    run = trained.load(tmp_path / "run")
    for name, value in flatten_dict(run.params, sep="/").items():
        changed = not name.startswith("head/") and (value != start[name]).any()
        assert changed == ("/attn/" in name and name.endswith("/kernel")), name


def test_too_many_broken_pictures_are_one_line(pretrained, tmp_path):
    folder = bad_pictures.fill(tmp_path / "set", bad_pictures.BROKEN, each=10)
    config = short("full", pretrained, folder, "log.pictures=false", "data.train_split=train+test")
    with pytest.raises(
        UserError, match=r"of \d+ images cannot be read.*: mend or remove them"
    ) as e:
        loop.train(config, tmp_path / "run")
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_valid_on_every_family(method):
    for model in ("ViT-B/16", "swin_tiny_patch4_window7_224", "mixer_b16_224"):
        config = recipe(model=model, method=method, size=224, erase=0.5, ema=0.99)
        assert "random_erasing(0.5)" in config.data.train_ops
        assert (config.train.ema_decay, config.evaluation.use_ema) == (0.99, True)
        assert config.checkpoint.keep_best == 1


def test_what_the_papers_say():
    full, adamw = recipe(model="ViT-B/16"), recipe(model="ViT-B/16", method="adamw", batch=512)
    assert (full.optimiser.name, full.optimiser.learning_rate) == ("sgd", 0.03)
    assert (full.optimiser.weight_decay, full.optimiser.clip_norm) == (0, 1)
    assert (adamw.optimiser.learning_rate, adamw.optimiser.layer_decay) == (2e-3, 0.75)
    linear = recipe(model="ViT-B/16", method="linear", batch=1024)
    assert linear.optimiser.learning_rate == pytest.approx(0.4)
    assert linear.optimiser.freeze
    assert not linear.optimiser.freeze_for


def test_preprocessing_is_what_the_model_is_used_to(pretrained):
    vit = recipe(model="ViT-B/16", size=384)
    assert vit.data.eval_ops.startswith(
        "decode(channels=3, recover=False)|resize_small(426, method="
    )
    assert "central_crop(384)|normalise(half" in vit.data.eval_ops
    swin = recipe(model="swin_tiny_patch4_window7_224", init="weights.safetensors")
    assert "normalise(imagenet" in swin.data.eval_ops
    assert swin.model.init_from == "weights.safetensors"
    step = next((pretrained / checkpoint.FOLDER).iterdir())
    for init in (pretrained, pretrained / checkpoint.FOLDER, step):
        own = recipe(init=init)
        assert own.data.eval_ops == trained.load(pretrained).ops.spec
        assert own.model.overrides.width == 32
        assert own.model.init_from == str(init)
    larger = recipe(init=pretrained, size=16)
    assert "resize(16, method=bilinear" in larger.data.eval_ops
    assert "inception_crop((16, 16))" in larger.data.train_ops


def test_a_step_alone_knows_its_model(pretrained, tmp_path):
    step = next((pretrained / checkpoint.FOLDER).iterdir())
    alone = tmp_path / step.name
    alone.symlink_to(step)
    assert recipe(init=alone).model.overrides.width == 32


@pytest.mark.parametrize(
    ("folders", "parts"),
    [
        ((), ("train", "validation", "test")),
        (("train",), ("train[:90%]", "train[90%:]", "")),
        (("train", "val"), ("train", "validation", "")),
        (("train", "test"), ("train[:90%]", "train[90%:]", "test")),
        (("train", "valid", "test"), ("train", "validation", "test")),
    ],
)
def test_the_parts_that_a_folder_has(tmp_path, folders, parts):
    for name in folders or ("",):
        for label in ("cat", "dog"):
            (tmp_path / name / label).mkdir(parents=True)
    data = recipe(model="ViT-B/16", data=f"folder:{tmp_path}").data
    assert (data.train_split, data.validation_split, data.test_split) == parts


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "what to train is missing; write init=WORKDIR, or model=NAME"),
        ({"init": "nowhere"}, "init='nowhere' is no run of ours; name its model too, model=NAME"),
        ({"model": "ViT-B/17"}, "unknown model 'ViT-B/17'; did you mean 'ViT-B/16'"),
        ({"model": "ViT-B/16", "method": "head"}, "unknown method 'head'"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(UserError, match=message):
        recipe(**arguments)


def test_another_model_than_the_runs_is_refused(pretrained):
    with pytest.raises(UserError, match=r"is a vit_tiny_patch16_224; leave out model='ViT-B/16'"):
        recipe(init=pretrained, model="ViT-B/16")
    assert recipe(init=pretrained, model="vit_tiny_patch16_224").model.init_from == str(pretrained)
