# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""`vit-jax convert`, as a user types it: in, out, from one to another, and refused."""

import json
import pathlib
import sys

import jax
import numpy as np
import pytest
from converted_models import like, random_params, small

from vit_jax import load_weights, save_weights
from vit_jax.cli import main
from vit_jax.data import ops as ops_lib
from vit_jax.training import trained
from vit_jax.weights import files

NAME = "vit_tiny_patch16_224"
FIELDS = {"width": 24, "num_heads": 2, "mlp_dim": 32, "depth": 2}
SMALL = [f"--model.{name}={value}" for name, value in FIELDS.items()]
PICTURE = pathlib.Path(__file__).parents[2] / "docs" / "digits" / "3.png"


@pytest.fixture
def model():
    return small(NAME, image_size=32)


@pytest.fixture
def params(model):
    return random_params(model)


@pytest.fixture
def source(model, params, tmp_path):
    """A file of timm's, among nothing else."""
    save_weights(params, model, tmp_path / "timm.safetensors")
    return tmp_path / "timm.safetensors"


def convert(*arguments):
    return main(["convert", *map(str, arguments)])


def bring_in(source, target, *more):
    return convert(source, f"--model={NAME}", "--image-size=32", *SMALL, f"--to={target}", *more)


def same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_a_file_becomes_a_checkpoint_that_predicts(source, params, tmp_path, capsys):
    (tmp_path / "names.txt").write_text("ant\nbee\n\ncat\ndog\neel\n")
    assert bring_in(source, tmp_path / "run", f"--classes={tmp_path / 'names.txt'}") == 0
    assert "timm layout; 32 arrays loaded" in capsys.readouterr().out
    run = trained.load(tmp_path / "run")
    same(run.params, params)
    assert run.class_names == ("ant", "bee", "cat", "dog", "eel")
    assert main(["predict", f"--checkpoint={tmp_path / 'run'}", "--top=1", str(PICTURE)]) == 0
    assert any(name in capsys.readouterr().out for name in run.class_names)


def test_images_are_treated_as_the_models_makers_evaluate_it(source, tmp_path):
    """timm: the shorter side to floor(32 / 0.9) by bicubic, then the middle 32 x 32."""
    bring_in(source, tmp_path / "run")
    ops = trained.load(tmp_path / "run").ops
    steps = ["decode", "resize_small(35, method=bicubic)", "central_crop(32)", "normalise(half)"]
    assert ops == ops_lib.parse(steps)


def test_a_checkpoint_goes_to_every_project_and_comes_back(source, model, params, tmp_path):
    bring_in(source, tmp_path / "run")
    targets = {"a.safetensors": "", "b.safetensors": "official", "c.npz": "", "d.npz": "big_vision"}
    targets["e"] = "transformers"
    for file, layout in targets.items():
        options = [f"--layout={layout}"] if layout else []
        assert convert(tmp_path / "run", f"--to={tmp_path / file}", *options) == 0
        same(load_weights(tmp_path / file, model, say=str), params)
    config = json.loads((tmp_path / "e" / "config.json").read_text())
    assert config["id2label"] == {str(i): str(i) for i in range(5)}


def test_one_project_to_another_and_its_class_names_along(model, params, tmp_path):
    save_weights(params, model, tmp_path / "theirs", class_names=list("vwxyz"))
    assert bring_in(tmp_path / "theirs", tmp_path / "run") == 0
    assert trained.load(tmp_path / "run").class_names == tuple("vwxyz")
    assert bring_in(tmp_path / "theirs", tmp_path / "x.npz") == 0
    same(load_weights(tmp_path / "x.npz", model, layout="vision_transformer", say=str), params)


def test_another_size_and_other_classes(source, tmp_path, capsys):
    more = ["--num-classes=3", "--image-size=32x64"]
    assert bring_in(source, tmp_path / "run", *more) == 0
    said = capsys.readouterr().out
    assert "resized: pos_embed (2x2 to 2x4 patches)" in said
    assert "initialised: head/bias, head/kernel" in said
    run = trained.load(tmp_path / "run")
    assert run.model.spec.num_classes == 3
    assert run.ops.image_size == (32, 64)
    assert run.class_names == ("0", "1", "2")


def test_a_model_without_a_head(source, tmp_path, capsys):
    assert bring_in(source, tmp_path / "run", "--num-classes=0") == 0
    assert "ignored: head/bias, head/kernel" in capsys.readouterr().out
    assert "head" not in trained.load(tmp_path / "run").params


def test_patterns_allow_what_is_refused(model, params, tmp_path, capsys):
    tensors = {"norm.weight": np.ones(24, np.float32), "extra": np.zeros(2, np.float32)}
    save_weights(params, model, tmp_path / "x.safetensors")
    whole = files.read(tmp_path / "x.safetensors")
    del whole["norm.bias"]
    files.write(whole | tensors, tmp_path / "y.safetensors")
    assert bring_in(tmp_path / "y.safetensors", tmp_path / "run") == 2
    assert "missing norm.bias [24]; unused extra [2]" in capsys.readouterr().err
    more = ["--initialise=norm/bias", "--ignore=ext.*"]
    assert bring_in(tmp_path / "y.safetensors", tmp_path / "run", *more) == 0
    assert "initialised: norm/bias; ignored: extra" in capsys.readouterr().out


def test_the_fields_of_a_model_are_kept(source, model, params, tmp_path):
    more = ["--model.activation=gelu_tanh", "--model.scan=True", "--model.dtype=bfloat16"]
    assert bring_in(source, tmp_path / "run", *more) == 0
    run = trained.load(tmp_path / "run")
    fields = {"activation": "gelu_tanh", "scan": True, "dtype": "bfloat16"}
    expected = like(model, stem_width=run.model.spec.stem_width, **fields)
    assert run.model.spec == expected.spec


REFUSALS = {
    "no model": (["--to={new}"], "--model is missing"),
    "unknown model": (["--model=vit_tiny_patch16_225", "--to={new}"], "did you mean"),
    "taken folder": ([f"--model={NAME}", "--to={taken}"], "exists already"),
    "taken file": ([f"--model={NAME}", "--to={source}"], "exists already"),
    "torch file": ([f"--model={NAME}", "--to={new}.pth"], "files of torch are not written"),
    "layout of a folder": ([f"--model={NAME}", "--to={new}", "--layout=timm"], "does not go into"),
    "layout of an .npz": ([f"--model={NAME}", "--to={new}.npz", "--layout=timm"], "does not go"),
    "unknown layout": ([f"--model={NAME}", "--to={new}", "--from=tim"], "did you mean 'timm'"),
    "layout of others": (["--model=Swin-T", "--to={new}", "--from=big_vision"], "has no layout"),
    "unknown field": ([f"--model={NAME}", "--to={new}", "--model.widht=3"], "did you mean 'width'"),
    "no value": ([f"--model={NAME}", "--to={new}", "--model.width"], "write --model.width=VALUE"),
    "size": ([f"--model={NAME}", "--to={new}", "--image-size=big"], "write 384 or 384x256"),
    "other family": (["--model=Swin-T", "--to={new}"], "no layout known for this Swin"),
    "other sizes": ([f"--model={NAME}", "--to={new}"], "the weights do not fit the model"),
    "class names": (
        [f"--model={NAME}", *SMALL, "--image-size=32", "--to={new}", "--classes=imagenet"],
        "names 1000 classes, the head has 5",
    ),
    "no class file": (
        [f"--model={NAME}", *SMALL, "--image-size=32", "--to={new}", "--classes=/none"],
        "--classes=/none cannot be read",
    ),
    "pattern": (
        [f"--model={NAME}", *SMALL, "--image-size=32", "--to={new}", "--ignore=x.*"],
        "matches no tensor",
    ),
    "check of another size": (
        [f"--model={NAME}", *SMALL, "--image-size=64", "--to={new}", "--check"],
        "--check compares what SOURCE is",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refused_in_one_line_before_anything_is_written(source, tmp_path, capsys, case):
    arguments, message = REFUSALS[case]
    (tmp_path / "taken").mkdir()
    before = sorted(tmp_path.rglob("*"))
    paths = {"new": tmp_path / "new", "taken": tmp_path / "taken", "source": source}
    assert convert(source, *(argument.format(**paths) for argument in arguments)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_checkpoint_is_written_as_it_is(source, tmp_path, capsys):
    bring_in(source, tmp_path / "run")
    for arguments, message in (
        (["--to={new}"], "a checkpoint of ours already"),
        (["--to={new}.npz", "--image-size=64"], "--image-size: a checkpoint of ours is written"),
        (["--to={new}.npz", f"--model={NAME}"], "--model: a checkpoint of ours is written as it"),
        (["--to={new}.npz", "--num-classes=0"], "--num-classes: a checkpoint of ours"),
    ):
        paths = [argument.format(new=tmp_path / "new") for argument in arguments]
        assert convert(tmp_path / "run", *paths) == 2
        assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("new*"))


def test_the_check_asks_for_torch_before_it_writes(source, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert bring_in(source, tmp_path / "run", "--check") == 2
    assert "pip install 'vit-jax[torch]'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_check_prints_the_difference(source, tmp_path, capsys):
    pytest.importorskip("torch")
    assert bring_in(source, tmp_path / "run", "--check") == 0
    assert printed_difference(capsys) < 1e-5
    assert convert(tmp_path / "run", f"--to={tmp_path / 'x.npz'}", "--check") == 0
    assert printed_difference(capsys) < 1e-5
    assert bring_in(source, tmp_path / "tanh", "--model.qk_norm=False", "--check") == 0
    assert printed_difference(capsys) < 1e-5


def printed_difference(capsys):
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("logits"))
    return float(line.split(": ")[1].split()[0])
