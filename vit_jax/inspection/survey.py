# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""A trained model and pictures, looked into once for all figures."""

import dataclasses
import functools
import os
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from vit_jax.data.tensorflow import import_tensorflow
from vit_jax.errors import UserError
from vit_jax.inspection import attention, geometry, look, receptive, windows
from vit_jax.inspection.geometry import Block
from vit_jax.layers.window import Pair
from vit_jax.paths import shown
from vit_jax.training.trained import Trained

SHOWN = 8  # pictures that are drawn; all of them count in means
LAYERS = 12  # drawn at most, unless more are asked for
NOISE_IMAGES = 16  # random inputs of receptive fields
NOISE_BATCH = 8


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Pictures as a model takes them.

    Attributes:
        images: uint8 `[B, H, W, C]`.
        names: of the files.
        failures: (file, why it cannot be read).
    """

    images: np.ndarray
    names: tuple[str, ...]
    failures: tuple[tuple[str, str], ...] = ()


def no_pictures(run: Trained) -> Pictures:
    """Returns none, for figures that need none."""
    return Pictures(np.zeros((0, *run.ops.image_size, run.ops.channels), np.uint8), ())


def read_pictures(run: Trained, paths: Sequence[str | os.PathLike]) -> Pictures:
    """Reads and preprocesses image files as the model is evaluated."""
    tf = import_tensorflow()
    images, names, failures = [], [], []
    for path in paths:
        try:
            with open(path, "rb") as file:
                content = tf.constant(file.read())
            images.append(run.ops.host({"image": content})["image"].numpy())
            names.append(shown(path))
        except tf.errors.InvalidArgumentError:
            failures.append((shown(path), "not an image that can be decoded"))
        except OSError as error:
            failures.append((shown(path), error.strerror or str(error)))
    stacked = np.stack(images) if images else no_pictures(run).images
    return Pictures(stacked, tuple(names), tuple(failures))


@dataclasses.dataclass(frozen=True)
class Seen:
    """What the pictures showed; block by block where it says so, else `None` where there is none.

    Attributes:
        rows: what the query looks at, `[B, H, h, w]` a chosen block; the first `SHOWN` pictures.
        rollout: how much of each patch is in what the head reads, `[B, h, w]`.
        last: what the head reads itself: class token's last map, or MAP head's, `[B, h, w]`.
        distances: `[H]` pixels a block, over all pictures.
        features: `[B, h, w, D]` a chosen block.
    """

    rows: dict[str, np.ndarray]
    rollout: np.ndarray | None
    last: np.ndarray | None
    distances: dict[str, np.ndarray]
    features: dict[str, np.ndarray]


class Survey:
    """What the figures of a model are made from; pictures go through it one at a time.

    Args:
        run: the model.
        pictures: may be none.
        layers: numbers of blocks that are drawn; () for `LAYERS` of them at most, evenly spread.
        at: (y, x) of the pixel whose token is the query; None for the class token, or without one
            the middle.
        foreground: leave the background out of the colours of features.

    Raises:
        UserError: no such layer, or a pixel outside of the picture.
    """

    def __init__(
        self,
        run: Trained,
        pictures: Pictures,
        layers: Sequence[int] = (),
        at: Pair | None = None,
        foreground: bool = False,
    ):
        self.run, self.pictures = run, pictures
        self.spec = run.model.spec
        self.size = run.ops.image_size
        self.blocks = geometry.blocks(self.spec, self.size)
        self.names = self._choose(layers)
        self.at, self.foreground = at, foreground
        for value, side, name in zip(at or (), self.size, ("row", "column"), strict=False):
            if not 0 <= value < side:
                raise UserError(f"--at: {name} {value} is outside of {side} pixels")

    @functools.cached_property
    def variables(self) -> dict[str, Any]:
        return {"params": self.run.params, **self.run.model_state}

    @functools.cached_property
    def depth(self) -> int:
        """The number of blocks."""
        if self.blocks:
            return len(self.blocks)
        images = jax.ShapeDtypeStruct((1, *self.size, self.run.ops.channels), np.float32)
        apply = functools.partial(self.run.model.apply, train=False, features=True)
        _, found = jax.eval_shape(apply, self.variables, images)
        return sum(name.startswith("block_") for name in found)

    def _choose(self, layers: Sequence[int]) -> tuple[str, ...]:
        wrong = [layer for layer in layers if not 0 <= layer < self.depth]
        if wrong:
            raise UserError(f"--layers: no layer {wrong[0]}; the model has 0 to {self.depth - 1}")
        spread = np.unique(np.linspace(0, self.depth - 1, min(LAYERS, self.depth)).round())
        return tuple(f"block_{int(layer):02d}" for layer in sorted(set(layers)) or spread)

    @property
    def chosen(self) -> tuple[Block, ...]:
        """The geometry of the blocks that are drawn."""
        return tuple(block for block in self.blocks if block.name in self.names)

    @property
    def of_class_token(self) -> bool:
        """Whether the query is the class token."""
        return self.at is None and getattr(self.spec, "has_class_token", False)

    @property
    def shares(self) -> tuple[float, float]:
        """The query's place as shares of height and width."""
        at = self.at or (self.size[0] // 2, self.size[1] // 2)
        return (at[0] + 0.5) / self.size[0], (at[1] + 0.5) / self.size[1]

    def query(self, block: Block) -> Pair:
        """Returns the query as a place of a block's map."""
        at = self.at or (self.size[0] // 2, self.size[1] // 2)
        return block.token_at(at)

    @functools.cached_property
    def shown(self) -> np.ndarray:
        """The pictures that are drawn, uint8 `[B, H, W, C]`."""
        return self.pictures.images[:SHOWN]

    @functools.cached_property
    def seen(self) -> Seen:
        """Looks at every picture."""
        rows: dict[str, list] = {block.name: [] for block in self.chosen if block.heads}
        distances: dict[str, list] = {block.name: [] for block in self.blocks if block.heads}
        features: dict[str, list] = {name: [] for name in self.names}
        rollouts, lasts = [], []
        for index, image in enumerate(self.pictures.images):
            inside = self._look(image)
            for block in self.blocks:
                if block.heads:
                    distances[block.name].append(mean_distance(inside.maps[block.name], block))
            if index >= SHOWN:
                continue
            for name, found in features.items():
                found.append(inside.feature_map(name)[0])
            for block in self.chosen:
                if block.heads:
                    rows[block.name].append(self._row(inside, block))
            if self.blocks and self.blocks[0].heads and self.blocks[0].windows is None:
                rollouts.append(
                    attention.rollout_of_answer(self.spec, inside.maps, self.blocks[0])[0]
                )
                if self.spec.pool != "gap":
                    lasts.append(self._last(inside))
        return Seen(
            rows={name: np.stack(found) for name, found in rows.items()},
            rollout=np.stack(rollouts) if rollouts else None,
            last=np.stack(lasts) if lasts else None,
            distances={name: np.mean(found, axis=0) for name, found in distances.items()},
            features={name: np.stack(found) for name, found in features.items()},
        )

    def _look(self, image: np.ndarray) -> look.Inside:
        images = self.run.ops.device(jax.numpy.asarray(image[None]))
        return look.collect(self.run.model, self.run.params, images, self.run.model_state)

    def _row(self, inside: look.Inside, block: Block) -> np.ndarray:
        """Returns what the query looks at, `[H, h, w]`."""
        maps = inside.maps[block.name]
        if block.windows is not None:
            return windows.on_image(maps, block, self.query(block))[0]
        row, column = self.query(block)
        token = 0 if self.of_class_token else block.prefix + row * block.grid[1] + column
        return attention.over_picture(maps[0, :, token], block)

    def _last(self, inside: look.Inside) -> np.ndarray:
        """Returns what the class token or the MAP head itself looks at, `[h, w]`."""
        block = self.blocks[-1]
        maps = inside.maps["pool" if self.spec.pool == "map" else block.name]
        return attention.over_picture(maps[0, :, 0].mean(axis=0), block)

    @functools.cached_property
    def receptive(self) -> dict[str, np.ndarray]:
        """The receptive fields of the stem and the chosen blocks, over random inputs."""
        noise = np.random.default_rng(0).normal(
            size=(NOISE_IMAGES, *self.size, self.run.ops.channels)
        )
        names = ("stem", *self.names)
        found = [
            receptive.of_model(self.run.model, self.variables, batch, self.shares, names, seed)
            for seed, batch in enumerate(
                np.split(noise.astype(np.float32), NOISE_IMAGES // NOISE_BATCH)
            )
        ]
        return {name: np.mean([fields[name] for fields in found], axis=0) for name in names}


def mean_distance(maps: np.ndarray, block: Block) -> np.ndarray:
    """Returns `[H]` pixels, in windows or not."""
    measure = attention.mean_distance if block.windows is None else windows.mean_distance
    return measure(maps, block)


def uniform_distance(block: Block) -> float:
    """Returns the mean distance, in pixels, of attention that is the same everywhere it may be."""
    if block.windows is None:
        return float(mean_distance(np.ones((1, 1, block.tokens, block.tokens)), block)[0])
    count = block.maps // block.heads
    maps = np.ones((1, count, 1, block.tokens, block.tokens), np.float32)
    return float(mean_distance(maps * windows.allowed(block)[None, :, None], block)[0])
