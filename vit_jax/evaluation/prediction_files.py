# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Predictions of many image files as one table on disk; a killed run goes on where it stopped.

Parts of some thousand images lie beside the table until it is whole: `FILE.parts/`.
"""

import collections
import dataclasses
import glob
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from etils import epath

from vit_jax.data.sources.folder import EXTENSIONS
from vit_jax.errors import UserError
from vit_jax.evaluation.prediction import Predictor, likeliest
from vit_jax.evaluation.prediction_formats import WRITERS, Part, import_parquet
from vit_jax.paths import shown
from vit_jax.registry import near_misses
from vit_jax.training.integrity import write_whole

PART_IMAGES = 2048  # lost at most when a run is killed: seconds of work
WITH_FEATURES = (".npz", ".parquet")


def find_images(names: Sequence[str]) -> tuple[list[str], dict[str, int]]:
    """Returns the image files that names mean, each once, and what was left out of folders.

    Args:
        names: files; folders, searched to the bottom for endings of pictures; patterns such as
            `photos/**/*.jpg`.

    Returns:
        The paths, sorted within each name; and how many other files there are, by their ending.

    Raises:
        UserError: a folder without pictures, a pattern that nothing matches.
    """
    found: dict[str, None] = {}
    left_out: collections.Counter[str] = collections.Counter()
    for name in names:
        if os.path.isdir(name):
            files = sorted(_below(name))
            paths = [path for path in files if path.lower().endswith(EXTENSIONS)]
            others = set(files) - set(paths)
            left_out.update(os.path.splitext(path)[1].lower() or "no ending" for path in others)
            missing = f"holds no pictures ({' '.join(EXTENSIONS)})"
        elif not os.path.lexists(name) and glob.has_magic(name):
            paths = sorted(path for path in glob.glob(name, recursive=True) if os.path.isfile(path))
            missing = "matches no file"
        else:  # if it cannot be read, that is told beside its name
            paths = [name]
        if not paths:
            raise UserError(f"{name!r} {missing}")
        found.update(dict.fromkeys(paths))
    return list(found), dict(left_out)


def _below(folder: str) -> Iterator[str]:
    """Yields the files below a folder but for hidden ones; follows links, ends in loops."""
    seen = set()
    for directory, subfolders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(directory)
        subfolders[:] = [] if real in seen else [s for s in subfolders if not s.startswith(".")]
        if real not in seen:
            yield from (os.path.join(directory, f) for f in files if not f.startswith("."))
        seen.add(real)


@dataclasses.dataclass(frozen=True)
class Table:
    """What becomes of the answers.

    Attributes:
        target: the file, whose ending names the format.
        top: how many classes of each image; 0 for all.
        features: whether it holds features too.
    """

    target: pathlib.Path
    top: int = 0
    features: bool = False

    def __post_init__(self) -> None:
        ending = self.target.suffix
        if ending not in WRITERS:
            hint = near_misses(ending, WRITERS) or f"; known endings: {', '.join(WRITERS)}"
            raise UserError(f"--to={self.target}: cannot write {ending or 'without ending'}{hint}")
        if self.features and ending not in WITH_FEATURES:
            raise UserError(f"--features needs --to=FILE{' or --to=FILE'.join(WITH_FEATURES)}")
        if ending == ".npz" and self.top:
            raise UserError("an .npz file holds the probabilities of all classes: leave out --top")
        if ending == ".parquet":
            import_parquet()

    @property
    def parts(self) -> pathlib.Path:
        """The folder of the parts, which exists while the table is not whole."""
        return self.target.with_name(f"{self.target.name}.parts")


def predict_to_file(
    predictor: Predictor,
    paths: Sequence[str],
    table: Table,
    progress: Callable[[int], Any] = lambda count: None,
) -> list[tuple[str, str]]:
    """Predicts image files into a table, which appears when it is whole.

    The same call after a kill computes what is missing; the table is that of an unbroken run.

    Args:
        predictor: made with the same `features` as the table.
        paths: of the images, one row each.
        table: where and what.
        progress: told how many further images are done.

    Returns:
        (path, reason) of the images that could not be read.

    Raises:
        UserError: the table exists, or parts of another table lie there.
    """
    _claim(predictor, paths, table)
    starts = range(0, len(paths), PART_IMAGES)
    for start in starts:
        names = paths[start : start + PART_IMAGES]
        path = table.parts / f"{start:09d}.npz"
        if not path.exists():
            _write_part(predictor, names, table, path)
        progress(len(names))
    failures: list[tuple[str, str]] = []

    def parts() -> Iterator[Part]:
        for start in starts:
            names = paths[start : start + PART_IMAGES]
            with np.load(table.parts / f"{start:09d}.npz") as arrays:
                part = Part(images=np.array([shown(name) for name in names]), **arrays)
            failures.extend((n, e) for n, e in zip(names, part.errors.tolist(), strict=True) if e)
            yield part

    draft = table.parts / f"whole{table.target.suffix}"
    WRITERS[table.target.suffix](draft, parts(), predictor.class_names, not table.top)
    draft.replace(table.target)
    shutil.rmtree(table.parts)
    return failures


def _claim(predictor: Predictor, paths: Sequence[str], table: Table) -> None:
    """Makes the folder of parts, or makes sure that it is of this very table."""
    content = json.dumps([list(map(shown, paths)), table.top, table.features, PART_IMAGES])
    text = f"{predictor.fingerprint} {hashlib.sha256(content.encode()).hexdigest()}"
    job = table.parts / "job.json"
    if job.exists():
        if json.loads(job.read_text()) != {"job": text}:
            raise UserError(
                f"{table.parts} holds parts of another command (other images, options or "
                "parameters): delete it to begin anew, or choose another --to"
            )
        return
    if table.target.exists():
        raise UserError(f"{table.target} exists already; choose another name")
    table.parts.mkdir(parents=True, exist_ok=True)
    write_whole(epath.Path(job), {"job": text})


def _write_part(
    predictor: Predictor, names: Sequence[str], table: Table, path: pathlib.Path
) -> None:
    answers = predictor.predict_paths(names)
    best = likeliest(answers.probabilities, table.top or len(predictor.class_names))
    failed = np.array([bool(error) for error in answers.errors])
    draft = path.with_suffix(".draft")
    with open(draft, "wb") as file:
        np.savez(
            file,
            allow_pickle=False,
            errors=np.array(answers.errors),
            classes=np.where(failed[:, None], -1, best).astype(np.int32),
            probabilities=np.take_along_axis(answers.probabilities, best, axis=-1),
            features=answers.features,
        )
    draft.replace(path)
