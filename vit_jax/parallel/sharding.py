# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Where arrays live on a mesh: one short table for the state, one rule for batches.

Models are free of sharding words. Parameters find their place by their path and shape; whatever
the optimiser or the average keeps of a parameter goes where the parameter is, or is split further.
"""

import functools
import math
import re
from typing import Any

import jax
import numpy as np
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec
from tabulate import tabulate

from vit_jax.errors import UserError

Rules = tuple[tuple[str, tuple[str | None, ...]], ...]
Axes = tuple[str | tuple[str, ...] | None, ...]

BATCH_AXES = ("data", "fsdp")

# Tensor parallelism: the end of a parameter's path -> an axis for each of its last dimensions.
# Heads and hidden units are split, so that attention and MLP each need one sum over the axis.
RULES: Rules = (
    (r"(qkv|kv)/kernel", (None, None, "tensor", None)),  # [D, 3, H, K]
    (r"(qkv|kv)/bias", (None, "tensor", None)),
    (r"(q|k|v)/kernel", (None, "tensor", None)),  # [D, H, K]
    (r"(q|k|v)/bias", ("tensor", None)),
    (r"out/kernel", ("tensor", None, None)),  # [H, K, D]
    (r"fc1/kernel", (None, "tensor")),  # [D, M]
    (r"fc1/bias", ("tensor",)),
    (r"fc2/kernel", ("tensor", None)),  # [M, D]
    (r"relative_position_bias", (None, "tensor")),  # [offsets, H]
    (r"(head|head_dist)/kernel", (None, "tensor")),  # [D, C]
    (r"(head|head_dist)/bias", ("tensor",)),
    # Low-rank adapters: of A B, what has the heads or hidden units of the kernel it adds to.
    (r"(qkv|kv)/kernel/b", (None, None, "tensor", None)),  # [3, R, H, K]
    (r"(q|k|v)/kernel/b", (None, "tensor", None)),  # [R, H, K]
    (r"out/kernel/a", ("tensor", None, None)),  # [H, K, R]
    (r"fc1/kernel/b", (None, "tensor")),  # [R, M]
    (r"fc2/kernel/a", ("tensor", None)),  # [M, R]
)

# Arrays up to this many elements stay whole on the fsdp axis: gathering them would cost more than
# the quarter of a MiB they take.
SMALL_ELEMENTS = 2**16


def shardings(
    abstract_tree: Any, mesh: Mesh, rules: Rules = RULES, *, spread_optimiser: bool = False
) -> Any:
    """Returns the tree of NamedShardings for a tree of parameters or a whole TrainState.

    The first rule whose pattern ends a path and whose length fits the shape (after the layer axis
    of scanned blocks) names the axes of the dimensions. Then, of an array of more than
    `SMALL_ELEMENTS`, the largest dimension still free and divisible goes on `fsdp`. An axis whose
    size does not divide its dimension is left out: there the array is replicated.

    Args:
        abstract_tree: arrays or ShapeDtypeStructs. If it has an attribute `params`, leaves
            elsewhere whose path ends in a parameter's path and whose shape is the parameter's
            follow it.
        mesh: axes missing from the mesh count as size 1.
        rules: (pattern, axes) pairs, as `RULES`.
        spread_optimiser: of a TrainState, split what the optimiser and the average keep of large
            arrays over `data` as well (ZeRO stage 1, arXiv 1910.02054, section 5.1): along the
            dimension that is on `fsdp`, else along the largest that is free.
    """
    shapes = {path: leaf.shape for path, leaf in named_leaves(getattr(abstract_tree, "params", {}))}

    def place(key_path: Any, leaf: Any) -> NamedSharding:
        path = path_name(key_path)
        owner = next((tail for tail in _tails(path) if tail in shapes), None)
        fits = owner is None or shapes[owner] == leaf.shape
        axes = _rule_axes(owner or path, leaf.shape, mesh, rules if fits else ())
        axes = _with_fsdp(path, axes, leaf.shape, mesh)
        if spread_optimiser and path.startswith(_SPREAD):
            axes = _with_data(path, axes, leaf.shape, mesh)
        return NamedSharding(mesh, _spec(axes))

    return jax.tree_util.tree_map_with_path(place, abstract_tree)


_SPREAD = ("opt_state/", "ema_params/")  # what of a TrainState only the optimiser reads and writes


def spread(gradients: Any, rules: Rules = RULES) -> Any:
    """Hints that gradients are wanted where a spread optimiser keeps its state.

    So each device sums up its own part alone. Does nothing without a mesh.

    Args:
        gradients: a tree like the parameters'.
        rules: as in `shardings`.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return gradients

    def hint(key_path: Any, leaf: jax.Array) -> jax.Array:
        path = path_name(key_path)
        axes = _with_fsdp(path, _rule_axes(path, leaf.shape, mesh, rules), leaf.shape, mesh)
        return constrain(leaf, *_with_data(path, axes, leaf.shape, mesh))

    return jax.tree_util.tree_map_with_path(hint, gradients)


def table(abstract_tree: Any, places: Any) -> str:
    """Returns a text table: parameter, shape, spec, MiB on each device, and the total."""
    rows, total = [], 0.0
    leaves = zip(named_leaves(abstract_tree), jax.tree.leaves(places), strict=True)
    for (path, leaf), place in leaves:
        elements = math.prod(place.shard_shape(leaf.shape))
        mib = elements * np.dtype(leaf.dtype).itemsize / 2**20
        total += mib
        rows.append((path, "x".join(map(str, leaf.shape)), _spec_text(place.spec), mib))
    rows.append(("total", "", "", total))
    return tabulate(rows, headers=("array", "shape", "spec", "MiB a device"), floatfmt=".2f")


def undivided(abstract_params: Any, places: Any, rules: Rules = RULES) -> list[str]:
    """Returns a line for each size that an axis should split but does not divide.

    Args:
        abstract_params: arrays or ShapeDtypeStructs.
        places: their shardings.
        rules: those that the shardings were made with.
    """
    found: dict[tuple[str, int, int], list[str]] = {}
    leaves = zip(named_leaves(abstract_params), jax.tree.leaves(places), strict=True)
    for (path, leaf), place in leaves:
        sizes = place.mesh.shape
        wanted = zip(_wanted_axes(path, leaf.shape, rules), leaf.shape, strict=True)
        for axis, size in wanted:
            if axis and size % sizes.get(axis, 1):
                found.setdefault((axis, sizes[axis], size), []).append(path)
        if sizes.get("fsdp", 1) > 1 and leaf.size > SMALL_ELEMENTS and "fsdp" not in place.spec:
            found.setdefault(("fsdp", sizes["fsdp"], max(leaf.shape)), []).append(path)
    return [
        f"mesh.{axis}={parts} does not divide {size}: every device has all of {paths[0]}"
        + (f" and {len(paths) - 1} more" if paths[1:] else "")
        for (axis, parts, size), paths in found.items()
    ]


def shard_bytes(tree: Any) -> int:
    """Returns the bytes each device holds of a tree of arrays or ShapeDtypeStructs."""
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * np.dtype(leaf.dtype).itemsize
        for leaf in jax.tree.leaves(tree)
    )


def named_leaves(tree: Any) -> list[tuple[str, Any]]:
    """Returns `(path, leaf)` pairs, paths like `params/block_00/attn/qkv/kernel`."""
    return [(path_name(keys), leaf) for keys, leaf in jax.tree_util.tree_leaves_with_path(tree)]


def path_name(key_path: Any) -> str:
    """Returns a key path of jax.tree_util as names joined by slashes."""
    return jax.tree_util.keystr(key_path, simple=True, separator="/")


def constrain(x: jax.Array, *axes: Any) -> jax.Array:
    """Hints the compiler at the sharding of an activation; returns `x` as it is without a mesh.

    Args:
        x: the activation.
        *axes: what a PartitionSpec is made of.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return x
    return jax.lax.with_sharding_constraint(x, PartitionSpec(*axes))


def keep_rows(x: jax.Array, *, tokens: bool = True, hidden: bool = False) -> jax.Array:
    """Hints that activations stay where they are: rows over data and fsdp, tokens over sequence.

    Without it the compiler may rather move activations than gather a parameter that fsdp splits,
    and keep whole batches on every device: so it does in scanned blocks. Tokens `[B, N, D]` need
    not divide: 197 over 2 devices are 99 and 98. The rows of maps `[B, H, W, D]` are split where
    they divide, and else every device has all of them: windows would straddle devices. Returns `x`
    as it is without a mesh that has the axes of a batch, or if its rows do not divide over them.

    Args:
        x: its first dimension are rows of a batch.
        tokens: whether the second are the tokens, or the rows of the maps, of an image.
        hidden: whether the last are hidden units, which tensor may split.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if not set(BATCH_AXES) <= set(mesh.axis_names) or x.shape[0] % batch_parts(mesh):
        return x
    parts = mesh.shape.get("sequence", 1)
    axes: list[Any] = [BATCH_AXES, *[None] * (x.ndim - 1)]
    if tokens and parts > 1 and (x.shape[1] % parts == 0 or (x.shape[1] > parts and x.ndim == 3)):
        axes[1] = "sequence"
    if hidden:
        axes[-1] = PartitionSpec.UNCONSTRAINED
    return constrain(x, *axes)


def splits_tokens() -> bool:
    """Returns whether the mesh in use, if any, splits the tokens of an image."""
    return jax.sharding.get_abstract_mesh().shape.get("sequence", 1) > 1


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of a batch: rows over data and fsdp, whole over the other axes."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def batch_parts(mesh: Mesh | AbstractMesh) -> int:
    """Returns over how many devices a batch is spread."""
    return math.prod(mesh.shape[axis] for axis in BATCH_AXES)


def check_batch_size(mesh: Mesh, batch_size: int, accumulation_steps: int = 1) -> None:
    """Raises UserError unless every micro-batch gives every device the same number of rows."""
    parts = batch_parts(mesh)
    if batch_size <= 0 or batch_size % (parts * accumulation_steps):
        micro = f" in {accumulation_steps} micro-batches" if accumulation_steps > 1 else ""
        unit = parts * accumulation_steps
        near = max(1, round(batch_size / unit)) * unit
        raise UserError(
            f"batch_size={batch_size} cannot be split{micro} over mesh.data x mesh.fsdp = {parts} "
            f"devices; use a multiple of {unit}, such as {near}"
        )


@functools.lru_cache(maxsize=64)
def local_rows(mesh: Mesh, batch_size: int) -> np.ndarray:
    """Returns the sorted rows of a global batch that this process's devices hold, int64 [n]."""
    check_batch_size(mesh, batch_size)
    slices = batch_sharding(mesh).addressable_devices_indices_map((batch_size,)).values()
    held = np.zeros(batch_size, bool)
    for index in slices:
        held[index] = True
    rows = np.flatnonzero(held)
    rows.flags.writeable = False
    return rows


def put_batch(batch: dict[str, np.ndarray], mesh: Mesh, batch_size: int) -> dict[str, jax.Array]:
    """Turns this process's rows (`local_rows`, in that order) into global arrays on the mesh."""
    rows, place = local_rows(mesh, batch_size), batch_sharding(mesh)

    def put(local: np.ndarray) -> jax.Array:
        local = np.asarray(local)
        if len(local) != len(rows):
            raise ValueError(f"got {len(local)} rows, this process holds {len(rows)}")

        def part(index: tuple[slice, ...] | None) -> np.ndarray:
            assert index is not None
            start, stop, _ = index[0].indices(batch_size)
            first = int(np.searchsorted(rows, start))
            return local[first : first + stop - start]

        return jax.make_array_from_callback((batch_size, *local.shape[1:]), place, part)

    return jax.tree.map(put, batch)


def _tails(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[i:]) for i in range(len(parts))]


def _layer_axes(path: str) -> int:
    """The scanned blocks' subtree is `blocks`: its leaves have a leading layer axis."""
    return int("blocks" in path.split("/"))


def _rule_axes(path: str, shape: tuple[int, ...], mesh: Mesh | AbstractMesh, rules: Rules) -> Axes:
    axes = _wanted_axes(path, shape, rules)
    return tuple(_usable(a, size, mesh) for a, size in zip(axes, shape, strict=True))


def _wanted_axes(path: str, shape: tuple[int, ...], rules: Rules) -> tuple[str | None, ...]:
    """Returns what the first rule that fits says, whether it divides or not."""
    for pattern, axes in rules:
        if re.search(rf"(^|/)({pattern})$", path) and len(axes) + _layer_axes(path) == len(shape):
            return (None,) * _layer_axes(path) + axes
    return (None,) * len(shape)


def _usable(axis: str | None, size: int, mesh: Mesh | AbstractMesh) -> str | None:
    parts = mesh.shape.get(axis, 1)
    return axis if parts > 1 and size % parts == 0 else None


def _with_fsdp(path: str, axes: Axes, shape: tuple[int, ...], mesh: Mesh | AbstractMesh) -> Axes:
    if math.prod(shape) <= SMALL_ELEMENTS or "fsdp" in axes:
        return axes
    return _on_largest_free("fsdp", path, axes, shape, mesh)


def _with_data(path: str, axes: Axes, shape: tuple[int, ...], mesh: Mesh | AbstractMesh) -> Axes:
    if math.prod(shape) <= SMALL_ELEMENTS:
        return axes
    if "fsdp" in axes:
        # The same dimension, so that one reduce-scatter over both axes brings a gradient here.
        i = axes.index("fsdp")
        if _usable("data", shape[i] // mesh.shape["fsdp"], mesh):
            return (*axes[:i], ("fsdp", "data"), *axes[i + 1 :])
    return _on_largest_free("data", path, axes, shape, mesh)


def _on_largest_free(
    axis: str, path: str, axes: Axes, shape: tuple[int, ...], mesh: Mesh | AbstractMesh
) -> Axes:
    free = [
        i
        for i in range(_layer_axes(path), len(shape))
        if axes[i] is None and _usable(axis, shape[i], mesh)
    ]
    if not free:
        return axes
    largest = max(free, key=lambda i: shape[i])
    return (*axes[:largest], axis, *axes[largest + 1 :])


def _spec(axes: Axes) -> PartitionSpec:
    while axes and axes[-1] is None:
        axes = axes[:-1]
    return PartitionSpec(*axes)


def _spec_text(spec: PartitionSpec) -> str:
    names = ["-" if a is None else a if isinstance(a, str) else " x ".join(a) for a in spec]
    return ", ".join(names) or "whole"
