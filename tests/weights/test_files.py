# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Files of tensors: read and written to the bit, refused in one line when they are none."""

import json
import os
import pickle
import sys

import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from vit_jax.errors import UserError
from vit_jax.weights import files

DTYPES = (np.float32, np.float16, np.float64, np.int64, ml_dtypes.bfloat16)


def tensors():
    rng = np.random.default_rng()
    return {f"a.{np.dtype(d).name}/x": rng.normal(size=(3, 4)).astype(d) for d in DTYPES} | {
        "transposed": rng.normal(size=(5, 2)).astype("f4").T,
        "scalar": np.float32(rng.normal()).reshape(()),
        "empty": np.zeros((0, 3), np.float32),
    }


def assert_same(one, other):
    assert one.keys() == other.keys()
    for key, array in one.items():
        assert (array.dtype, array.shape) == (other[key].dtype, other[key].shape), key
        assert np.ascontiguousarray(array).tobytes() == other[key].tobytes(), key


@pytest.mark.parametrize("ending", [".safetensors", ".npz"])
def test_what_is_written_is_read(tmp_path, ending):
    given = tensors()
    files.write(given, tmp_path / "new" / f"x{ending}")
    assert_same(given, files.read(tmp_path / "new" / f"x{ending}"))
    assert [p.name for p in (tmp_path / "new").iterdir()] == [f"x{ending}"]


def test_transformers_will_take_the_file_for_one_of_torch(tmp_path):
    files.write({"a": np.zeros(3)}, tmp_path / "x.safetensors")
    with safe_open(tmp_path / "x.safetensors", "np") as stored:
        assert stored.metadata() == {"format": "pt"}


def write_shards(folder, given, places):
    for shard in set(places.values()):
        save_file({k: given[k] for k, place in places.items() if place == shard}, folder / shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))


def test_a_file_in_parts_is_one(tmp_path):
    rng = np.random.default_rng()
    given = {name: rng.normal(size=(2, 3)) for name in "abc"}
    places = {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-1.safetensors"}
    write_shards(tmp_path, given, places)
    assert_same(given, files.read(tmp_path))
    assert_same(given, files.read(tmp_path / "model.safetensors.index.json"))
    (tmp_path / "model-2.safetensors").unlink()
    with pytest.raises(UserError, match=r"model-2\.safetensors does not exist"):
        files.read(tmp_path)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("{", "no index of weights"),
        ("[]", "no index of weights"),
        ('{"weight_map": {"a": "../x.safetensors"}}', "outside of its folder"),
        ('{"weight_map": {"a": "x.safetensors", "z": "x.safetensors"}}', "promises z"),
    ],
)
def test_an_index_that_lies_is_refused(tmp_path, index, message):
    save_file({"a": np.zeros(2)}, tmp_path / "x.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(UserError, match=message):
        files.read(tmp_path)


@pytest.mark.parametrize("ending", [".safetensors", ".npz"])
def test_a_file_that_was_cut_anywhere_is_refused(tmp_path, ending):
    rng = np.random.default_rng()
    path = tmp_path / f"x{ending}"
    files.write({"a": rng.normal(size=(40, 4)), "b": rng.normal(size=7)}, path)
    whole = path.read_bytes()
    for length in sorted({0, 1, 7, 8, *rng.integers(0, len(whole), 12).tolist(), len(whole) - 1}):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"damaged|no tensors") as error:
            files.read(path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("ending", [".safetensors", ".npz"])
def test_other_files_are_refused(tmp_path, ending):
    path = tmp_path / f"x{ending}"
    path.write_text("<html>404</html>\n" * 100)
    with pytest.raises(UserError, match="damaged or no") as error:
        files.read(path)
    assert "\n" not in str(error.value)


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_an_npz_file_that_needs_pickle_is_refused_unopened(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.array([Trap(tmp_path / "sprung")], object))
    with pytest.raises(UserError, match="needs pickle"):
        files.read(tmp_path / "x.npz")
    (tmp_path / "y.npz").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(UserError, match=r"damaged or no \.npz"):
        files.read(tmp_path / "y.npz")
    assert not (tmp_path / "sprung").exists()


def test_paths_without_weights_are_refused(tmp_path):
    for path, message in (
        (tmp_path / "none.safetensors", "does not exist"),
        (tmp_path, "has no weights: none of model.safetensors"),
    ):
        with pytest.raises(UserError, match=message):
            files.read(path)
    (tmp_path / "x.onnx").touch()
    with pytest.raises(UserError, match=r"known endings: \.safetensors, \.npz"):
        files.read(tmp_path / "x.onnx")


def test_torch_is_asked_for_in_one_line(tmp_path, monkeypatch):
    (tmp_path / "x.pth").touch()
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=r"pip install 'vit-jax\[torch\]'"):
        files.read(tmp_path / "x.pth")


def read_as(monkeypatch, tmp_path, content):
    """Reads a file of torch that holds `content`; returns the tensors and what was said."""
    monkeypatch.setitem(files.READERS, ".pth", lambda path: content)
    (tmp_path / "x.pth").touch()
    said = []
    return files.read(tmp_path / "x.pth", said.append), said


def test_the_average_is_taken_from_a_checkpoint_in_training(monkeypatch, tmp_path):
    plain, average = ({"module.w": np.full(3, value)} for value in (1.0, 2.0))
    found, said = read_as(
        monkeypatch, tmp_path, {"epoch": 3, "model": plain, "model_ema": {"state_dict": average}}
    )
    assert found.keys() == {"w"}
    assert found["w"][0] == 2
    assert said == [f"{tmp_path / 'x.pth'}: model_ema is read; epoch, model left"]


@pytest.mark.parametrize("name", files.CONTAINERS)
def test_tensors_are_found_in_containers(monkeypatch, tmp_path, name):
    found, said = read_as(monkeypatch, tmp_path, {name: {"_orig_mod.w": np.ones(2)}})
    assert found.keys() == {"w"}
    assert not said


def test_what_holds_no_tensors_is_refused(monkeypatch, tmp_path):
    for content, message in (
        ([1, 2], "holds a list"),
        ({"w": np.ones(2), "lr": 0.1}, "'lr' is a float, not a tensor"),
        ({}, "no tensors"),
    ):
        with pytest.raises(UserError, match=message):
            read_as(monkeypatch, tmp_path, content)


def test_pickled_objects_in_a_file_of_torch_are_refused_unopened(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"model": {"w": torch.zeros(3)}, "x": Trap(tmp_path / "sprung")}, tmp_path / "x.pth")
    with pytest.raises(UserError, match="holds more than tensors") as error:
        files.read(tmp_path / "x.pth")
    assert "\n" not in str(error.value)
    (tmp_path / "y.bin").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(UserError, match="holds more than tensors"):
        files.read(tmp_path / "y.bin")
    assert not (tmp_path / "sprung").exists()
    whole = (tmp_path / "x.pth").read_bytes()
    for length in (0, 10, len(whole) // 2):
        (tmp_path / "z.pt").write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"z\.pt (is damaged|holds more)"):
            files.read(tmp_path / "z.pt")


def test_a_name_that_is_taken_is_left_alone(tmp_path):
    (tmp_path / "x.npz").write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        files.write({"a": np.zeros(2)}, tmp_path / "x.npz")
    assert (tmp_path / "x.npz").read_text() == "mine"
    with pytest.raises(UserError, match="known endings"):
        files.write({"a": np.zeros(2)}, tmp_path / "x.h5")


def test_nothing_stays_of_a_write_that_fails(tmp_path, monkeypatch):
    def fail(tensors, path):
        path.write_text("half")
        raise OSError("disk full")

    monkeypatch.setitem(files.WRITERS, ".npz", fail)
    with pytest.raises(OSError, match="disk full"):
        files.write({"a": np.zeros(2)}, tmp_path / "x.npz")
    assert list(tmp_path.iterdir()) == []


def test_files_are_as_readable_as_others(tmp_path):
    (tmp_path / "other").touch()
    for ending in files.WRITERS:
        path = tmp_path / f"x{ending}"
        files.write({"a": np.zeros(2)}, path)
        assert path.stat().st_mode == (tmp_path / "other").stat().st_mode
