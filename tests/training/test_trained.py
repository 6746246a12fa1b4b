# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Parameters alone become a checkpoint that loads, evaluates, predicts and starts a run."""

import json
import pathlib

import jax
import numpy as np
import pytest
from tiny_runs import tiny_config

from vit_jax.cli import main
from vit_jax.data import ops as ops_lib
from vit_jax.errors import UserError
from vit_jax.parallel.mesh import create_mesh
from vit_jax.training import checkpoint, program, trained
from vit_jax.training.state import abstract_params

NAMES = tuple(str(i) for i in range(10))


def given(dtype="float32", **fields):
    """Returns what `save` takes: a config, its ops, and parameters that are all random."""
    config = tiny_config(model__param_dtype=dtype, **fields)
    ops = ops_lib.parse(config.data.eval_ops)
    shapes = abstract_params(trained.build_model(config, 10, ops), (8, 8, 1))
    rng = np.random.default_rng()
    params = jax.tree.map(lambda s: (rng.normal(size=s.shape) / 8).astype(s.dtype), shapes)
    return {"params": params, "config": config, "class_names": NAMES, "ops": ops}


@pytest.mark.parametrize("fields", [{}, {"model__scan": True}, {"dtype": "bfloat16"}])
def test_what_is_saved_is_loaded(tmp_path, fields):
    parts = given(**fields)
    trained.save(tmp_path / "new" / "run", **parts, step=7, metrics={"accuracy": 0.5})
    for path in ("new/run", "new/run/checkpoints", "new/run/checkpoints/00000007"):
        run = trained.load(tmp_path / path)
        jax.tree.map(np.testing.assert_array_equal, run.params, parts["params"])
        assert (run.step, run.class_names, run.ops) == (7, NAMES, parts["ops"])
        assert run.config == parts["config"]
    assert checkpoint.load(tmp_path / "new/run").metrics == {"accuracy": 0.5}
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["run"]


def test_it_evaluates_predicts_and_starts_a_run(tmp_path, capsys):
    parts = given()
    trained.save(tmp_path / "run", **parts)
    path = f"--checkpoint={tmp_path / 'run'}"
    assert main(["evaluate", path, "--split=validation", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["examples"] > 100
    picture = pathlib.Path(__file__).parents[2] / "docs" / "digits" / "3.png"
    assert main(["predict", path, str(picture)]) == 0
    config = tiny_config(model__init_from=tmp_path / "run")
    mesh = create_mesh({"data": -1})
    data = program.open_data(config, mesh)
    built = program.build(config, data, program.resolve_steps(config, data.train_examples), mesh)
    state, _ = program.create_state(config, built, mesh)
    jax.tree.map(np.testing.assert_array_equal, state.params, parts["params"])


def test_an_existing_folder_is_left_alone(tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(UserError, match="run exists already"):
        trained.save(tmp_path / "run", **given())
    assert list((tmp_path / "run").iterdir()) == []


def test_parameters_of_another_model_are_refused(tmp_path):
    parts = given()
    parts["params"]["head"]["kernel"] = parts["params"]["head"]["kernel"][:, :3]
    with pytest.raises(UserError, match=r"head/kernel is float32\[32, 3\], the model's is .* 10"):
        trained.save(tmp_path / "run", **parts)
    assert list(tmp_path.iterdir()) == []


def test_nothing_stays_of_a_save_that_fails(tmp_path, monkeypatch):
    def fail(_):
        raise OSError("disk full")

    monkeypatch.setattr(checkpoint.integrity, "seal", fail)
    with pytest.raises(RuntimeError):
        trained.save(tmp_path / "run", **given())
    assert list(tmp_path.iterdir()) == []
