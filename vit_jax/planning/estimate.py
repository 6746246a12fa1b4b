# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What a step takes of a chip's memory and what it costs there in time: arithmetic alone."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from vit_jax.parallel.collectives import Collective
from vit_jax.planning.topology import Machine


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes a chip, by what they are for.

    Attributes:
        parameters: as the step takes them.
        optimiser: its state, the gradients it is given, and the average of the parameters.
        batches: those that wait and the one that is computed.
        activations: what the forward pass leaves to the backward pass.
        temporaries: all else: gathered parameters, what operations pass on, the program.
    """

    parameters: int
    optimiser: int
    batches: int
    activations: int
    temporaries: int

    @property
    def total(self) -> int:
        """All together."""
        return sum(dataclasses.astuple(self))


@dataclasses.dataclass(frozen=True)
class Work:
    """What a step asks of one chip.

    Attributes:
        flops: of matrix products and convolutions, recomputed ones included.
        bytes: read from and written to its memory.
        collectives: what it sends to others.
        seconds: by the compiler's own estimate; None without one.
    """

    flops: float
    bytes: float
    collectives: tuple[Collective, ...]
    seconds: float | None = None

    @property
    def sent(self) -> int:
        """Bytes a chip sends in a step."""
        return sum(row.bytes * row.times for row in self.collectives)


@dataclasses.dataclass(frozen=True)
class Floor:
    """Seconds of a step at the data sheet's rates, for each resource alone."""

    compute: float
    memory: float
    interconnect: float

    @property
    def bound(self) -> str:
        """Which takes the longest."""
        times = dataclasses.asdict(self)
        return max(times, key=lambda name: times[name])

    @property
    def best(self) -> float:
        """All at the same time: no step is faster."""
        return max(dataclasses.astuple(self))

    @property
    def worst(self) -> float:
        """One after the other: no overlap at all."""
        return sum(dataclasses.astuple(self))


def floor(work: Work, machine: Machine, sizes: Mapping[str, int], dtype: str) -> Floor:
    """Returns how long a step takes at least.

    Args:
        work: of one chip.
        machine: whose rates count.
        sizes: of the mesh's axes, slowest first.
        dtype: of the matrix products.
    """
    peak = machine.chip.peak.flops(dtype)
    assert peak is not None, machine.chip.name
    return Floor(
        compute=work.flops / peak,
        memory=work.bytes / machine.chip.memory_rate,
        interconnect=sum(
            row.times * _seconds(row, machine, sizes) for row in work.collectives if row.bytes
        ),
    )


def _seconds(row: Collective, machine: Machine, sizes: Mapping[str, int]) -> float:
    """Returns how long a collective takes that uses every way there is.

    In a group that spans slices or nodes the near ones share what goes out: each sends its part.
    """
    members = group(row.axes, sizes)
    count = len(members)
    near = sum(member < machine.near for member in members)
    far = count // near
    whole = row.bytes * count / (count - 1)
    inside = whole * (near - 1) / near / (machine.chip.link_rate * machine.links)
    outside = whole * (far - 1) / far / near / machine.chip.network_rate
    return max(inside, outside)


def group(axes: Sequence[str], sizes: Mapping[str, int]) -> list[int]:
    """Returns the devices that the first one talks to along axes, itself included, in order."""
    ids = np.arange(math.prod(sizes.values())).reshape(tuple(sizes.values()))
    return ids[tuple(slice(None) if axis in axes else 0 for axis in sizes)].ravel().tolist()


def training_collectives(
    parameters: Sequence[tuple[int, int, bool]],
    sizes: Mapping[str, int],
    *,
    tensor_sums: int = 0,
    parts: int = 1,
) -> tuple[Collective, ...]:
    """Returns what a step says at least, without compiling it.

    Parameters that `fsdp` splits are gathered for the forward and for the backward pass, and their
    gradients reduced and scattered; gradients are then summed over `data`, those of whole
    parameters over both. Where `tensor` splits a sum, its parts are added up.

    Args:
        parameters: for each, bytes on a chip of what is gathered and of its gradient; whether
            `fsdp` splits it.
        sizes: of the mesh's axes.
        tensor_sums: bytes of all results that are sums over what `tensor` splits.
        parts: how often a step computes gradients.
    """
    data, fsdp, tensor = (sizes[axis] for axis in ("data", "fsdp", "tensor"))
    split = [sum(row[i] for row in parameters if row[2]) for i in (0, 1)]
    whole = sum(row[1] for row in parameters if not row[2])
    both = tuple(axis for axis in ("data", "fsdp") if sizes[axis] > 1)
    rows = [
        _row("all-gather", ("fsdp",), split[0] * (fsdp - 1), 2 * parts),
        _row("reduce-scatter", ("fsdp",), split[1] * (fsdp - 1), parts),
        _row("all-reduce", ("data",), 2 * split[1] * (data - 1) / data, parts),
        _row("all-reduce", both, 2 * whole * (1 - 1 / (data * fsdp)), parts),
        _row("all-reduce", ("tensor",), 2 * tensor_sums * (tensor - 1) / tensor, 1),
    ]
    return tuple(row for row in rows if row.bytes)


def _row(kind: str, axes: tuple[str, ...], sent: float, times: int) -> Collective:
    return Collective(kind, axes, round(sent), times, ())
