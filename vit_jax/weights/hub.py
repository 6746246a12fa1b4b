# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Weights by name from the Hugging Face hub, where there is a network or they came before."""

import pathlib

from vit_jax.errors import UserError
from vit_jax.weights.hugging_face import CONFIG

SCHEMES = ("hf:", "timm:")

_SAFETENSORS = ("model.safetensors", "model.safetensors.index.json", "model-*.safetensors")
_TORCH = ("pytorch_model.bin",)


def is_name(source: str) -> bool:
    """Whether a source is on the hub rather than a path."""
    return source.startswith(SCHEMES)


def download(source: str) -> pathlib.Path:
    """Returns a folder with the weights and the config.json of a repository of the hub.

    What has come once is not fetched again. Files of torch are taken only where there is no other.

    Args:
        source: "hf:ORG/NAME", or "timm:NAME" for "hf:timm/NAME"; a revision may follow an "@".

    Raises:
        UserError: huggingface_hub is not installed, there is no network, or no such repository.
    """
    scheme, _, name = source.partition(":")
    name, _, revision = name.partition("@")
    repository = f"timm/{name}" if scheme == "timm" else name
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise UserError(f"{source!r} is no name on the hub; write hf:ORG/NAME or timm:NAME")
    try:
        import huggingface_hub
    except ImportError:
        raise UserError(f"{source} needs huggingface_hub; pip install 'vit-jax[hub]'") from None
    for endings in (_SAFETENSORS, _TORCH):
        try:
            folder = huggingface_hub.snapshot_download(
                repository, revision=revision or None, allow_patterns=[CONFIG, *endings]
            )
        # Its errors, and those of the HTTP library under it, have no base class but this.
        except Exception as error:
            reason = (str(error).strip().splitlines() or [""])[0]
            raise UserError(
                f"{source} cannot be fetched ({type(error).__name__}: {reason}); check the name "
                "and the network, or fetch the files elsewhere and give their path"
            ) from None
        if any(list(pathlib.Path(folder).glob(ending)) for ending in endings):
            return pathlib.Path(folder)
    raise UserError(f"{source} has no weights: none of {', '.join((*_SAFETENSORS, *_TORCH))}")
