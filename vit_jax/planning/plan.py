# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What is known of a run before it starts."""

import dataclasses
from collections.abc import Mapping

from ml_collections import ConfigDict

from vit_jax.planning.estimate import Floor, Memory, Work
from vit_jax.planning.topology import Machine


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is known of a run before it starts.

    Attributes:
        machine: where it would run.
        config: of the run.
        sizes: of the mesh's axes.
        compiled: whether memory and work are the compiled program's, or the trace's.
        memory: bytes a chip.
        limit: bytes of a chip that a step may take.
        work: of a step, a chip.
        floor: seconds of a step at the data sheet's rates.
        flops_per_image: of the formula, without recomputation.
        total_steps: of the run.
    """

    machine: Machine
    config: ConfigDict
    sizes: Mapping[str, int]
    compiled: bool
    memory: Memory
    limit: int
    work: Work
    floor: Floor
    flops_per_image: float
    total_steps: int

    @property
    def fits(self) -> bool:
        """Whether a chip has the memory."""
        return self.memory.total <= self.limit

    @property
    def seconds(self) -> float:
        """A step's: by the compiler, or else without any overlap of the resources."""
        return self.floor.worst if self.work.seconds is None else self.work.seconds

    @property
    def batch_size(self) -> int:
        """Examples a step, over all chips."""
        return self.config.train.batch_size

    @property
    def rows(self) -> int:
        """Examples a chip has at a time."""
        parts = self.sizes["data"] * self.sizes["fsdp"] * self.config.train.accumulation_steps
        return self.batch_size // parts

    @property
    def images_per_second(self) -> float:
        """Of all chips together."""
        return self.batch_size / self.seconds

    @property
    def mfu(self) -> float:
        """The share of the chips' peak that the formula's FLOPs take."""
        peak = self.machine.chip.peak.flops(self.config.model.dtype)
        return self.images_per_second * self.flops_per_image / (self.machine.count * (peak or 1.0))

    @property
    def days(self) -> float:
        """Of steps alone: without evaluation, checkpoints and waiting for data."""
        return self.total_steps * self.seconds / 86_400

    @property
    def chip_hours(self) -> float:
        """Days as what is paid for."""
        return self.days * 24 * self.machine.count


def describe(config: ConfigDict, sizes: Mapping[str, int]) -> str:
    """Returns what tells one plan of a recipe from another."""
    mesh = " x ".join(f"{axis} {size}" for axis, size in sizes.items() if size > 1) or "one chip"
    parts = config.train.accumulation_steps
    return (
        f"{mesh}, batch {config.train.batch_size}"
        + (f" in {parts} parts" if parts > 1 else "")
        + f", remat {config.model.remat}"
        + (", scan" if config.model.scan else "")
    )
