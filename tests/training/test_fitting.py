# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""A run that does not fit is refused before its data starts, or changed so that it fits."""

import json

import jax
import numpy as np
import pytest
import tiny_runs as runs

from vit_jax import config as config_lib
from vit_jax.data.pipeline import TrainPipeline
from vit_jax.errors import UserError
from vit_jax.planning import devices, memory
from vit_jax.training import checkpoint, fitting, loop
from vit_jax.training import program as program_lib

# Scanned, because XLA's CPU compiler undoes rematerialisation of unrolled blocks. A device's share
# of the batch is eight examples. The step takes about 0.5 MiB.
FIELDS = {
    "train__batch_size": 64,
    "model__scan": True,
    "train__duration": "2 steps",
    "schedule__warmup": "0 steps",
    "evaluation__every": "2 steps",
    "checkpoint__every": "2 steps",
    "log__every_steps": 1,
}


@pytest.fixture(scope="module")
def takes(tmp_path_factory):
    """GiB a device that the step takes as it is, as the run itself says."""
    printed = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Progress, "say", lambda self, text: printed.append(text))
        loop.train(runs.tiny_config(**FIELDS), tmp_path_factory.mktemp("takes") / "run")
    line = next(text for text in printed if text.startswith("memory: "))
    return float(line.split()[1])


@pytest.fixture
def compilations(monkeypatch):
    """(accumulation, policy, size of the mesh's axes) of every compiled training step."""
    seen = []
    compile_step = program_lib.compile_step

    def counting(program, mesh):
        seen.append(dict(mesh.shape))
        return compile_step(program, mesh)

    monkeypatch.setattr(program_lib, "compile_step", counting)
    return seen


def test_what_fits_is_compiled_once(takes, tmp_path, compilations, capsys):
    loop.train(runs.tiny_config(**FIELDS, memory_gib=takes * 1.01), tmp_path / "run")
    assert len(compilations) == 1
    assert f"GiB a device of the {takes * 1.01:.3g} there are" in capsys.readouterr().out
    assert not (tmp_path / "run" / fitting.CHOICE).exists()


def test_what_does_not_fit_is_refused_before_the_data_starts(takes, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(TrainPipeline, "batches", lambda *_: pytest.fail("the data has started"))
    config = runs.tiny_config(**FIELDS, memory_gib=takes * 0.9)
    with pytest.raises(UserError) as refusal:
        loop.train(config, tmp_path / "run")
    message = str(refusal.value)
    assert message.startswith(f"the training step takes {takes:.3g} GiB a device, more than the ")
    assert message.endswith("or --config.memory=auto")
    assert "\n" not in message
    table = capsys.readouterr().out.partition("of the limit")[2]
    assert "as configured" in table
    assert "does not fit" in table
    written = message.partition("; add ")[2].partition(", or ")[0]
    assert any(written in line and " fits " in line for line in table.splitlines())
    for kind in ("train.accumulation_steps=2", "model.remat="):
        assert f"--config.{kind}" in table


@pytest.mark.slow  # a quick one: test_many_devices.py
def test_auto_is_what_the_refusal_says(takes, tmp_path, capsys):
    """The same bits as the run with the chosen settings written; kept, and taken again."""
    config = runs.tiny_config(**FIELDS, memory_gib=takes * 0.9, memory="auto")
    loop.train(config, tmp_path / "auto")
    assert "memory=auto: goes on with --config." in capsys.readouterr().out
    choice = json.loads((tmp_path / "auto" / fitting.CHOICE).read_text())
    saved = config_lib.from_json((tmp_path / "auto" / "config.json").read_text())
    assert {field: new for field, _, new in config_lib.diff(config, saved)} == choice["chosen"]

    chosen = {field.replace(".", "__"): value for field, value in choice["chosen"].items()}
    written = runs.tiny_config(**FIELDS | chosen, memory_gib=takes * 0.9)
    loop.train(written, tmp_path / "written")
    assert runs.record(tmp_path / "auto") == runs.record(tmp_path / "written")
    learnt = [checkpoint.load(tmp_path / name).params for name in ("auto", "written")]
    jax.tree.map(np.testing.assert_array_equal, *learnt)

    capsys.readouterr()
    longer = runs.tiny_config(
        **FIELDS | {"train__duration": "3 steps"}, memory_gib=takes * 0.9, memory="auto"
    )
    loop.train(longer, tmp_path / "auto")
    output = capsys.readouterr().out
    assert "memory=auto: as at this run's first start, --config." in output
    assert "goes on after step 2 of 3" in output
    assert "does not fit" not in output


def test_a_choice_of_another_configuration_is_not_taken(tmp_path):
    config = runs.tiny_config(**FIELDS, memory="auto")
    fitter = fitting.Fitter(config, tmp_path, print)
    record = {"asked": fitter._key() | {"devices": 3}, "chosen": {"mesh.fsdp": 2}}
    (tmp_path / fitting.CHOICE).write_text(json.dumps(record))
    assert fitter.recall() is config
    record["asked"]["devices"] = 8
    (tmp_path / fitting.CHOICE).write_text(json.dumps(record))
    assert config_lib.diff(config, fitter.recall()) == [("mesh.fsdp", 1, 2)]
    checked = runs.tiny_config(**FIELDS)
    assert fitting.Fitter(checked, tmp_path, print).recall() is checked


def test_a_state_that_does_not_fit_is_not_compiled(tmp_path, compilations, monkeypatch):
    """Nothing helps: the small arrays of the tiny model are not spread over devices."""
    config = runs.tiny_config(**FIELDS, memory_gib=1e-5, memory="auto")
    with pytest.raises(UserError, match=r"nor do the settings .* lower train\.batch_size"):
        loop.train(config, tmp_path / "run")
    assert all(mesh["fsdp"] == 8 for mesh in compilations), "these may, for all that is known"


def test_evaluation_in_too_large_batches_is_told_apart(takes, tmp_path, capsys):
    config = runs.tiny_config(**FIELDS, evaluation__batch_size=8192, memory_gib=takes * 1.01)
    with pytest.raises(UserError, match=r"the evaluation takes .*evaluation\.batch_size=\d+, or"):
        loop.train(config, tmp_path / "run")
    auto = runs.tiny_config(
        **FIELDS, evaluation__batch_size=8192, memory_gib=takes * 1.01, memory="auto"
    )
    assert loop.train(auto, tmp_path / "run")["validation"]["examples"] == 360
    saved = config_lib.from_json((tmp_path / "run" / "config.json").read_text())
    assert saved.train.accumulation_steps == 1
    assert saved.evaluation.batch_size < 8192


def test_memory_that_runs_out_later_is_one_line_of_advice(tmp_path, monkeypatch):
    """The error is JAX's own, of an array that no machine has room for."""
    with pytest.raises(jax.errors.JaxRuntimeError) as out_of_memory:
        jax.jit(lambda: jax.numpy.zeros((2**45,), np.float32))().block_until_ready()
    assert "RESOURCE_EXHAUSTED" in str(out_of_memory.value)

    def take_step(self):
        raise out_of_memory.value

    monkeypatch.setattr(loop._Run, "take_step", take_step)
    with pytest.raises(UserError) as advice:
        loop.train(runs.tiny_config(**FIELDS), tmp_path / "run")
    message = str(advice.value)
    assert message.startswith("the device is out of memory (a step takes ")
    assert "--config.memory=auto --config.memory_gib=" in message
    assert "\n" not in message


def test_memory_that_runs_out_in_the_compiler_is_a_program_too_large(tmp_path, monkeypatch):
    def compile_step(program, mesh):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Ran out of memory in space hbm.")

    monkeypatch.setattr(program_lib, "compile_step", compile_step)
    with pytest.raises(UserError, match="takes more than there is; say how much"):
        loop.train(runs.tiny_config(**FIELDS), tmp_path / "unknown")
    with pytest.raises(UserError, match=r"takes more than the 1 GiB there are, nor do"):
        loop.train(runs.tiny_config(**FIELDS, memory_gib=1.0), tmp_path / "known")


def test_other_errors_pass():
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"), fitting.advice(lambda: None):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")


def test_the_limit_is_what_the_device_says(monkeypatch):
    config = config_lib.default_config()
    from vit_jax.parallel.mesh import create_mesh

    mesh = create_mesh()
    assert fitting.device_limit(config, mesh) is None
    config.memory_gib = 1.5
    assert fitting.device_limit(config, mesh) == 3 * 2**29
    config.memory = "off"
    assert fitting.device_limit(config, mesh) is None
    config.memory, config.memory_gib = "check", 0.0
    sizes = iter([10_000] * 7 + [8_000])
    monkeypatch.setattr(devices, "memory_bytes", lambda device: next(sizes))
    assert fitting.device_limit(config, mesh) == round(8_000 * (1 - memory.RESERVE))
