# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""A scaling study: a recipe and the axes along which it varies; their product is a grid of runs.

A study is a Python file with `get_study(arg=None) -> Study`, like those of `configs/scaling/`. What
an axis is does not matter here: model, data, duration, family and seed are labels that stand for
fields of the configuration, or for arguments of the recipe.
"""

import dataclasses
import itertools
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vit_jax import config as config_lib
from vit_jax.errors import UserError
from vit_jax.registry import near_misses
from vit_jax.scaling.table import COLUMNS, is_number
from vit_jax.studies import runs as runs_lib
from vit_jax.studies.runs import Run

Fields = Mapping[str, Any]
Axes = Mapping[str, Mapping[str, Fields]]  # name -> label -> fields

# Among fields: another recipe, an argument of it, and what the table says in a column of texts.
RECIPE, OF_RECIPE, OF_TABLE = "recipe", "recipe.", "column."
LABELLED = ("family", "model", "seed")  # columns of every table that may be axes
_LONGEST_NAME = 200  # of a folder


@dataclasses.dataclass(frozen=True)
class FewShot:
    """Few-shot classification on the features of every finished run.

    Attributes:
        shots: examples of each class; one of `evaluation.few_shot.SHOTS`.
        source: whose data; "" for the run's own.
        split: what is measured.
        train_split: what is learnt from; "" for the training part.
    """

    shots: int
    source: str = ""
    split: str = "test"
    train_split: str = ""


@dataclasses.dataclass(frozen=True)
class Study:
    """What is asked for.

    Attributes:
        recipe: "FILE.py[:ARGS]" that every run is made by.
        axes: name -> label -> fields of the configuration ("model.name", "data.train_split"),
            arguments of the recipe ("recipe.size") or another "recipe", with their values, and what
            a column of the table says ("column.family"); the last axis is the inner.
        fields: what all runs set, likewise.
        leave_out: points that are not wanted, by some of their labels, each a label or several:
            {"family": "Mixer", "data": ("1%", "3%")}.
        share: the axis of durations along which runs share their beginning (`sharing`); "": none.
        few_shot: measured on every finished run, if any.
        name: what the table calls it; "": the name of its file.
    """

    recipe: str
    axes: Axes
    fields: Fields = dataclasses.field(default_factory=dict)
    leave_out: Sequence[Mapping[str, str | Sequence[str]]] = ()
    share: str = ""
    few_shot: FewShot | None = None
    name: str = ""


@dataclasses.dataclass(frozen=True)
class Point:
    """One run of a study, and one row of its table.

    Attributes:
        run: the run; its labels are axis -> label.
        split: the part of the data that the table speaks of, "test" or "validation".
        texts: what columns of the table say of it: its labels, and what the study adds to them.
    """

    run: Run
    split: str
    texts: Mapping[str, str]


def seeds(count: int) -> dict[str, Fields]:
    """Returns an axis of the seeds 0, 1, ..."""
    return {str(seed): {"seed": seed} for seed in range(count)}


def load(text: str) -> Study:
    """Returns the study of "FILE.py[:ARGS]".

    Raises:
        UserError: there is none, or what it says cannot be.
    """
    found = config_lib.call(text, "get_study", "the study")
    file, _ = config_lib.split_arg(text)
    if not isinstance(found, Study):
        raise UserError(f"{file}: get_study returned {type(found).__name__}, not a Study")
    try:
        _check(found)
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
    return dataclasses.replace(found, name=found.name or pathlib.Path(file).stem)


def _check(study: Study) -> None:
    """Raises UserError for what is wrong with the study itself."""
    kinds = {"recipe": str, "axes": Mapping, "fields": Mapping, "share": str, "name": str}
    for name, kind in kinds.items():
        if not isinstance(getattr(study, name), kind):
            what = "text" if kind is str else "dictionary"
            raise UserError(f"{name}={getattr(study, name)!r} is no {what}")
    if study.few_shot is not None and not isinstance(study.few_shot, FewShot):
        raise UserError(f"few_shot={study.few_shot!r}; write FewShot({study.few_shot!r})")
    _check_axes(study)
    if isinstance(study.leave_out, Mapping):
        raise UserError(f"leave_out={study.leave_out!r} is one choice; write a list of such")
    for choice in study.leave_out:
        check_labels(study.axes, choice, "leave_out")
    if study.share and study.share not in study.axes:
        hint = near_misses(study.share, study.axes) or f"; there are {', '.join(study.axes)}"
        raise UserError(f"share={study.share!r} is no axis{hint}")
    _check_fields(study)


def _check_axes(study: Study) -> None:
    if not study.axes:
        raise UserError("the study has no axes")
    for axis, labels in study.axes.items():
        if not re.fullmatch(r"\w+", axis):
            raise UserError(f"axis {axis!r}: write letters, digits and _")
        if axis in COLUMNS and axis not in LABELLED:
            raise UserError(f"axis {axis!r} is a column of the table; choose another name")
        if not isinstance(labels, Mapping):
            raise UserError(f"axis {axis!r}: {labels!r} is no dictionary of labels")
        if not labels:
            raise UserError(f"axis {axis!r} has no labels")
        for label, fields in labels.items():
            if not isinstance(label, str) or not label or not isinstance(fields, Mapping):
                raise UserError(
                    f"axis {axis!r}: {label!r}: {fields!r} is not a label with its fields; write "
                    "'10%': {'data.train_split': 'train[:10%]'}"
                )


def _check_fields(study: Study) -> None:
    """A field belongs to one axis, or what it is would depend on the order of the axes."""
    owners: dict[str, str] = dict.fromkeys(study.fields, "fields")
    for axis, labels in study.axes.items():
        for field in {field for fields in labels.values() for field in fields}:
            column = field.removeprefix(OF_TABLE) if _of_table(field) else ""
            if is_number(column) or column in study.axes:
                raise UserError(f"axis {axis!r}: {field}: {column!r} is no column of texts to set")
            if field in owners:
                raise UserError(f"{owners[field]!r} and {axis!r} both set {field}; let one do it")
            owners[field] = axis


def check_labels(
    axes: Mapping[str, Iterable[str]], choice: Mapping[str, str | Sequence[str]], what: str
) -> None:
    """Raises UserError if a choice of labels names an axis or a label that there is not."""
    for axis, labels in choice.items():
        if axis not in axes:
            hint = near_misses(str(axis), axes) or f"; there are {', '.join(axes)}"
            raise UserError(f"{what}: there is no axis {axis!r}{hint}")
        for label in as_labels(labels):
            if label not in axes[axis]:
                known = list(axes[axis])
                hint = near_misses(str(label), known) or f"; there are {', '.join(known)}"
                raise UserError(f"{what}: axis {axis!r} has no label {label!r}{hint}")


def as_labels(labels: str | Sequence[str]) -> tuple[str, ...]:
    """Returns one label or several as several."""
    if isinstance(labels, str) or not isinstance(labels, Sequence):
        return (labels,)
    return tuple(labels)


def matches(labels: Mapping[str, str], choice: Mapping[str, str | Sequence[str]]) -> bool:
    """Says whether a point has, on every axis of a choice, one of its labels."""
    return all(labels[axis] in as_labels(wanted) for axis, wanted in choice.items())


def points(study: Study, folder: pathlib.Path, overrides: Sequence[str] = ()) -> list[Point]:
    """Returns the grid, each point with its validated run.

    Args:
        study: as `load` gives it.
        folder: where the runs go.
        overrides: "--config.section.field=value" for every run.

    Raises:
        UserError: a configuration that cannot be, two points that are one run, no data to measure.
    """
    found = []
    for labels in itertools.product(*study.axes.values()):
        named = dict(zip(study.axes, labels, strict=True))
        if not any(matches(named, choice) for choice in study.leave_out):
            found.append(_point(study, folder, named, overrides))
    if not found:
        raise UserError("leave_out leaves no point")
    runs_lib.check([point.run for point in found])
    _check_distinct(found)
    return found


def _point(
    study: Study, folder: pathlib.Path, labels: dict[str, str], overrides: Sequence[str]
) -> Point:
    fields = dict(study.fields)
    for axis, label in labels.items():
        fields |= study.axes[axis][label]
    texts = {k.removeprefix(OF_TABLE): str(fields.pop(k)) for k in tuple(fields) if _of_table(k)}
    texts |= {axis: label for axis, label in labels.items() if not is_number(axis)}
    file, arg = config_lib.split_arg(fields.pop(RECIPE, study.recipe))
    chosen = {k: v for k, v in fields.items() if k.startswith(OF_RECIPE)}
    of_recipe = [f"{k.removeprefix(OF_RECIPE)}={v}" for k, v in chosen.items()]
    args = ",".join([*([arg] if arg else []), *of_recipe])
    # A whole open field, like model.overrides, goes ahead of single keys of it.
    others = sorted(fields.keys() - chosen.keys(), key=lambda k: (k.count("."), k))
    name = ",".join(f"{axis}={label}" for axis, label in labels.items())
    run = Run(
        name=name,
        folder=folder / re.sub(r"[^\w.,=+()-]", "_", name),
        recipe=f"{file}:{args}" if args else file,
        overrides=(*(f"--config.{k}={fields[k]}" for k in others), *overrides),
        labels=labels,
    )
    data = run.config.data
    if not data.test_split and not data.validation_split:
        raise UserError(f"{name}: no data to measure; set data.test_split or data.validation_split")
    return Point(run, "test" if data.test_split else "validation", texts)


def _of_table(field: str) -> bool:
    return field.startswith(OF_TABLE)


def _check_distinct(found: Sequence[Point]) -> None:
    """Every point has a folder of its own, and no two are the same training."""
    folders: dict[pathlib.Path, Point] = {}
    configs: dict[str, Point] = {}
    for point in found:
        run = point.run
        if len(run.folder.name) > _LONGEST_NAME:
            raise UserError(f"{run.name!r} is too long for the name of a folder; shorten labels")
        text = config_lib.to_json(run.config)
        if run.folder in folders:
            raise UserError(f"{folders[run.folder].run.name!r} and {run.name!r} share a folder")
        if text in configs:
            raise UserError(f"{configs[text].run.name!r} and {run.name!r} are the same run")
        folders[run.folder] = configs[text] = point


def select(found: Sequence[Point], axes: Mapping[str, Iterable[str]], only: Sequence[str]) -> list:
    """Returns the points that "axis=label" texts choose; several of one axis are alternatives.

    Raises:
        UserError: an unknown axis or label, or nothing is left.
    """
    choice: dict[str, list[str]] = {}
    for text in only:
        axis, equals, label = text.partition("=")
        if not equals:
            raise UserError(f"--only={text}: write --only axis=label")
        choice.setdefault(axis, []).append(label)
    check_labels(axes, choice, "--only")
    chosen = [point for point in found if matches(point.run.labels, choice)]
    if not chosen:
        raise UserError(f"--only: no point is {' and '.join(only)}")
    return chosen
