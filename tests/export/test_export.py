# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What leaves the house does what the checkpoint does, or nothing leaves."""

import dataclasses
import importlib.util
import io
import json
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from vit_jax import cli
from vit_jax.data.tensorflow import import_tensorflow
from vit_jax.errors import UserError
from vit_jax.export import FORMATS, comparison, export, reader
from vit_jax.export.program import Request, build

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
NEEDS_ONNX = pytest.mark.skipif(
    importlib.util.find_spec("jax2onnx") is None, reason="jax2onnx is not installed"
)
PROGRAMS = ["stablehlo", "savedmodel", pytest.param("onnx", marks=NEEDS_ONNX)]


def pictures(run, count):
    height, width = run.ops.image_size
    return np.random.default_rng().integers(0, 256, (count, height, width, 3), np.uint8)


def expected_logits(run, images):
    """The model itself, its input scaled here in float64: ((x / 255) - mean) / std."""
    scaled = ((images / 255 - MEAN) / STD).astype(np.float32)
    return np.asarray(run.model.apply({"params": run.params}, scaled))


def assert_close(found, expected, relative=2e-5):
    assert np.abs(expected).max() > 0.1
    assert np.ptp(expected, axis=0).min() > 0
    assert np.abs(np.asarray(found) - expected).max() < relative * np.abs(expected).max()


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        ("stablehlo", "swin"),
        *(pytest.param("stablehlo", kind, marks=pytest.mark.slow) for kind in ("vit_map", "mixer")),
        # A ViT as SavedModel is tested below; the others go through the same StableHLO.
        pytest.param("savedmodel", "mixer", marks=pytest.mark.slow),
        *(pytest.param("onnx", kind, marks=NEEDS_ONNX) for kind in ("vit_map", "swin", "mixer")),
    ],
)
def test_programs_answer_as_the_model_on_batches_of_any_size(form, kind, small_run, tmp_path):
    folder, run = small_run(kind)
    target = tmp_path / "model"
    export.export_checkpoint(folder, Request(form, target, preprocess=True))
    for size in (2, 5):
        images = pictures(run, size)
        found = reader.READERS[form](str(target), {"x": images})["x"]
        assert_close(found, expected_logits(run, images))


@pytest.mark.parametrize("form", PROGRAMS)
def test_without_preprocessing_images_come_scaled(form, small_run, tmp_path):
    folder, run = small_run("vit", scan=True)
    target = tmp_path / "model"
    export.export_checkpoint(folder, Request(form, target, batch_size=2))
    about = json.loads((tmp_path / "model.json").read_text())
    images = pictures(run, 2)
    scaling = about["images"]["scaling"]
    scaled = (images * np.array(scaling["factor"]) + scaling["offset"]).astype(np.float32)
    np.testing.assert_allclose(scaled, (images / 255 - MEAN) / STD, atol=1e-5)
    found = reader.READERS[form](str(target), {"x": scaled})["x"]
    assert_close(found, expected_logits(run, images))
    assert about["images"]["shape"] == [2, 8, 12, 3]
    with pytest.raises(Exception, match=r"(?i)shape|dimension|batch|size"):
        reader.READERS[form](str(target), {"x": np.concatenate([scaled, scaled])})


def test_a_savedmodel_takes_image_files(small_run, tmp_path):
    folder, run = small_run()
    export.export_checkpoint(folder, Request("savedmodel", tmp_path / "model", preprocess=True))
    rng = np.random.default_rng()
    tf = import_tensorflow()
    files, decoded = [], []
    for size, form, mode in ((31, "jpeg", "RGB"), (20, "png", "RGB"), (24, "png", "L")):
        shape = (size, size + 9, 3) if mode == "RGB" else (size, size + 9)
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(buffer, form, quality=95)
        files.append(buffer.getvalue())
        decoded.append(run.ops.host({"image": tf.constant(files[-1])})["image"].numpy())
    found = tf.saved_model.load(str(tmp_path / "model")).signatures["files"](
        files=tf.constant(files)
    )
    assert_close(found["logits"].numpy(), expected_logits(run, np.stack(decoded)))


def test_the_metadata_says_what_a_user_needs(small_run, tmp_path):
    folder, run = small_run()
    export.export_checkpoint(folder, Request("stablehlo", tmp_path / "a.bin"))
    about = json.loads((tmp_path / "a.bin.json").read_text())
    assert about["class_names"] == ["cat", "dog", "λ", "owl"]
    assert about["step"] == 7
    assert about["model"] == "vit_tiny_patch16_224"
    assert about["logits_to_probabilities"] == "softmax"
    assert about["images"]["shape"] == ["batch", 8, 12, 3]
    assert about["images"]["preprocessing"] == run.ops.spec
    assert about["versions"]["jax"] == jax.__version__
    assert about["compared"]["batch_sizes"] == [1, 3]
    assert 0 < about["compared"]["max_relative_difference"] < 1e-4


@pytest.mark.parametrize("kind", ["vit", "swin"])
def test_safetensors_hold_the_parameters_under_timms_names(kind, small_run, tmp_path):
    from safetensors.numpy import load_file

    from vit_jax.weights import to_timm

    folder, run = small_run(kind)
    target = tmp_path / "model.safetensors"
    export.export_checkpoint(folder, Request("safetensors", target))
    found, wanted = load_file(target), to_timm(run.params, run.model)
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        np.testing.assert_array_equal(found[name], tensor)


@pytest.mark.parametrize(
    "form", [pytest.param("savedmodel", marks=pytest.mark.slow), "safetensors"]
)
def test_bfloat16_halves_the_parameters(form, small_run, tmp_path):
    folder, run = small_run()
    request = Request(form, tmp_path / "model.safetensors", dtype="bfloat16")
    compared = export.export_checkpoint(folder, request)
    assert 1e-4 < compared.difference < comparison.TOLERANCES["bfloat16"]
    program = build(run, request)
    assert program.size_bytes * 2 == sum(leaf.nbytes for leaf in jax.tree.leaves(run.params))


def test_a_program_that_differs_is_not_kept(small_run, tmp_path, monkeypatch, capsys):
    folder, _ = small_run()
    honest = export.build

    def slightly_wrong(run, request):
        program = honest(run, request)
        program.variables["params"]["head"]["bias"] += 0.01
        return program

    monkeypatch.setattr(export, "build", slightly_wrong)
    target = tmp_path / "out" / "model"
    arguments = ["export", str(folder), "--format=stablehlo", f"--to={target}"]
    assert cli.main(arguments) == 1
    assert "differs from the checkpoint" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


def test_a_program_that_does_not_run_is_not_kept(small_run, tmp_path, monkeypatch):
    from vit_jax.export import stablehlo

    folder, _ = small_run()
    monkeypatch.setattr(stablehlo, "write", lambda program, request, path: path.write_bytes(b"?"))
    with pytest.raises(comparison.ExportError, match="does not run"):
        export.export_checkpoint(folder, Request("stablehlo", tmp_path / "out" / "model"))
    assert list((tmp_path / "out").iterdir()) == []


def test_answers_that_do_not_depend_on_the_image_are_told(small_run, tmp_path, monkeypatch, capsys):
    folder, run = small_run()
    head = {name: np.full_like(value, 0.1) for name, value in run.params["head"].items()}
    head["kernel"] *= 0
    deaf = dataclasses.replace(run, params={**run.params, "head": head})
    monkeypatch.setattr(export.trained, "load", lambda path: deaf)
    target = f"--to={tmp_path / 'model'}"
    assert cli.main(["export", str(folder), "--format=stablehlo", target]) == 0
    assert "proves little" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--format=stablehl"], "did you mean 'stablehlo'"),
        (["--format=stablehlo", "--dtype=float16"], "--dtype=float16 is not known"),
        (["--format=stablehlo", "--platforms=cpu,cud"], "did you mean 'cuda'"),
        (["--format=stablehlo", "--platforms=tpu"], "lacks cpu"),
        (["--format=savedmodel", "--fixed-batch=-1"], "--fixed-batch=-1 must be positive"),
        (["--format=safetensors"], "must end in .safetensors"),
        (["--format=onnx", "--platforms=cpu"], "--platforms does not concern ONNX"),
        (["--format=onnx", "--dtype=bfloat16"], "does not compute it on CPUs"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_line(arguments, complaint, tmp_path, capsys):
    target = tmp_path / "model"
    assert cli.main(["export", str(tmp_path), f"--to={target}", *arguments]) == 2
    output = capsys.readouterr().err
    assert complaint in output
    assert output.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--preprocess", "--fixed-batch=2", "--platforms=cpu"])
def test_safetensors_refuses_what_belongs_to_programs(option, tmp_path, capsys):
    arguments = ["--format=safetensors", f"--to={tmp_path / 'm.safetensors'}", option]
    assert cli.main(["export", str(tmp_path), *arguments]) == 2
    assert "safetensors holds parameters" in capsys.readouterr().err


@pytest.mark.parametrize("existing", ["model", "model.json"])
def test_existing_files_are_refused(existing, small_run, tmp_path):
    folder, _ = small_run()
    (tmp_path / existing).write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        export.export_checkpoint(folder, Request("stablehlo", tmp_path / "model"))
    assert (tmp_path / existing).read_text() == "mine"


def test_onnx_says_how_to_install_its_converter(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    with pytest.raises(UserError, match="--no-deps jax2onnx"):
        export.export_checkpoint(tmp_path, Request("onnx", tmp_path / "model.onnx"))


def test_every_format_has_a_reader():
    assert sorted(reader.READERS) == FORMATS.names()
