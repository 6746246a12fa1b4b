# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Tables of predictions: every image has its row, and a killed run ends as an unbroken one."""

import csv
import json
import os
import sys

import jax
import numpy as np
import pytest
import tiny_runs as runs
from PIL import Image

from vit_jax import cli
from vit_jax.data import ops as ops_lib
from vit_jax.errors import UserError
from vit_jax.evaluation import prediction_files
from vit_jax.evaluation.prediction import Predictor
from vit_jax.models import create_model, init_params
from vit_jax.training import trained

CLASSES = ("cat", "dog, wet", "λ", "owl")
OVERRIDES = {"patch_size": 4, "width": 16, "depth": 1, "num_heads": 2, "mlp_dim": 24}
NAMES = ("b.png", "a b.PNG", "ünï/日本 𝛌.png", "ünï/deep/er/c.png", "z.jpg")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A checkpoint of a small ViT with random numbers in every tensor."""
    config = runs.tiny_config(train__ema_decay=0.0)
    config.model.overrides = OVERRIDES
    ops = ops_lib.parse("decode|resize(8)|normalise(half)")
    model = create_model(config.model.name, len(CLASSES), image_size=8, **OVERRIDES)
    shapes = jax.eval_shape(lambda: init_params(model, jax.random.key(0)))
    rng = np.random.default_rng(5)
    params = jax.tree.map(lambda s: rng.normal(0, 0.4, s.shape).astype(np.float32), shapes)
    folder = tmp_path_factory.mktemp("trained") / "run"
    trained.save(folder, params=params, config=config, class_names=CLASSES, ops=ops)
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """(folder, {path: pixels}) of lossless pictures, with two files that cannot be read."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(6)
    pixels = {}
    for name in NAMES[:-1]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels[str(path)] = rng.integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels[str(path)]).save(path)
    (folder / "z.jpg").write_bytes(b"renamed text")
    (folder / "empty.png").write_bytes(b"")
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_bytes(b"hidden")
    return folder, pixels


def reference(workdir, pixels):
    """Probabilities and features by the model itself: softmax in float64."""
    run = trained.load(workdir)
    images = np.stack(pixels).astype(np.float32) / 127.5 - 1
    logits, found = run.model.apply({"params": run.params}, images, features=True)
    powers = np.exp(np.asarray(logits, np.float64))
    return powers / powers.sum(-1, keepdims=True), np.asarray(found["pre_logits"])


def predict(workdir, folder, target, *arguments):
    return cli.main(["predict", f"--workdir={workdir}", str(folder), f"--to={target}", *arguments])


def listed(photos):
    """(paths in the order of the table, which are good, pixels of these)."""
    folder, pixels = photos
    paths = sorted([*pixels, str(folder / "z.jpg"), str(folder / "empty.png")])
    good = [i for i, path in enumerate(paths) if path in pixels]
    return paths, good, [pixels[paths[i]] for i in good]


def test_folders_files_and_patterns_are_found_once(photos, tmp_path):
    folder, _ = photos
    paths, left_out = prediction_files.find_images([str(folder)])
    assert paths == listed(photos)[0]
    assert left_out == {".txt": 1}
    os.symlink(folder, tmp_path / "link")
    os.symlink(tmp_path, tmp_path / "loop")
    assert len(prediction_files.find_images([str(tmp_path)])[0]) == len(paths)
    deep = str(folder / "**" / "c.png")
    b = str(folder / "b.png")
    found, _ = prediction_files.find_images([b, deep, b, "missing.png"])
    assert found == [b, str(folder / "ünï/deep/er/c.png"), "missing.png"]
    bracket = tmp_path / "photo[1].png"
    bracket.write_bytes(b"")
    assert prediction_files.find_images([str(bracket)])[0] == [str(bracket)]
    with pytest.raises(UserError, match="matches no file"):
        prediction_files.find_images([str(folder / "*.gif")])
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="holds no pictures"):
        prediction_files.find_images([str(tmp_path / "none")])


def test_csv(workdir, photos, tmp_path, capsys):
    paths, good, pixels = listed(photos)
    assert predict(workdir, photos[0], tmp_path / "t.csv", "--top=2", "--batch-size=2") == 1
    output = capsys.readouterr()
    assert "6 images, 2 of them could not be read" in output.out
    assert "z.jpg: not an image that can be decoded" in output.err
    assert "left out files that are no pictures by name: 1 .txt" in output.err
    with open(tmp_path / "t.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == paths
    probabilities, _ = reference(workdir, pixels)
    for row, expected in zip([rows[i] for i in good], probabilities, strict=True):
        assert row["error"] == ""
        best = np.argsort(-expected)[:2]
        assert [row["class_1"], row["class_2"]] == [CLASSES[i] for i in best]
        shown = [float(row["probability_1"]), float(row["probability_2"])]
        np.testing.assert_allclose(shown, expected[best], rtol=1e-4)
    for row in (rows[i] for i in range(6) if i not in good):
        assert row["error"] == "not an image that can be decoded"
        assert row["class_1"] == row["probability_2"] == ""
    assert os.listdir(tmp_path) == ["t.csv"]


def test_csv_of_all_classes_has_a_column_each(workdir, photos, tmp_path):
    _, good, pixels = listed(photos)
    predict(workdir, photos[0], tmp_path / "t.csv", "--top=all")
    with open(tmp_path / "t.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = [[float(rows[i][f"probability of {name}"]) for name in CLASSES] for i in good]
    np.testing.assert_allclose(found, reference(workdir, pixels)[0], rtol=1e-4)


def test_jsonl(workdir, photos, tmp_path):
    paths, good, pixels = listed(photos)
    predict(workdir, photos[0], tmp_path / "t.jsonl", "--top=3")
    lines = (tmp_path / "t.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["image"] for row in rows] == paths
    for row, expected in zip([rows[i] for i in good], reference(workdir, pixels)[0], strict=True):
        best = np.argsort(-expected)[:3]
        assert row["error"] is None
        assert [c["name"] for c in row["classes"]] == [CLASSES[i] for i in best]
        shown = [c["probability"] for c in row["classes"]]
        np.testing.assert_allclose(shown, expected[best], rtol=1e-4)
    assert [row["classes"] for row in rows if row["error"]] == [[], []]


def test_npz_and_parquet_hold_features(workdir, photos, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    paths, good, pixels = listed(photos)
    bad = [i for i in range(6) if i not in good]
    probabilities, features = reference(workdir, pixels)
    predict(workdir, photos[0], tmp_path / "t.npz", "--features")
    with np.load(tmp_path / "t.npz") as found:
        assert found["image"].tolist() == paths
        assert [bool(error) for error in found["error"]] == [i in bad for i in range(6)]
        assert found["class_names"].tolist() == list(CLASSES)
        np.testing.assert_allclose(found["probabilities"][good], probabilities, rtol=1e-4)
        np.testing.assert_allclose(found["features"][good], features, rtol=1e-4, atol=1e-5)
        assert np.isnan(found["features"][bad]).all()
        assert np.isnan(found["probabilities"][bad]).all()
    predict(workdir, photos[0], tmp_path / "t.parquet", "--features", "--top=2")
    rows = parquet.read_table(tmp_path / "t.parquet").to_pylist()
    assert [row["image"] for row in rows] == paths
    for i, expected, values in zip(good, probabilities, features, strict=True):
        best = np.argsort(-expected)[:2]
        assert rows[i]["error"] is None
        assert rows[i]["classes"] == [CLASSES[j] for j in best]
        np.testing.assert_allclose(rows[i]["probabilities"], expected[best], rtol=1e-4)
        np.testing.assert_allclose(rows[i]["features"], values, rtol=1e-4, atol=1e-5)
    for i in bad:
        assert rows[i]["error"] == "not an image that can be decoded"
        assert rows[i]["classes"] is rows[i]["probabilities"] is rows[i]["features"] is None


@pytest.mark.parametrize("ending", ["csv", "jsonl", "npz", "parquet"])
def test_a_killed_run_goes_on_and_ends_as_an_unbroken_one(
    ending, workdir, photos, tmp_path, monkeypatch
):
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    monkeypatch.setattr(prediction_files, "PART_IMAGES", 2)
    arguments = ["--features"] if ending in ("npz", "parquet") else []
    whole, broken = tmp_path / f"whole.{ending}", tmp_path / f"broken.{ending}"
    assert predict(workdir, photos[0], whole, *arguments) == 1
    computed = []
    honest = Predictor.predict_paths

    def until_the_second(self, paths):
        if len(computed) == 1:
            raise KeyboardInterrupt
        computed.append(list(paths))
        return honest(self, paths)

    monkeypatch.setattr(Predictor, "predict_paths", until_the_second)
    assert predict(workdir, photos[0], broken, *arguments) == 130
    assert not broken.exists()
    parts = tmp_path / f"broken.{ending}.parts"
    (parts / "000000002.draft").write_bytes(b"half of a part")

    def remembered(self, paths):
        computed.append(list(paths))
        return honest(self, paths)

    monkeypatch.setattr(Predictor, "predict_paths", remembered)
    assert predict(workdir, photos[0], broken, *arguments) == 1
    paths = listed(photos)[0]
    assert computed == [paths[:2], paths[2:4], paths[4:]]
    assert broken.read_bytes() == whole.read_bytes()
    assert sorted(os.listdir(tmp_path)) == [broken.name, whole.name]


def test_parts_of_another_command_are_refused(workdir, photos, tmp_path, monkeypatch, capsys):
    def interrupted(self, paths):
        raise KeyboardInterrupt

    monkeypatch.setattr(Predictor, "predict_paths", interrupted)
    target = tmp_path / "t.csv"
    assert predict(workdir, photos[0], target, "--top=2") == 130
    assert predict(workdir, photos[0], target, "--top=3") == 2
    assert "holds parts of another command" in capsys.readouterr().err
    assert predict(workdir, photos[0] / "b.png", target, "--top=2") == 2


def test_an_existing_table_is_refused(workdir, photos, tmp_path, capsys):
    (tmp_path / "t.csv").write_text("mine")
    assert predict(workdir, photos[0], tmp_path / "t.csv") == 2
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "t.csv").read_text() == "mine"


@pytest.mark.parametrize("ending", ["csv", "npz", "parquet"])
def test_a_folder_of_nothing_but_bad_files_has_its_rows(ending, workdir, tmp_path):
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"no")
    arguments = ["--features"] if ending != "csv" else []
    target = tmp_path / f"t.{ending}"
    assert predict(workdir, tmp_path / "in", target, *arguments) == 1
    if ending == "npz":
        with np.load(target) as found:
            assert found["features"].shape == (1, 16)
            assert found["error"].tolist() == ["not an image that can be decoded"]
    if ending == "csv":
        assert "a.png,not an image that can be decoded,," in target.read_text()


@pytest.mark.skipif(sys.platform == "darwin", reason="its file names are Unicode")
def test_names_that_are_no_unicode_are_read_and_shown_escaped(workdir, photos, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    source = next(iter(photos[1]))
    name = os.fsencode(folder) + b"/caf\xe9.png"
    with open(source, "rb") as picture, open(name, "wb") as copy:
        copy.write(picture.read())
    assert predict(workdir, folder, tmp_path / "t.jsonl") == 0
    row = json.loads((tmp_path / "t.jsonl").read_text())
    assert row["image"].endswith("caf\\xe9.png")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--to=t.cvs"], "did you mean '.csv'"),
        (["--to=t"], "without ending; known endings: .csv"),
        (["--to=t.csv", "--features"], "--features needs --to=FILE.npz or"),
        (["--features"], "--features needs --to=FILE.npz or"),
        (["--to=t.npz", "--top=3"], "leave out --top"),
        (["--to=t.csv", "--json"], "--json is for the terminal"),
        (["--top=0"], "--top=0 must be a number from 1 on, or all"),
        (["--top=-1"], "--top=-1 must be"),
        (["--batch-size=0"], "--batch-size=0 must be at least 1"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_line(arguments, complaint, tmp_path, capsys):
    assert cli.main(["predict", f"--workdir={tmp_path}", "x.png", *arguments]) == 2
    output = capsys.readouterr().err
    assert complaint in output
    assert output.count("\n") == 1


def test_parquet_without_pyarrow_is_told_in_a_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert cli.main(["predict", f"--workdir={tmp_path}", "x.png", "--to=t.parquet"]) == 2
    assert "pip install pyarrow, or write .csv" in capsys.readouterr().err
