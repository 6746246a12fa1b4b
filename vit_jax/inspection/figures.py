# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The figures of a trained model: which family has which, its numbers and its pictures."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from vit_jax.inspection import drawing, features, geometry, mixing, positions, receptive, windows
from vit_jax.inspection.survey import Survey, uniform_distance
from vit_jax.models.mixer import MixerSpec
from vit_jax.models.swin import SwinSpec
from vit_jax.models.vit import ViTSpec
from vit_jax.registry import Registry

UNITS = 128  # of a token-mixing MLP that are drawn


@dataclasses.dataclass(frozen=True)
class Made:
    """What came of a figure: arrays by name, figures by the end of their file's name."""

    numbers: dict[str, np.ndarray]
    pictures: dict[str, Figure]


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of figure.

    Attributes:
        name: as users write it.
        shows: in one line.
        make: draws it.
        lacks: why a model has none, "" if it has.
        needs_pictures: to look at.
    """

    name: str
    shows: str
    make: Callable[[Survey], Made]
    lacks: Callable[[Survey], str]
    needs_pictures: bool = True


FIGURES: Registry[Kind] = Registry("figure")


def _file(
    name: str, shows: str, lacks: Callable[[Survey], str], needs_pictures: bool = True
) -> Callable[[Callable[[Survey], Made]], Callable[[Survey], Made]]:
    """Files a function that makes a figure."""

    def file(make: Callable[[Survey], Made]) -> Callable[[Survey], Made]:
        FIGURES.register(name)(Kind(name, shows, make, lacks, needs_pictures))
        return make

    return file


def _no_attention(survey: Survey) -> str:
    return "" if any(block.heads for block in survey.blocks) else "the model has no attention"


def _not_global(survey: Survey) -> str:
    windowed = any(block.windows for block in survey.blocks)
    return _no_attention(survey) or ("attention in windows has no rollout" if windowed else "")


def _only(kind: type, what: str) -> Callable[[Survey], str]:
    return lambda survey: "" if isinstance(survey.spec, kind) else what


def _pictured(survey: Survey, index: int) -> np.ndarray:
    return drawing.enlarged(survey.shown[index])[0]


def _names(survey: Survey) -> list[str]:
    """Returns what the pictures that are drawn are called: their files, without the ends."""
    return [pathlib.Path(name).stem[:24] for name in survey.pictures.names[: len(survey.shown)]]


def _laid(survey: Survey, tile: np.ndarray, name: str, picture: np.ndarray) -> np.ndarray:
    """Returns a block's map `[h, w, ...]` in the pixels of a picture.

    Tokens at the lower and right border may reach beyond it; a map that is not of tokens (of a
    convolutional network) comes back as it is.
    """
    pixels = {block.name: block.pixels for block in survey.blocks}.get(name)
    if pixels is None:
        return tile
    side = pixels * picture.shape[0] // survey.size[0]
    return tile.repeat(side, 0).repeat(side, 1)[: picture.shape[0], : picture.shape[1]]


@_file("attention", "what a query looks at, by layer and head", _no_attention)
def attention(survey: Survey) -> Made:
    """Attention maps of one query over each picture: a row a layer, a column a head."""
    rows = survey.seen.rows
    most = max(found.shape[1] for found in rows.values())
    asked = "class token" if survey.of_class_token else "the framed token"
    figures = {}
    for index in range(len(survey.shown)):
        picture = _pictured(survey, index)
        drawn = [
            [_attended(survey, block, picture, head) for head in rows[block.name][index]]
            for block in survey.chosen
        ]
        figures[f"_{index + 1}_{_names(survey)[index]}"] = drawing.tiles(
            [[picture], *drawn],
            row_names=["picture", *(_layer(block.name) for block in survey.chosen)],
            column_names=[f"head {head}" for head in range(most)],
            title=f"What {asked} looks at, each map scaled to its largest weight",
        )
    return Made(dict(rows), figures)


def _attended(
    survey: Survey, block: geometry.Block, picture: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Returns a map over the picture, with the query framed where it is on it."""
    seen = drawing.overlay(picture, _laid(survey, weights, block.name, picture))
    if survey.of_class_token:
        return seen
    side = block.pixels * picture.shape[0] // survey.size[0]
    row, column = survey.query(block)
    return drawing.marked(seen, (row * side, column * side), side)


@_file("rollout", "attention multiplied through all layers; the head's own map", _not_global)
def rollout(survey: Survey) -> Made:
    """Attention rollout, and what the class token or MAP head itself looks at."""
    seen = survey.seen
    assert seen.rollout is not None
    numbers = {"rollout": seen.rollout}
    columns = ["picture", "rollout"]
    if seen.last is not None:
        numbers["last"] = seen.last
        columns.append("MAP head" if survey.spec.pool == "map" else "class token")
    rows = []
    for index, _ in enumerate(survey.shown):
        picture = _pictured(survey, index)
        maps = [
            drawing.overlay(picture, _laid(survey, found[index], survey.blocks[-1].name, picture))
            for found in numbers.values()
        ]
        rows.append([picture, *maps])
    title = "Rollout: 0.5 A + 0.5 I, heads averaged, layers multiplied"
    figure = drawing.tiles(
        rows, row_names=_names(survey), column_names=columns, title=title, side=144
    )
    return Made(numbers, {"": figure})


@_file("distance", "how far each head looks, in pixels, against depth", _no_attention)
def distance(survey: Survey) -> Made:
    """Mean attention distance, a point a head."""
    found = survey.seen.distances
    uniform = {block.name: uniform_distance(block) for block in survey.blocks if block.heads}
    title = f"{len(survey.pictures.images)} pictures of {survey.size[0]} x {survey.size[1]} pixels"
    figure = drawing.distances(found, uniform, title)
    return Made(found | {"uniform": np.array(list(uniform.values()))}, {"": figure})


@_file(
    "positions",
    "how alike the positions of patches are",
    _only(ViTSpec, "no table of absolute positions"),
    needs_pictures=False,
)
def position_similarity(survey: Survey) -> Made:
    """Cosine similarity of position embeddings."""
    table = positions.table(survey.spec, survey.run.params, survey.size)
    similar = positions.similarity(table)
    kind = "fixed sines and cosines" if survey.spec.position == "sincos" else "learned"
    title = f"Similarity of positions ({kind})"
    return Made({"similarity": similar}, {"": drawing.positions(similar, title)})


def _no_filters(survey: Survey) -> str:
    kernel = positions.pixel_kernel(survey.spec, survey.run.params)
    return "" if kernel else "no kernel reads the pixels"


@_file(
    "filters", "principal components of the filters that read pixels", _no_filters,
    needs_pictures=False,
)  # fmt: skip
def patch_filters(survey: Survey) -> Made:
    """The first 28 components of the patch embedding, or of a first convolution."""
    found = positions.pixel_kernel(survey.spec, survey.run.params)
    assert found is not None
    path, kernel = found
    components, shares = positions.patch_components(kernel)
    count, total = len(components), shares.sum()
    title = f"First {count} components of {path}\n{total:.0%} of the variance of its filters"
    return Made(
        {"components": components, "shares": shares}, {"": drawing.filters(components, title)}
    )


@_file(
    "bias", "Swin's biases of relative positions, by layer and head",
    _only(SwinSpec, "no relative position bias"), needs_pictures=False,
)  # fmt: skip
def bias_tables(survey: Survey) -> Made:
    """Tables of relative position bias."""
    tables = windows.bias_tables(survey.spec, survey.run.params)
    chosen = {name: tables[name] for name in survey.names}
    rows = [[drawing.signed(head, float(np.abs(t).max())) for head in t] for t in chosen.values()]
    figure = drawing.tiles(
        rows,
        row_names=[_layer(name) for name in chosen],
        column_names=[f"head {i}" for i in range(max(map(len, rows)))],
        title="What is added to the score of a key, seen from a query in the middle\n"
        "red: more, blue: less; each layer to its largest",
    )
    return Made(tables, {"": figure})


@_file(
    "mixing", "what hidden units of a Mixer's token-mixing MLPs read",
    _only(MixerSpec, "no token-mixing MLPs"), needs_pictures=False,
)  # fmt: skip
def token_mixing(survey: Survey) -> Made:
    """Token-mixing weights in pairs of opposed phase, slow pairs first."""
    weights = mixing.token_weights(survey.spec, survey.run.params)
    figures = {}
    for name in survey.names:
        ordered = weights[name][mixing.opposed_pairs(weights[name])]
        title = f"{_layer(name).capitalize()}: weights of hidden units over the patches"
        shown = ordered[:UNITS]
        tile = drawing.mosaic(shown, 16)
        figures[f"_{name}"] = drawing.tiles([[tile]], title=title, side=max(tile.shape[:2]))
    return Made(weights, figures)


@_file("features", "features of places as colours, by layer", lambda survey: "")
def feature_colours(survey: Survey) -> Made:
    """Principal components of features as red, green and blue."""
    found = {
        name: features.colours(maps, survey.foreground)
        for name, maps in survey.seen.features.items()
    }
    rows = []
    for index in range(len(survey.shown)):
        picture = _pictured(survey, index)
        rows.append([picture])
        for name, colours in found.items():
            tile = np.round(255 * colours[index]).astype(np.uint8)
            rows[-1].append(_laid(survey, tile, name, picture))
    figure = drawing.tiles(
        rows,
        row_names=_names(survey),
        column_names=["picture", *map(_layer, found)],
        title="First three principal components of a layer's features, over these pictures",
    )
    return Made(found, {"": figure})


@_file(
    "receptive", "which pixels the middle (or --at) answers to, by layer", lambda survey: "",
    needs_pictures=False,
)  # fmt: skip
def receptive_field(survey: Survey) -> Made:
    """Effective receptive fields over random inputs."""
    return compare_fields({"": survey})


def compare_fields(surveys: Mapping[str, Survey]) -> Made:
    """Effective receptive fields of several models, by name."""
    found = {name: survey.receptive for name, survey in surveys.items()}
    reaches = {
        model: {
            geometry.depth(name) / surveys[model].depth: receptive.spread(field)
            for name, field in fields.items()
        }
        for model, fields in found.items()
    }
    title = "Receptive field of the middle over random inputs (roots of shares)"
    if len(found) == 1:
        columns = [_layer(name) for name in next(iter(found.values()))]
    else:
        columns = []
        title += "\nfrom left to right: what enters the blocks, then the blocks"
    rows = [
        [drawing.heat(np.sqrt(field)) for field in fields.values()] for fields in found.values()
    ]
    pictures = {
        "": drawing.tiles(rows, row_names=list(found), column_names=columns, title=title),
        "_reach": drawing.reaches(reaches),
    }
    numbers = {
        "/".join(filter(None, (model, layer))): field
        for model, fields in found.items()
        for layer, field in fields.items()
    }
    return Made(numbers, pictures)


def _layer(name: str) -> str:
    """Returns "block_03" in words: "block 3"."""
    kind, _, number = name.partition("_")
    return f"{kind} {int(number)}" if number else kind


def choose(names: Sequence[str]) -> list[Kind]:
    """Returns kinds of figures by name, all for none; raises UserError with the near misses."""
    return [FIGURES.get(name) for name in names or FIGURES.names()]
