# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Buckets are told from disks, and are not below the current folder; folders are made."""

import pathlib

import pytest
from etils import epath

from vit_jax import paths
from vit_jax.errors import UserError


@pytest.mark.parametrize("kind", [str, pathlib.Path, epath.Path])
def test_disks(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("runs/a", str(tmp_path / "runs" / "a")):
        assert not paths.is_remote(kind(name))
        assert str(paths.absolute(kind(name))) == f"{tmp_path}/runs/a"


@pytest.mark.parametrize("kind", [str, epath.Path])
@pytest.mark.parametrize("name", ["gs://bucket/runs/a", "s3://bucket/a"])
def test_buckets(kind, name):
    assert paths.is_remote(kind(name))
    assert str(paths.absolute(kind(name))) == name


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--workdir=.*file/run cannot be made: Not a directory"):
        paths.make_folder(tmp_path / "file" / "run", "--workdir")
    with pytest.raises(UserError, match=r"--workdir=.*file cannot be made: File exists"):
        paths.make_folder(tmp_path / "file", "--workdir")


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)  # permissions mean nothing to root
    with pytest.raises(UserError, match=r"--to=.* cannot be written to; choose another folder"):
        paths.make_folder(tmp_path, "--to")
