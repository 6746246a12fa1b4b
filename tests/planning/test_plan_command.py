# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What `vit-jax plan` prints, writes and refuses."""

import json
import pathlib

import numpy as np
import pytest
import small_plan
from PIL import Image

from vit_jax import config as config_lib
from vit_jax.cli import main
from vit_jax.errors import UserError
from vit_jax.parallel.collectives import Collective
from vit_jax.planning import facts, report, topology
from vit_jax.planning.estimate import Floor, Memory, Work
from vit_jax.planning.plan import Plan

TESTS = pathlib.Path(__file__).parents[1]
RECIPE = f"--config={TESTS / 'tiny_recipe.py'}"
FACTS = ("--examples=1000", "--classes=10")


def plan(*arguments):
    return main(["plan", RECIPE, *FACTS, *arguments])


def test_report_is_the_golden_one():
    work = Work(
        flops=20.5e12,
        bytes=148.25e9,
        collectives=(
            Collective("all-gather", ("fsdp",), 7 * 2**20, 48, ()),
            Collective("all-reduce", ("data", "fsdp"), 2**20, 1, ()),
        ),
        seconds=0.0906,
    )
    config = small_plan.config(model__dtype="bfloat16", train__batch_size=512)
    made = Plan(
        machine=topology.parse("v5p:2x2x2"),
        config=config,
        sizes={"data": 1, "fsdp": 8, "sequence": 1, "tensor": 1},
        compiled=True,
        memory=Memory(2**27, 2**28, 2**25, 11 * 2**30, 2**30),
        limit=92 * 2**30,
        work=work,
        floor=Floor(0.0447, 0.0536, 0.0012),
        flops_per_image=367.4e9,
        total_steps=225_000,
    )
    golden = TESTS / "planning" / "golden" / "plan.txt"
    assert report.describe_plan(made) + "\n" == golden.read_text()
    assert report.record(made)["chip_hours"] == pytest.approx(8 * 225_000 * 0.0906 / 3600)


def test_plans_without_compiling(capsys, tmp_path):
    target = tmp_path / "plan.json"
    assert plan("--topology=h100:8", "--analytic", f"--json={target}") == 0
    said = capsys.readouterr().out
    assert "vit_tiny_patch16_224 on h100:8: 8 x NVIDIA H100 80GB HBM3" in said
    assert "traced, nothing compiled" in said
    assert "without overlap: at most " in said
    (found,) = json.loads(target.read_text())
    assert (found["chips"], found["batch_size"], found["compiled"]) == (8, 32, False)
    assert found["total_steps"] == 60
    assert plan("--topology=h100:8", "--analytic", "--images-per-chip=16") == 0
    assert "batch 128" in capsys.readouterr().out


def test_searches_without_compiling(capsys):
    assert plan("--topology=h100:2", "--analytic", "--search", "--images-per-chip=4,8") == 0
    said = capsys.readouterr()
    assert "tracing " in said.err
    assert "--config.mesh.data=" in said.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--topology=v5q:2x2x2"], "unknown chip 'v5q'; did you mean"),
        (["--topology=h100:64", "--analytic"], "batch_size=32 cannot be split"),
        (["--topology=h100:8"], "add --analytic"),
        (["--topology=h100:8", "--analytic", "--hlo=x"], "leave out --analytic and --search"),
        (["--topology=h100:8", "--images-per-chip=4,8"], "several need --search"),
        (["--topology=h100:8", "--images-per-chip=a"], "write whole numbers"),
        (["--topology=h100:8", "--compilations=0"], "must be at least 1"),
        (["--topology=h100:8", "--examples=-1"], "must be positive"),
        (["--topology=h100:8", "--analytic", "--config.mesh.data=3"], "mesh.data=3"),
    ],
)
def test_refuses_in_one_line(arguments, message, capsys):
    assert plan(*arguments) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("source", "split", "classes", "examples"),
    [
        ("tfds:imagenet2012", "train", 1000, 1_281_167),
        ("tfds:imagenet2012:5.1.0", "train[:99%]", 1000, 1_268_355),
        ("tfds:imagenet2012", "train[99%:]", 1000, 12_812),
        ("tfds:cifar10", "train[:40000]", 10, 40_000),
        ("folder:imagenet21k", "train", 21_843, 14_197_122),
    ],
)
def test_facts_of_data_that_are_not_here(source, split, classes, examples):
    fields = {"data.source": source, "data.train_split": split}
    found = facts.training_facts(config_lib.with_fields(config_lib.default_config(), fields))
    assert (len(found.class_names), found.train_examples) == (classes, examples)


def test_data_that_are_here_are_counted_whatever_they_are_called(tmp_path, monkeypatch):
    for name in ("cifar10/train/a/1", "cifar10/train/b/2", "cifar10/test/a/3"):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)
    monkeypatch.chdir(tmp_path)
    fields = {"data.source": "folder:cifar10", "data.train_split": "train"}
    found = facts.training_facts(config_lib.with_fields(config_lib.default_config(), fields))
    assert (len(found.class_names), found.train_examples) == (2, 2)
    config = config_lib.with_fields(
        config_lib.default_config(), {"data.source": "folder:cifar10/x"}
    )
    with pytest.raises(UserError, match="or tell how many"):
        facts.training_facts(config)


def test_facts_that_nobody_knows(tmp_path):
    fields = {"data.source": f"folder:{tmp_path / 'absent'}"}
    config = config_lib.with_fields(config_lib.default_config(), fields)
    with pytest.raises(UserError, match="or tell how many: --examples=N --classes=N"):
        facts.training_facts(config)
    found = facts.training_facts(config, examples=77, classes=5)
    assert (len(found.class_names), found.train_examples) == (5, 77)
