# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Disks that are full, read-only or failing: one line, and never a damaged newest checkpoint."""

import errno
import os
import time

import pytest
from test_checkpoint import METADATA, abstract, assert_same_bits, random_state

from vit_jax.errors import UserError
from vit_jax.training import checkpoint, integrity, storage
from vit_jax.training.checkpoint import Checkpointer


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left.*free some space"),
        (OSError(errno.EROFS, "Read-only file system", "/w/x"), "Read-only.*another workdir"),
        (PermissionError(errno.EACCES, "Permission denied"), "Permission denied.*rights"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error.*mend the disk"),
        # as TensorStore says it
        (ValueError("RESOURCE_EXHAUSTED: No space left on device [os_error_code='28']"), "No"),
    ],
    ids=["full", "read-only", "rights", "failing", "in words"],
)  # fmt: skip
def test_what_a_person_can_mend_is_one_line(error, expected):
    for cause in (None, error):
        line = pytest.raises(UserError, match=rf"cannot write to /w: .*{expected}")
        with line as caught, storage.explained("/w"):
            raise error if cause is None else RuntimeError("saving failed") from cause
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error", [FileNotFoundError(errno.ENOENT, "No such file"), ValueError("shapes"), UserError("x")]
)
def test_other_errors_stay_as_they_are(error):
    with pytest.raises(type(error)) as caught, storage.explained("/w"):
        raise error
    assert caught.value is error


def fill_up(monkeypatch):
    """From now on nothing is written beside a state: the disk is full."""

    def full(path, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(integrity, "write_whole", full)


def check_until_it_fails(checkpointer, folder):
    """Does not wait for the next save, which would tell as well."""
    deadline = time.monotonic() + 60
    with storage.explained(folder):
        while time.monotonic() < deadline:
            checkpointer.check()
            time.sleep(0.01)


def test_a_full_disk_costs_the_save_and_nothing_else(tmp_path, monkeypatch):
    checkpointer = Checkpointer(tmp_path)
    checkpointer.save(random_state(1), METADATA)
    checkpointer.check()
    checkpointer.wait()
    fill_up(monkeypatch)
    checkpointer.save(random_state(2), METADATA)
    with pytest.raises(UserError, match=r"cannot write to .*No space left"):
        check_until_it_fails(checkpointer, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["00000001"]  # the space is free again
    checkpointer.close()
    monkeypatch.undo()
    with Checkpointer(tmp_path) as checkpointer:
        restored, _ = checkpointer.restore(abstract())
    assert_same_bits(restored, random_state(1))


def test_the_seal_comes_after_everything_is_on_disk(tmp_path, monkeypatch):
    """Every file and folder is synced, the seal's draft before it is renamed."""
    synced = set()
    monkeypatch.setattr(os, "fsync", lambda f: synced.add(os.readlink(f"/proc/self/fd/{f}")))
    (tmp_path / "step" / "state").mkdir(parents=True)
    (tmp_path / "step" / "state" / "data").write_bytes(b"abc")
    integrity.seal(checkpoint.epath.Path(tmp_path / "step"))
    assert {os.path.relpath(path, tmp_path) for path in synced} == {
        ".", "step", "step/state", "step/state/data", "step/checksums.json.draft",
    }  # fmt: skip
    assert integrity.find_damage(checkpoint.epath.Path(tmp_path / "step")) is None
