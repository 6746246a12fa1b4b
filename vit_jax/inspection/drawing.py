# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Arrays as figures of the kind the papers have. Nothing is computed here but colours."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import cm, colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from vit_jax import pictures

HEAT, SIGNED = "inferno", "RdBu_r"
MARK = (0, 255, 255)  # the query, in a colour that neither map has

_DPI = 120
_GAP = 4  # pixels between tiles


def heat(weights: np.ndarray, high: float = 0.0) -> np.ndarray:
    """Returns values from 0 to `high` (0 for the largest) as colours, uint8 `[..., 3]`."""
    top = high or float(weights.max())
    return _bytes(colormaps[HEAT](np.asarray(weights, float) / max(top, 1e-30)))


def signed(values: np.ndarray, high: float = 0.0) -> np.ndarray:
    """Returns values from `-high` to `high` as blue to red, uint8 `[..., 3]`."""
    top = high or float(np.abs(values).max())
    return _bytes(colormaps[SIGNED](0.5 + 0.5 * np.asarray(values, float) / max(top, 1e-30)))


def overlay(picture: np.ndarray, weights: np.ndarray, share: float = 0.65) -> np.ndarray:
    """Returns a map in colours over a picture in grey, uint8 `[h, w, 3]`, as large as that."""
    grey = picture.astype(float).mean(axis=-1, keepdims=True)
    coloured = scaled(heat(weights), picture.shape[:2]).astype(float)
    return (share * coloured + (1 - share) * grey).astype(np.uint8)


def scaled(tile: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Returns uint8 `[h, w, 1 or 3]` in another size: larger squares, or averages."""
    rgb = np.broadcast_to(tile, (*tile.shape[:2], 3))
    smaller = size[0] < tile.shape[0]
    how = Image.Resampling.BOX if smaller else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(np.ascontiguousarray(rgb)).resize((size[1], size[0]), how))


def enlarged(picture: np.ndarray, least: int = 96) -> tuple[np.ndarray, int]:
    """Returns a small picture as squares, as many times as large as makes it `least` pixels."""
    times = max(1, -(-least // max(picture.shape[:2])))
    return scaled(picture, (times * picture.shape[0], times * picture.shape[1])), times


def marked(tile: np.ndarray, corner: tuple[int, int], side: int) -> np.ndarray:
    """Returns a tile with a frame around a square, of which the upper left pixel is given."""
    tile = tile.copy()
    (top, left), width = corner, max(1, side // 12, max(tile.shape) // 96)
    width = min(width, max(1, (side - 1) // 2))
    square = tile[top : top + side, left : left + side]
    inside = square[width:-width, width:-width].copy()
    square[:] = MARK
    square[width:-width, width:-width] = inside
    return tile


def tiles(
    rows: Sequence[Sequence[np.ndarray | None]],
    *,
    row_names: Sequence[str] = (),
    column_names: Sequence[str] = (),
    title: str = "",
    side: int = 96,
) -> Figure:
    """Draws small pictures in rows and columns, each as it is in pixels of the figure.

    Args:
        rows: uint8 `[h, w, 1 or 3]` each, or None for none; rows may differ in length.
        row_names, column_names: beside them.
        title: above.
        side: of a tile in pixels of the figure; the longer one.
    """
    with pictures.style({"axes.grid": False}):
        sheet, centres = _sheet(rows, side)
        longest = max((len(name) for name in row_names), default=0)
        margins = _Margins(left=12 + 9 * longest, top=34 if column_names else 12)
        figure, axes = margins.axes(sheet.shape[1], sheet.shape[0], title)
        axes.imshow(sheet, interpolation="nearest")
        axes.set_xticks(centres[1][: len(column_names)], column_names)
        axes.set_yticks(centres[0][: len(row_names)], row_names)
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        return figure


@dataclasses.dataclass(frozen=True)
class _Margins:
    """Room for words around a sheet of pixels, so that a pixel of it is one of the figure."""

    left: int = 12
    right: int = 12
    top: int = 12
    bottom: int = 12

    def axes(self, width: int, height: int, title: str) -> tuple[Figure, Any]:
        """Returns a figure with a title, and axes for a sheet of that size."""
        lines = title.split("\n") if title else []
        across = max(self.left + width + self.right, *(9 * len(line) for line in lines), 0)
        top = self.top + 20 * len(lines)
        down = top + height + self.bottom
        figure = Figure(figsize=(across / _DPI, down / _DPI), dpi=_DPI)
        FigureCanvasAgg(figure)
        figure.text(12 / across, 1 - 8 / down, title, va="top", fontsize=9)
        place = self.left / across, self.bottom / down, width / across, height / down
        return figure, figure.add_axes(place)


def _sheet(
    rows: Sequence[Sequence[np.ndarray | None]], side: int
) -> tuple[np.ndarray, tuple[list[float], list[float]]]:
    """Returns tiles as one picture, and the middles of its rows and columns."""
    shapes = [tile.shape for row in rows for tile in row if tile is not None]
    ratio = max(s[0] for s in shapes) / max(s[1] for s in shapes)
    high, wide = (side, round(side / ratio)) if ratio >= 1 else (round(side * ratio), side)
    columns = max(map(len, rows))
    shape = (len(rows) * (high + _GAP) - _GAP, columns * (wide + _GAP) - _GAP, 3)
    sheet = np.full(shape, 255, np.uint8)
    for i, row in enumerate(rows):
        for j, tile in enumerate(row):
            if tile is not None:
                top, left = i * (high + _GAP), j * (wide + _GAP)
                sheet[top : top + high, left : left + wide] = scaled(tile, (high, wide))
    down = [i * (high + _GAP) + high / 2 for i in range(len(rows))]
    across = [j * (wide + _GAP) + wide / 2 for j in range(columns)]
    return sheet, (down, across)


def mosaic(values: np.ndarray, columns: int = 16, cell: int = 0) -> np.ndarray:
    """Returns signed filters in pairs as one tile, uint8, each scaled alone.

    Args:
        values: `[n, h, w]`; 0 and 1 are a pair, 2 and 3, ...
        columns: filters a row, even.
        cell: pixels a value, 0 for enough to see.
    """
    cell = cell or max(1, 28 // max(values.shape[1:]))
    h, w, gap = cell * values.shape[1], cell * values.shape[2], 10
    lefts = [i * w + i // 2 * gap + i % 2 for i in range(columns)]  # a pair is a pixel apart
    rows = -(-len(values) // columns)
    sheet = np.full((rows * (h + gap) - gap, lefts[-1] + w, 3), 255, np.uint8)
    for i, value in enumerate(values):
        top, left = i // columns * (h + gap), lefts[i % columns]
        sheet[top : top + h, left : left + w] = signed(np.kron(value, np.ones((cell, cell))))
    return sheet


def distances(
    by_block: Mapping[str, np.ndarray], uniform: Mapping[str, float], title: str = ""
) -> Figure:
    """Draws how far every head looks against depth: a point a head.

    Args:
        by_block: block -> `[H]` pixels.
        uniform: block -> what attention to all that a query may see would give.
        title: above.
    """
    with pictures.style():
        figure = Figure(figsize=(5.4, 3.8), dpi=_DPI, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        depths = range(len(by_block))
        for depth, values in zip(depths, by_block.values(), strict=True):
            colours = colormaps["viridis"](np.linspace(0, 0.92, len(values)))
            axes.scatter([depth] * len(values), values, c=colours, s=22, zorder=3)
        means = [float(values.mean()) for values in by_block.values()]
        axes.plot(depths, means, color="0.55", linewidth=1, zorder=2, label="mean of the heads")
        axes.plot(depths, list(uniform.values()), "k:", linewidth=1, label="uniform attention")
        axes.set(xlabel="block", ylabel="mean attention distance (pixels)", title=title)
        highest = max(max(map(np.max, by_block.values())), max(uniform.values()))
        axes.set_ylim(0, 1.1 * float(highest))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="lower right")
        return figure


def positions(similarity: np.ndarray, title: str = "", most: int = 16) -> Figure:
    """Draws the similarity of positions `[h, w, h, w]`: tile (i, j) is position (i, j) to all.

    Of more than `most` rows or columns of tiles, every second, third, ... is drawn.
    """
    step = math.ceil(max(similarity.shape[:2]) / most)
    chosen = similarity[step // 2 :: step, step // 2 :: step]
    scale = Normalize(math.floor(10 * float(chosen.min())) / 10, 1)
    rows = [[_bytes(colormaps["viridis"](scale(tile))) for tile in row] for row in chosen]
    with pictures.style({"axes.grid": False}):
        sheet, centres = _sheet(rows, max(24, 560 // max(chosen.shape[:2])))
        high, wide = sheet.shape[:2]
        figure, axes = _Margins(60, 100, 34, 40).axes(wide, high, title)
        axes.imshow(sheet, interpolation="nearest")
        axes.set_xticks(centres[1], range(step // 2 + 1, similarity.shape[1] + 1, step))
        axes.set_yticks(centres[0], range(step // 2 + 1, similarity.shape[0] + 1, step))
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.set(xlabel="column of the patch", ylabel="row of the patch")
        axes.xaxis.set_label_position("bottom")
        axes.spines[:].set_visible(False)
        box = axes.get_position()
        bar = figure.add_axes((box.x1 + 0.02, box.y0, 0.02, box.height))
        figure.colorbar(cm.ScalarMappable(scale, "viridis"), bar, label="cosine")
        return figure


def filters(components: np.ndarray, title: str = "", columns: int = 7) -> Figure:
    """Draws filters `[n, P, P, C]`, each scaled alone around a middle grey."""
    tops = np.abs(components).max(axis=(1, 2, 3), keepdims=True)
    grey = _bytes(0.5 + 0.5 * components / np.maximum(tops, 1e-30))
    rows = [list(grey[start : start + columns]) for start in range(0, len(grey), columns)]
    return tiles(rows, title=title, side=72)


def reaches(spreads: Mapping[str, Mapping[float, float]]) -> Figure:
    """Draws how far receptive fields reach, against depth: a line a model.

    Args:
        spreads: model -> share of the blocks that are passed -> pixels.
    """
    with pictures.style():
        figure = Figure(figsize=(5.4, 3.8), dpi=_DPI, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        for name, values in spreads.items():
            axes.plot(list(values), list(values.values()), "o-", markersize=3, label=name)
        axes.set(
            xlabel="depth (0: what enters the blocks, 1: what leaves them)",
            ylabel="reach of the receptive field (pixels)",
            title="How far the middle sees",
        )
        axes.set(xlim=(-0.03, 1.03), ylim=(0, 1.1 * max(max(v.values()) for v in spreads.values())))
        if len(spreads) > 1:
            axes.legend()
        return figure


def _bytes(shares: np.ndarray) -> np.ndarray:
    """Returns colours in [0, 1] as uint8, without an alpha channel."""
    return np.round(255 * np.clip(shares[..., :3], 0, 1)).astype(np.uint8)
