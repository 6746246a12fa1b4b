# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What a person sees of a run: a progress bar on a terminal, plain lines everywhere else."""

import sys
from collections.abc import Mapping
from typing import Any

import tqdm

from vit_jax.training import goodput

# What a line shows first, in this order: name, label and format. Others follow as they come.
_FORMATS = {
    "epoch": ("epoch", "{:.2f}"),
    "loss": ("loss", "{:.4f}"),
    "accuracy": ("accuracy", "{:.2%}"),
    "top5": ("top-5", "{:.2%}"),
    "learning_rate": ("lr", "{:.3g}"),
    "grad_norm": ("gradient", "{:.3g}"),
    "nonfinite_steps": ("skipped steps", "{:.0f}"),
    "images_per_second": ("images/s", "{:,.0f}"),
    "mfu": ("MFU", "{:.1%}"),
    "flops_per_second": ("FLOP/s", "{:.3g}"),
    "data_wait_percent": ("data wait", "{:.0f}%"),
    "peak_memory_mib": ("memory", "{:,.0f} MiB"),
    "compile_seconds": ("compile", "{:.1f} s"),
    "goodput_percent": ("goodput", "{:.0f}%"),
    "examples": ("examples", "{:,}"),
}
# What only the metrics file keeps: it can be told from the others, or interests after the event.
_HIDDEN = frozenset(
    {"nonfinite_streak", "param_norm", "update_norm", "step_seconds", *goodput.FIELDS[1:]}
)


def format_line(values: Mapping[str, Any]) -> str:
    """Returns the values of a metrics line as text, with their units; skipped steps if any."""
    hidden = _HIDDEN if values.get("nonfinite_steps") else _HIDDEN | {"nonfinite_steps"}
    names = [name for name in _FORMATS if name in values]
    names += [name for name in values if name not in _FORMATS]
    parts = []
    for name in names:
        if name not in hidden:
            label, pattern = _FORMATS.get(name, (name, "{:.4g}"))
            parts.append(f"{label} {pattern.format(values[name])}")
    return " | ".join(parts)


class Progress:
    """Speaks for one process: the others stay silent.

    Args:
        active: whether this process speaks.
    """

    def __init__(self, active: bool = True):
        self._active = active
        self._bar: tqdm.tqdm | None = None

    def start(self, step: int, total_steps: int) -> None:
        """Shows a bar from `step` to `total_steps` where standard error is a terminal."""
        if self._active and sys.stderr.isatty():
            self._bar = tqdm.tqdm(
                total=total_steps, initial=step, unit="step", dynamic_ncols=True, smoothing=0.1
            )

    def advance(self) -> None:
        """One more step is done."""
        if self._bar is not None:
            self._bar.update()

    def say(self, text: str) -> None:
        """Prints text, above the bar if there is one."""
        if not self._active:
            return
        if self._bar is not None:
            self._bar.write(text, file=sys.stdout)
        else:
            print(text, flush=True)

    def line(self, step: int, split: str, values: Mapping[str, Any]) -> None:
        """Prints one metrics line."""
        self.say(f"step {step:>6} | {split} | {format_line(values)}")

    def close(self) -> None:
        """Leaves the bar as it is."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
