# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The snippets of docs/export.md do, without vit_jax, what the checkpoint does."""

import importlib.util
import pathlib
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from vit_jax import cli
from vit_jax.evaluation.prediction import Predictor

PAGE = (pathlib.Path(__file__).parents[2] / "docs" / "export.md").read_text()
RUNTIMES = {"StableHLO": "jax", "SavedModel": "tensorflow", "ONNX": "jax2onnx"}


def blocks(heading, language):
    """Returns the code blocks of a section, in that language ("" for commands)."""
    section = re.split(rf"^## {heading}$", PAGE, flags=re.M)[1].split("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", section, flags=re.M | re.S)


def export(heading, run_folder, folder, monkeypatch):
    """Runs the command of a section on a checkpoint, in `folder`."""
    monkeypatch.chdir(folder)
    (command,) = [
        line for text in blocks(heading, "") for line in text.splitlines() if " export " in line
    ]
    arguments = [word.replace("workdirs/flowers", str(run_folder)) for word in shlex.split(command)]
    assert cli.main(arguments[1:]) == 0


def run_snippet(heading, folder):
    """Returns what the Python of a section prints, and makes sure it does without vit_jax."""
    (code,) = blocks(heading, "python")
    code += "\nimport sys; assert 'vit_jax' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    "heading",
    ["StableHLO", pytest.param("SavedModel", marks=pytest.mark.slow), "ONNX"],
)
def test_the_snippet_names_what_the_checkpoint_sees(heading, small_run, tmp_path, monkeypatch):
    if importlib.util.find_spec(RUNTIMES[heading]) is None:
        pytest.skip(f"{RUNTIMES[heading]} is not installed")
    folder, run = small_run()
    export(heading, folder, tmp_path, monkeypatch)
    predictor = Predictor(folder)
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    Image.fromarray(image).save("rose.png")
    (probabilities,) = predictor([pathlib.Path("rose.png").read_bytes()])
    if heading != "SavedModel":  # where the snippet resizes by Pillow
        height, width = run.ops.image_size
        resized = np.asarray(Image.fromarray(image).resize((width, height)))
        (probabilities,) = predictor.predict([resized])
    expected = predictor.class_names[int(probabilities.argmax())]
    assert run_snippet(heading, tmp_path) == expected


def test_the_safetensors_snippet_reads_the_head(small_run, tmp_path, monkeypatch):
    folder, _ = small_run()
    export("safetensors", folder, tmp_path, monkeypatch)
    assert run_snippet("safetensors", tmp_path) == "(4, 16)"
