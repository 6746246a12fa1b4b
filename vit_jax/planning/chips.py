# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""How fast chips reach their memory and each other; what they compute and hold is in `devices`."""

import dataclasses

from vit_jax.errors import UserError
from vit_jax.planning.devices import Peak, find_peak
from vit_jax.registry import near_misses


@dataclasses.dataclass(frozen=True)
class Chip:
    """What the makers' data sheets say of one chip; rates in bytes a second.

    Attributes:
        name: as a topology names it.
        device_kind: what JAX calls it.
        memory_rate: of its own memory.
        link_rate: of one link to a neighbour, in one direction; for a GPU all its links together,
            for these end in a switch.
        network_rate: a chip's share of the network that joins slices or nodes, in one direction.
        dimensions: of the torus its slices are cut from; 0 for GPUs.
        node: how many are in one machine.
    """

    name: str
    device_kind: str
    memory_rate: float
    link_rate: float
    network_rate: float
    dimensions: int
    node: int

    @property
    def peak(self) -> Peak:
        """What it computes at most, and the size of its memory."""
        peak = find_peak(self.device_kind)
        assert peak is not None, self.device_kind
        return peak

    @property
    def is_tpu(self) -> bool:
        """Whether it is a TPU, for which a program can be compiled anywhere."""
        return self.dimensions > 0


_G = 1e9

# TPU: cloud.google.com/tpu/docs/v4, /v5e, /v5p, /v6e. Links: the interconnect of a chip in both
# directions together (v4 600, v5e 400, v5p 1200, v6e 800 GB/s), over two directions and six or four
# links. Network: v5p 50 Gbit/s a chip; v5e 6.4 and v6e 25.6 Tbit/s a pod of 256; v4, of which none
# is given, as v5e. NVIDIA: NVLink of the product in one direction (A100 600, H100 and H200 900,
# B200 1800 GB/s in both); network: DGX systems, one adapter a GPU (A100 200, others 400 Gbit/s).
CHIPS = {
    chip.name: chip
    for chip in (
        Chip("v4", "TPU v4", 1228 * _G, 50 * _G, 3.125 * _G, 3, 4),
        Chip("v5e", "TPU v5 lite", 819 * _G, 50 * _G, 3.125 * _G, 2, 8),
        Chip("v5p", "TPU v5", 2765 * _G, 100 * _G, 6.25 * _G, 3, 4),
        Chip("v6e", "TPU v6 lite", 1640 * _G, 100 * _G, 12.5 * _G, 2, 8),
        Chip("a100", "NVIDIA A100-SXM4-80GB", 2039 * _G, 300 * _G, 25 * _G, 0, 8),
        Chip("h100", "NVIDIA H100 80GB HBM3", 3350 * _G, 450 * _G, 50 * _G, 0, 8),
        Chip("h200", "NVIDIA H200", 4800 * _G, 450 * _G, 50 * _G, 0, 8),
        Chip("b200", "NVIDIA B200", 8000 * _G, 900 * _G, 50 * _G, 0, 8),
    )
}


def find(name: str) -> Chip:
    """Returns a chip by its name; raises UserError with the near misses."""
    if name not in CHIPS:
        hint = near_misses(name, CHIPS) or f"; known: {', '.join(CHIPS)}"
        raise UserError(f"--topology: unknown chip {name!r}{hint}")
    return CHIPS[name]
