# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Who can be measured on a model: vit_jax and its peers, and how each of them is started."""

import dataclasses
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vit_jax.benchmark.process import Launch
from vit_jax.errors import UserError
from vit_jax.models import model_info
from vit_jax.registry import Registry


@dataclass(frozen=True)
class ModelJob:
    """One model under one kind of work, the same for every contender.

    Attributes:
        model: canonical name.
        image_size: side in pixels.
        mode: "train" (a whole step) or "forward" (inference).
        dtype: of the computation; parameters are float32.
        optimiser, remat, scan: as in a configuration; peers only know AdamW.
        cache_dir: where compiled programs are kept; None: the cache is off.
    """

    model: str
    batch_size: int = 8
    image_size: int = 224
    num_classes: int = 1000
    mode: str = "train"
    dtype: str = "float32"
    optimiser: str = "adamw"
    remat: str = "none"
    scan: bool = False
    cache_dir: str | None = None


@dataclass(frozen=True)
class Whereabouts:
    """Where the peers are installed.

    Attributes:
        python: the interpreter that has torch and timm.
        checkout: a directory that holds the package big_vision, or None if it is installed.
    """

    python: str = sys.executable
    checkout: str | None = None


# Alternating contenders share the device: none may take its memory in advance.
SHARE_MEMORY = (("XLA_PYTHON_CLIENT_PREALLOCATE", "false"),)

PEERS: Registry[Callable[[ModelJob, Whereabouts], Launch]] = Registry("contender")


def _launch(name: str, script: str, job: ModelJob, twin: dict[str, Any], **options: Any) -> Launch:
    return Launch(name, script, dataclasses.asdict(job) | {"twin": twin}, **options)


@PEERS.register("vit_jax")
def vit_jax(job: ModelJob, where: Whereabouts) -> Launch:
    """This library's own step: the one `vit-jax train` runs."""
    del where
    return _launch("vit_jax", "vit_jax_model.py", job, {}, environment=SHARE_MEMORY)


@PEERS.register("timm")
def timm(job: ModelJob, where: Whereabouts) -> Launch:
    """timm in eager PyTorch."""
    return _torch("timm", job, where, compile=False)


@PEERS.register("timm_compile", aliases=("torch_compile",))
def timm_compile(job: ModelJob, where: Whereabouts) -> Launch:
    """timm under torch.compile."""
    return _torch("timm_compile", job, where, compile=True)


def _torch(name: str, job: ModelJob, where: Whereabouts, compile: bool) -> Launch:
    _require_adamw(name, job)
    hint = "install torch and timm with `pip install 'vit-jax[torch]'`, or give --peer-python=PATH"
    return _launch(name, "timm_model.py", job, {"compile": compile}, python=where.python, hint=hint)


@PEERS.register("big_vision")
def big_vision(job: ModelJob, where: Whereabouts) -> Launch:
    """big_vision's ViT or Mixer, from a checkout of its repository."""
    _require_adamw("big_vision", job)
    if where.checkout and not (Path(where.checkout) / "big_vision" / "models").is_dir():
        raise UserError(f"--peer-path={where.checkout!r} holds no checkout of big_vision")
    return _launch(
        "big_vision",
        "big_vision_model.py",
        job,
        big_vision_twin(job),
        paths=(where.checkout,) if where.checkout else (),
        environment=SHARE_MEMORY,
        hint="clone big_vision, give --peer-path=DIR, and `pip install einops` (it imports it)",
    )


def _require_adamw(peer: str, job: ModelJob) -> None:
    if job.mode == "train" and job.optimiser != "adamw":
        raise UserError(f"--against={peer} needs --optimiser=adamw, not {job.optimiser!r}")


def big_vision_twin(job: ModelJob) -> dict[str, Any]:
    """Returns big_vision's module, variant string and options for the job's model.

    Raises:
        UserError: it has no such model or option.
    """
    info = model_info(job.model)
    short = [re.fullmatch(r"(ViT|Mixer)-(\w+/\d+)", alias) for alias in info.aliases]
    names = [match.groups() for match in short if match]
    if not names:
        raise UserError(f"--against=big_vision has no twin of {job.model!r}; it has ViT and Mixer")
    family, variant = names[0]
    if family == "Mixer":
        if job.dtype != "float32" or job.scan:
            raise UserError("big_vision's Mixer has neither --dtype=bfloat16 nor --scan")
        return {"module": "mlp_mixer", "variant": variant, "options": {}}
    pool = {"cls": "tok"}.get(info.spec.pool, info.spec.pool)
    return {
        "module": "vit",
        "variant": variant,
        "options": {"pool_type": pool, "posemb": "learn", "head_zeroinit": False},
    }


def launches(job: ModelJob, names: list[str], where: Whereabouts) -> list[Launch]:
    """Returns how to start vit_jax and, after it, the peers of these names."""
    return [PEERS.get(name)(job, where) for name in ["vit_jax", *names]]
