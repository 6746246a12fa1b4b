# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Model soups (arXiv 2203.05482): one model whose parameters are the average of several's.

It costs no more than one of them to run. The runs have to be fine-tuned from the same parameters:
the averages of others mean nothing.
"""

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from vit_jax.errors import UserError
from vit_jax.evaluation import classification
from vit_jax.evaluation.classification import Question
from vit_jax.training import trained
from vit_jax.training.compilation import use_cache

Variables = tuple[Any, Any]
"""(params, model_state)."""


@dataclasses.dataclass(frozen=True)
class Soup:
    """A sum of parameters, in float64.

    Attributes:
        total: (params, model_state), summed; None for nothing.
        count: how many were added.
    """

    total: Variables | None = None
    count: int = 0

    def add(self, variables: Variables) -> "Soup":
        """Returns the soup with one ingredient more."""
        exact = jax.tree.map(lambda x: np.asarray(x, np.float64), variables)
        total = exact if self.total is None else jax.tree.map(np.add, self.total, exact)
        return Soup(total, self.count + 1)

    def average(self, like: Variables) -> Variables:
        """Returns the mean of the ingredients, in the dtypes of `like`."""
        return jax.tree.map(
            lambda x, one: (x / self.count).astype(np.asarray(one).dtype), self.total, like
        )


def uniform(paths: Sequence[str | os.PathLike]) -> tuple[trained.Trained, Variables]:
    """Returns the first of the runs, and the average of all."""
    runs = _load(paths)
    first = next(runs)
    soup = Soup().add(_variables(first))
    for run in runs:
        soup = soup.add(_variables(run))
    return first, soup.average(_variables(first))


@dataclasses.dataclass(frozen=True)
class Tasted:
    """What a greedy soup is made of.

    Attributes:
        run: the best of the runs.
        variables: of the soup.
        accuracy: of the soup, on the validation part.
        accuracies: of each run alone.
        chosen: whether each run is in the soup.
    """

    run: trained.Trained
    variables: Variables
    accuracy: float
    accuracies: list[float]
    chosen: list[bool]


def greedy(paths: Sequence[str | os.PathLike], question: Question) -> Tasted:
    """Adds run after run, the best first, and keeps each that does not make the soup worse.

    Args:
        paths: of the runs.
        question: on what accuracy is measured: a validation part.
    """
    measure: Callable[[Sequence[Variables]], dict[str, Any]] | None = None
    accuracies = []
    for run in _load(paths):
        if not run.config.data.validation_split:
            raise UserError("the runs have no validation part to taste on; leave out --greedy")
        measure = measure or classification.measurer([run], question)
        accuracies.append(measure([_variables(run)])["accuracy"])
    assert measure is not None
    order = sorted(range(len(paths)), key=lambda i: -accuracies[i])
    chosen = [False] * len(paths)
    best = trained.load(paths[order[0]])
    soup, accuracy = Soup(), 0.0
    for index in order:
        larger = soup.add(_variables(trained.load(paths[index])))
        found = measure([larger.average(_variables(best))])["accuracy"]
        if found >= accuracy:
            soup, accuracy, chosen[index] = larger, found, True
    return Tasted(best, soup.average(_variables(best)), accuracy, accuracies, chosen)


def make(
    paths: Sequence[str | os.PathLike],
    target: str | os.PathLike,
    *,
    tasting: bool = False,
    question: Question | None = None,
) -> list[dict[str, Any]]:
    """Writes a soup of runs as a checkpoint.

    Args:
        paths: workdirs or steps, at least two.
        target: the folder it goes to; must not exist.
        tasting: greedy instead of uniform.
        question: on what a greedy soup is tasted; None for the validation part of the first run.

    Returns:
        {"checkpoint", "in soup"} and, of a greedy soup, "accuracy", for each run and the soup.

    Raises:
        UserError: unlike models, fewer than two, no validation part, or an existing target.
    """
    if len(paths) < 2:
        raise UserError("a soup needs at least two runs; name more")
    trained.check_new(target)
    use_cache()
    if tasting:
        tasted = greedy(paths, question or Question(split="validation"))
        run, variables, chosen = tasted.run, tasted.variables, tasted.chosen
        metrics = {"accuracy": tasted.accuracy}
    else:
        run, variables = uniform(paths)
        chosen, metrics = [True] * len(paths), {}
    params, model_state = variables
    trained.save(
        target,
        params=params,
        model_state=model_state,
        config=run.config,
        class_names=run.class_names,
        ops=run.ops,
        metrics=metrics,
    )
    rows = [
        {"checkpoint": os.fspath(path), "in soup": "yes" if taken else "no"}
        for path, taken in zip(paths, chosen, strict=True)
    ]
    rows.append({"checkpoint": os.fspath(target), "in soup": "is it"})
    if tasting:
        known = [*tasted.accuracies, tasted.accuracy]
        rows = [row | {"accuracy": value} for row, value in zip(rows, known, strict=True)]
    return rows


def _variables(run: trained.Trained) -> Variables:
    return run.params, run.model_state


def _load(paths: Sequence[str | os.PathLike]) -> Iterator[trained.Trained]:
    """Yields runs one after the other; raises UserError at one unlike the first."""
    first = None
    for path in paths:
        run = trained.load(path)
        if first is None:
            first = dataclasses.replace(run, params=None, model_state=None)
        for name in ("model", "class_names", "ops"):
            if getattr(run, name) != getattr(first, name):
                what = {"class_names": "classes", "ops": "preprocessing"}.get(name, name)
                raise UserError(
                    f"{path} has another {what} than {paths[0]}: a soup takes runs of one model "
                    "on the same data"
                )
        yield run
