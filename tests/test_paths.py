# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Buckets are told from disks, and are not below the current folder."""

import pathlib

import pytest
from etils import epath

from vit_jax import paths


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
