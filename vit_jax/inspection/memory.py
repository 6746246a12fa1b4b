# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What attention maps take of memory: entries, maps and bytes of one image."""

import dataclasses
from typing import Any

from vit_jax.errors import UserError
from vit_jax.inspection.geometry import blocks
from vit_jax.layers.window import Pair
from vit_jax.models import model_info

FLOAT32 = 4  # bytes


@dataclasses.dataclass(frozen=True)
class Maps:
    """Attention maps of one image in one block; the last may be that of a MAP head.

    Attributes:
        name: "block_00", ... or "pool".
        count: one a head and window.
        queries, keys: the sides of a map.
    """

    name: str
    count: int
    queries: int
    keys: int

    @property
    def entries(self) -> int:
        """Entries of all of them."""
        return self.count * self.queries * self.keys


def attention_maps(spec: Any, size: Pair | None = None) -> list[Maps]:
    """Returns the attention maps a model makes of one image of `size`; [] of one without.

    Raises:
        UserError: the patches do not divide the image.
    """
    found = [Maps(b.name, b.maps, b.tokens, b.tokens) for b in blocks(spec, size) if b.heads]
    if found and getattr(spec, "pool", "") == "map":
        found.append(Maps("pool", spec.num_heads, 1, found[-1].keys))
    return found


def attention_bytes(spec: Any, size: Pair | None = None) -> int:
    """Returns the bytes, in float32, of all attention maps of one image, as training keeps them."""
    return FLOAT32 * sum(maps.entries for maps in attention_maps(spec, size))


def pixel_attention_bytes(side: int, layers: int, heads: int) -> int:
    """Returns the bytes of attention over the pixels of a square image: R^4 entries a map.

    R = 128, 48 layers of 16 heads, float32: 128^4 x 48 x 16 x 4 bytes = 768 GiB (825 GB).
    """
    return side**4 * layers * heads * FLOAT32


def row(name: str, size: Pair | None = None) -> dict[str, Any]:
    """Returns what a model's attention maps take, for the table of all of them.

    Raises:
        UserError: the patches do not divide the image.
    """
    spec = model_info(name).spec
    size = size or spec.size
    maps = attention_maps(spec, size)
    now = attention_bytes(spec, size)
    try:
        twice = attention_bytes(spec, (2 * size[0], 2 * size[1]))
    except UserError:  # a convolutional stem may divide the one and not the other
        twice = 0
    largest = max((m.queries * m.keys for m in maps), default=0)
    heads = sum(block.heads for block in blocks(spec, size))
    over_pixels = (size[0] * size[1]) ** 2 * heads * FLOAT32
    return {
        "name": name,
        "image_size": f"{size[0]}x{size[1]}",
        "entries_a_map": largest,
        "maps": sum(m.count for m in maps),
        "mib": round(now / 2**20, 2),
        "side_doubled": round(twice / now, 2) if twice else None,
        "over_pixels_gib": round(over_pixels / 2**30, 1),
    }
