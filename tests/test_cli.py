# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The command as a user meets it: help, mistakes, and what is done with a trained model."""

import io
import json
import pathlib
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import tiny_runs as runs
from PIL import Image

from vit_jax import cli, exits
from vit_jax.data.sources import create_source
from vit_jax.training import trained


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A run of 40 steps, made by the command."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    overrides = ["--config.train.duration=40 steps", "--config.evaluation.every="]
    overrides += ["--config.checkpoint.every="]
    assert cli.main(["train", f"--config={runs.RECIPE}", f"--workdir={folder}", *overrides]) == 0
    return folder


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_shows_an_example(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code == 0
    _, _, examples = capsys.readouterr().out.partition("example")
    assert f":\n  vit-jax {command}" in examples


def test_help_imports_nothing_heavy():
    """Which is what keeps it under half a second."""
    script = (
        "import sys\nfrom vit_jax.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'jax', 'flax', 'tensorflow', 'numpy', 'matplotlib'} & set(sys.modules)\n"
        "print('imported:', heavy)"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert all(command in output.stdout for command in cli.COMMANDS)
    assert "imported: set()" in output.stdout, output.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--config.train.batchsize=8"], "'train.batchsize'; did you mean 'batch_size'"),
        (["--config.optimizer.name=sgd"], "did you mean 'optimiser.name'"),
        (["--config.train.batch_size=many"], "train.batch_size: 'many' is not of type int"),
        (["--config.train.duration=ten"], "train.duration: 'ten' is not a duration"),
        (["--config.model.name=vit_tiny_patch61"], "unknown model 'vit_tiny_patch61'"),
        (["--profile=5"], "--profile: '5' is not START:STOP"),
        (["--profle=5:6"], "unknown argument '--profle=5:6'; did you mean '--profile'"),
    ],
)
def test_mistakes_die_in_a_line_before_a_device_is_touched(arguments, complaint, tmp_path, capsys):
    command = ["train", f"--config={runs.RECIPE}", f"--workdir={tmp_path / 'run'}"]
    assert cli.main([*command, *arguments]) == exits.USER_ERROR == 2
    output = capsys.readouterr()
    assert output.err.startswith("vit-jax: error: ")
    assert complaint in output.err
    assert output.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_mistakes_are_found_without_tensorflow_and_devices(tmp_path):
    script = (
        "import sys, time\nfrom vit_jax.cli import main\n"
        f"arguments = ['train', '--config={runs.RECIPE}', '--workdir={tmp_path}']\n"
        "status = main([*arguments, '--config.train.batchsize=8'])\n"
        "print(status, 'tensorflow' in sys.modules, 'jaxlib.xla_client' in sys.modules)"
    )
    start = time.process_time()
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert output.stdout.split() == ["2", "False", "False"], output
    assert time.process_time() - start < 2


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_a_folder_without_checkpoint_is_refused(command, tmp_path, capsys):
    images = ["x.png"] if command == "predict" else []
    assert cli.main([command, f"--checkpoint={tmp_path}", *images]) == 2
    assert "no usable checkpoint" in capsys.readouterr().err


def digits(split):
    """Returns (files, pixels [N, 8, 8], labels [N]) of a split, decoded by PIL."""
    source = create_source("digits", split)
    records = [source[i] for i in range(len(source))]
    images = [np.asarray(Image.open(io.BytesIO(r["image"])).convert("L")) for r in records]
    return [r["image"] for r in records], np.stack(images), np.array([r["label"] for r in records])


def reference_logits(workdir, images):
    """Returns logits of the run's model on pixels [N, 8, 8], normalised here: (x/255 - 1/2) * 2."""
    run = trained.load(workdir)
    floats = (images[..., None].astype(np.float32) / 255 - 0.5) / 0.5
    return np.asarray(run.model.apply({"params": run.params}, floats), np.float64)


def test_evaluate_measures_what_the_model_does(workdir, capsys):
    capsys.readouterr()
    assert cli.main(["evaluate", f"--workdir={workdir}", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    _, images, labels = digits("test")
    logits = reference_logits(workdir, images)
    log_normaliser = np.log(np.exp(logits).sum(-1))
    picked = logits[np.arange(len(labels)), labels]
    ranks = (logits > picked[:, None]).sum(-1)
    assert result["examples"] == len(labels) == 360
    assert result["loss"] == pytest.approx((log_normaliser - picked).mean(), rel=1e-5)
    assert result["accuracy"] == pytest.approx((ranks < 1).mean(), abs=1e-7)
    assert result["top5"] == pytest.approx((ranks < 5).mean(), abs=1e-7)
    assert (result["step"], result["split"]) == (40, "test")
    line = runs.record(workdir)[-1]
    assert line["accuracy"] == result["accuracy"]


def test_evaluate_prints_a_table_for_any_batch_size(workdir, capsys):
    capsys.readouterr()
    arguments = ["--split=validation", "--batch-size=56"]
    assert cli.main(["evaluate", f"--checkpoint={workdir}", *arguments]) == 0
    head, _, row = capsys.readouterr().out.strip().splitlines()
    values = dict(zip(head.split(), row.split(), strict=True))
    assert values["split"] == "validation"
    assert values["examples"] == "360"
    line = [x for x in runs.record(workdir) if x["split"] == "validation"][-1]
    assert float(values["accuracy"]) == pytest.approx(line["accuracy"], abs=1e-4)


def test_evaluate_refuses_other_classes(workdir, tmp_path, capsys):
    for name in ("cat", "dog"):
        (tmp_path / "test" / name).mkdir(parents=True)
        (tmp_path / "train" / name).mkdir(parents=True)
        for part in ("train", "test"):
            Image.new("L", (8, 8)).save(tmp_path / part / name / "a.png")
    assert cli.main(["evaluate", f"--workdir={workdir}", f"--source=folder:{tmp_path}"]) == 2
    assert "the data has the classes cat, dog, the model 0, 1, 2" in capsys.readouterr().err


def test_predict_gives_the_models_probabilities(workdir, tmp_path, capsys):
    files, images, _ = digits("test")
    names = [str(tmp_path / f"{i}.png") for i in range(5)]
    for name, content in zip(names, files, strict=False):
        pathlib.Path(name).write_bytes(content)
    capsys.readouterr()
    arguments = ["--top=3", "--batch-size=2", "--json"]
    assert cli.main(["predict", f"--checkpoint={workdir}", *arguments, *names]) == 0
    predictions = json.loads(capsys.readouterr().out)
    logits = reference_logits(workdir, images[:5])
    expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    assert [p["image"] for p in predictions] == names
    for prediction, row in zip(predictions, expected, strict=True):
        best = np.argsort(-row)[:3]
        assert [c["name"] for c in prediction["classes"]] == [str(i) for i in best]
        shown = [c["probability"] for c in prediction["classes"]]
        np.testing.assert_allclose(shown, row[best], rtol=1e-5)


def test_predict_names_and_skips_what_it_cannot_read(workdir, tmp_path, capsys):
    files, _, _ = digits("test")
    good, bad, missing = (tmp_path / name for name in ("good.png", "bad.jpg", "missing.png"))
    good.write_bytes(files[0])
    bad.write_bytes(b"this is no picture")
    capsys.readouterr()
    paths = [str(path) for path in (bad, good, missing)]
    assert cli.main(["predict", f"--workdir={workdir}", "--top=2", *paths]) == 1
    output = capsys.readouterr()
    assert f"skipped {bad}: not an image that can be decoded" in output.err
    assert f"skipped {missing}: No such file or directory" in output.err
    rows = output.out.strip().splitlines()[2:]
    assert len(rows) == 2
    assert all(str(good) in row for row in rows)


def test_predict_needs_only_the_checkpoint(workdir, tmp_path, capsys):
    newest = max((workdir / "checkpoints").iterdir())
    shutil.copytree(newest, tmp_path / newest.name)
    (tmp_path / "one.png").write_bytes(digits("test")[0][0])
    image = str(tmp_path / "one.png")
    capsys.readouterr()
    assert cli.main(["predict", f"--checkpoint={tmp_path / newest.name}", image]) == 0
    assert capsys.readouterr().out.count("one.png") == 5


def test_models_lists_sizes_that_are_known(capsys):
    """Parameters of the papers' models; FLOPs count a multiply-add as two."""
    assert cli.main(["models", "vit_base_patch16_224", "--json"]) == 0
    (vit,) = json.loads(capsys.readouterr().out)
    assert vit["params_millions"] == 86.57
    assert vit["gflops"] == pytest.approx(35.1, rel=0.02)
    assert vit["image_size"] == "224x224"
    assert "ViT-B/16" in vit["aliases"]
    assert cli.main(["models", "Swin-T"]) == 0
    assert "28.29" in capsys.readouterr().out


def test_models_without_a_match_says_so(capsys):
    assert cli.main(["models", "vit_base_patch61_224"]) == 2
    assert "did you mean 'vit_base_patch16_224'" in capsys.readouterr().err


def test_doctor_tells_the_status(capsys, monkeypatch):
    from vit_jax import doctor

    monkeypatch.setattr(doctor, "conflicts", lambda facts: [])
    assert cli.main(["doctor"]) == 0
    assert "no conflict found" in capsys.readouterr().out
    monkeypatch.setattr(doctor, "conflicts", lambda facts: ["jax and jaxlib disagree"])
    assert cli.main(["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["conflicts"] == ["jax and jaxlib disagree"]


def test_interrupts_and_failures_have_their_status(tmp_path, monkeypatch, capsys):
    from vit_jax.training import loop

    command = ["train", f"--config={runs.RECIPE}", f"--workdir={tmp_path}"]
    for error, status in (
        (KeyboardInterrupt(), 130),
        (loop.PreemptedError("stopped and saved after step 7 of 9"), 75),
        (loop.DivergedError("no finite gradient"), 1),
    ):

        def stop(*_, error=error, **__):
            raise error

        monkeypatch.setattr(loop, "train", stop)
        assert cli.main(command) == status
        assert str(error) in capsys.readouterr().err
