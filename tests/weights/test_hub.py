# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The hub by a stand-in for its client: what is asked for, and what is said when it fails."""

import fnmatch
import sys
import types

import pytest

from vit_jax.errors import UserError
from vit_jax.weights import hub


class Hub:
    """Repositories of files; `snapshot_download` as huggingface_hub has it."""

    def __init__(self, folder, repositories):
        self.folder, self.repositories, self.asked = folder, repositories, []

    def snapshot_download(self, repo_id, *, revision=None, allow_patterns=None):
        self.asked.append((repo_id, revision))
        if repo_id not in self.repositories:
            raise LookupError(f"404 Client Error\nRepository Not Found: {repo_id}")
        target = self.folder / repo_id.replace("/", "--")
        target.mkdir(exist_ok=True)
        for name in self.repositories[repo_id]:
            if any(fnmatch.fnmatch(name, pattern) for pattern in allow_patterns):
                (target / name).touch()
        return str(target)


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    repositories = {
        "org/vit": ["config.json", "model.safetensors", "pytorch_model.bin", "tf_model.h5"],
        "org/large": ["model.safetensors.index.json", "model-00001-of-00002.safetensors"],
        "timm/swin.ms_in1k": ["config.json", "model.safetensors", "open_clip.safetensors"],
        "org/old": ["config.json", "pytorch_model.bin"],
        "org/empty": ["README.md"],
    }
    client = Hub(tmp_path, repositories)
    module = types.SimpleNamespace(snapshot_download=client.snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return client


@pytest.mark.parametrize(
    ("source", "files"),
    [
        ("hf:org/vit", {"config.json", "model.safetensors"}),
        ("hf:org/large", {"model.safetensors.index.json", "model-00001-of-00002.safetensors"}),
        ("timm:swin.ms_in1k", {"config.json", "model.safetensors"}),
        ("hf:org/old", {"config.json", "pytorch_model.bin"}),
    ],
)
def test_only_what_is_needed_is_fetched(stand_in, source, files):
    assert {path.name for path in hub.download(source).iterdir()} == files


def test_a_revision_may_be_named(stand_in):
    hub.download("hf:org/vit@v1.0")
    assert stand_in.asked == [("org/vit", "v1.0")]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("hf:org/none", r"cannot be fetched \(LookupError: 404 Client Error\); check the name"),
        ("hf:org/empty", "has no weights: none of model.safetensors"),
        ("hf:vit", "write hf:ORG/NAME or timm:NAME"),
        ("hf:a/b/c", "write hf:ORG/NAME or timm:NAME"),
        ("timm:", "write hf:ORG/NAME or timm:NAME"),
    ],
)
def test_failures_are_said_in_one_line(stand_in, source, message):
    with pytest.raises(UserError, match=message) as error:
        hub.download(source)
    assert "\n" not in str(error.value)


def test_the_client_is_asked_for_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"pip install 'vit-jax\[hub\]'"):
        hub.download("timm:vit")


def test_the_real_client_without_a_network_says_so(monkeypatch, tmp_path):
    pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="cannot be fetched") as error:
        hub.download(f"hf:org/{tmp_path.name}")
    assert "\n" not in str(error.value)
