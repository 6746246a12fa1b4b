# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""timm's model of the same name in PyTorch, eager or under torch.compile.

float32 runs as it is; bfloat16 runs under autocast with float32 parameters, as timm trains.
Needs no vit_jax: it may run in another environment.
"""

from types import SimpleNamespace
from typing import Any

import timm
import torch
from torch.nn import functional


def create_model(job: SimpleNamespace, device: torch.device) -> torch.nn.Module:
    """Returns timm's model with fresh weights, on the device, in the mode of the job."""
    model = timm.create_model(job.model, num_classes=job.num_classes, img_size=job.image_size)
    if job.remat != "none":
        model.set_grad_checkpointing()
    return model.to(device).train(job.mode == "train")


class Contender:
    """A train step (fused AdamW, cross-entropy) or a forward pass of timm's model."""

    def __init__(self, job: SimpleNamespace):
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.manual_seed(0)
        model = create_model(job, self._device)
        self._parameters = sum(p.numel() for p in model.parameters())
        self._model = torch.compile(model) if job.twin["compile"] else model
        self._low_precision = job.dtype == "bfloat16"
        self._step = self._train_step if job.mode == "train" else self._forward
        self._optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
        shape = (job.batch_size, 3, job.image_size, job.image_size)
        self._image = torch.randint(0, 256, shape, dtype=torch.uint8, device=self._device)
        self._label = torch.randint(0, job.num_classes, (job.batch_size,), device=self._device)

    def _logits(self) -> torch.Tensor:
        image = self._image.float().div_(127.5).sub_(1)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._low_precision):
            return self._model(image)

    def _train_step(self) -> None:
        self._optimiser.zero_grad(set_to_none=True)
        functional.cross_entropy(self._logits().float(), self._label).backward()
        self._optimiser.step()

    @torch.no_grad()
    def _forward(self) -> None:
        self._logits()

    def run(self, steps: int) -> None:
        """Runs `steps` steps back to back and waits for the last."""
        for _ in range(steps):
            self._step()
        if self._device.type == "cuda":
            torch.cuda.synchronize()

    def facts(self) -> dict[str, Any]:
        """Returns versions, device, parameters and, on a GPU, peak memory."""
        on_gpu = self._device.type == "cuda"
        return {
            "framework": f"torch {torch.__version__}, timm {timm.__version__}",
            "device": torch.cuda.get_device_name() if on_gpu else "cpu",
            "platform": "gpu" if on_gpu else "cpu",
            "parameters": self._parameters,
            "peak_bytes": torch.cuda.max_memory_allocated() if on_gpu else None,
        }
