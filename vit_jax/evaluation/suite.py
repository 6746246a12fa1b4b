# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Several measures of one model, or the accuracy of several, in one go."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from vit_jax.errors import UserError
from vit_jax.evaluation import classification, few_shot, knn, linear_probe
from vit_jax.evaluation.classification import Question
from vit_jax.evaluation.features import Extractor, Features
from vit_jax.parallel.mesh import create_mesh
from vit_jax.registry import near_misses
from vit_jax.training import trained
from vit_jax.training.compilation import use_cache

EVALUATORS = ("accuracy", "few_shot", "knn", "linear_probe")
WEIGHTS = ("uniform", "validation")

_HELD_OUT = 0.1  # of the training part, where there is no validation part to choose on


def parse(text: str) -> tuple[str, ...]:
    """Returns the evaluators of "accuracy,knn", in the order of `EVALUATORS`.

    Raises:
        UserError: an unknown one, or none.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in EVALUATORS:
            hint = near_misses(name, EVALUATORS) or f"; there are {', '.join(EVALUATORS)}"
            raise UserError(f"--suite: unknown evaluator {name!r}{hint}")
    if not names:
        raise UserError(f"--suite is empty; choose among {', '.join(EVALUATORS)}")
    return tuple(name for name in EVALUATORS if name in names)


def evaluate(
    paths: Sequence[str | os.PathLike],
    question: Question,
    suite: Sequence[str] = ("accuracy",),
    weights: str = "uniform",
    train_split: str = "",
) -> dict[str, Any]:
    """Measures checkpoints on a split.

    Args:
        paths: a workdir or one step each; several are an ensemble.
        question: on what, and how.
        suite: among `EVALUATORS`; those of features take one checkpoint.
        weights: of the checkpoints, "uniform" or "validation": in proportion to their accuracy on
            the validation part of their own data.
        train_split: what the evaluators of features learn from; "" for the training part.

    Returns:
        {"step" (of one) or "checkpoints" and "weights" (of several), "split"}, what
        `classification.evaluate` returns if asked for accuracy, and for each other evaluator its
        name with a list of rows.

    Raises:
        UserError: no usable checkpoint, no such data, or what cannot be measured.
    """
    of_features = [name for name in suite if name != "accuracy"]
    _check(len(paths), question, suite, weights)
    if train_split and not of_features:
        raise UserError("--train-split is for few_shot, knn and linear_probe; add one to --suite")
    use_cache()
    runs = [trained.load(path) for path in paths]
    if len(runs) == 1:
        result: dict[str, Any] = {"step": runs[0].step, "split": question.split}
        shares = [1.0]
    else:
        shares = member_weights(runs, question, weights)
        result = {"checkpoints": len(runs), "weights": shares, "split": question.split}
    if "accuracy" in suite:
        result |= classification.evaluate(runs, question, shares)
    if of_features:
        parts = extract(runs[0], question, train_split or "train")
        measures = {
            "few_shot": lambda: few_shot.evaluate(parts.learn, parts.choose, parts.test),
            "knn": lambda: knn.evaluate(parts.train, parts.test),
            "linear_probe": lambda: [linear_probe.evaluate(parts.learn, parts.choose, parts.test)],
        }
        for name in of_features:
            result[name] = [{**row, "examples": len(parts.test)} for row in measures[name]()]
    return result


def _check(count: int, question: Question, suite: Sequence[str], weights: str) -> None:
    """Raises UserError if some of what was asked for would have no effect."""
    if weights not in WEIGHTS:
        raise UserError(f"--weights={weights!r} must be one of {', '.join(WEIGHTS)}")
    if weights != "uniform" and count == 1:
        raise UserError(f"--weights={weights} is for several checkpoints; there is one")
    if count > 1 and tuple(suite) != ("accuracy",):
        raise UserError(f"{suite[-1]} measures one checkpoint, not {count}; give one")
    if "accuracy" not in suite and (question.labels or question.views):
        option = "labels" if question.labels else "views"
        raise UserError(f"--{option} concerns accuracy alone; add it to --suite")


def member_weights(
    runs: Sequence[trained.Trained], question: Question, weights: str
) -> list[float]:
    """Returns the weight of each member of an ensemble; they add up to one."""
    if weights == "uniform":
        return [1 / len(runs)] * len(runs)
    if not all(run.config.data.validation_split for run in runs):
        raise UserError("--weights=validation: a run has no validation part; use --weights=uniform")
    own = dataclasses.replace(question, split="validation", source="", labels="")
    accuracies = [classification.evaluate([run], own)["accuracy"] for run in runs]
    if not sum(accuracies):
        raise UserError("--weights=validation: no checkpoint gets any validation example right")
    return [accuracy / sum(accuracies) for accuracy in accuracies]


@dataclasses.dataclass(frozen=True)
class Parts:
    """The features that a model's worth is measured with.

    Attributes:
        train: of the training part.
        learn: what of it is learnt from where something is chosen: all, if the run has a validation
            part that is not in question itself; otherwise all but a random tenth.
        choose: of the validation part, or that tenth.
        test: of the split in question.
    """

    train: Features
    learn: Features
    choose: Features
    test: Features


def extract(run: trained.Trained, question: Question, train_split: str = "train") -> Parts:
    """Returns the features of the parts of a run's data, or of other data.

    Args:
        run: the model.
        question: what is measured; other data has no validation part to choose on.
        train_split: what is learnt from.

    Raises:
        UserError: the training part is in question, or differs in its classes.
    """
    if question.split == train_split:
        raise UserError(
            "few_shot, knn and linear_probe learn from the training part: measure another --split"
        )
    extractor = Extractor(run, create_mesh({"data": -1}))

    def features(split: str) -> Features | None:
        source = classification.open_split(run.config, split, question.source, question.data_dir)
        return None if source is None else extractor(source, question.batch_size)

    train, test = features(train_split), extractor(question.open(run.config), question.batch_size)
    if train is None:
        raise UserError("the run has no training part to learn from; name one by --train-split")
    if train.num_classes != test.num_classes:
        raise UserError(
            f"the training part has {train.num_classes} classes, the {question.split} part "
            f"{test.num_classes}; they must be the same"
        )
    other = bool(question.source) or question.split == "validation"
    choose = None if other else features("validation")
    if choose is not None:
        return Parts(train, train, choose, test)
    order = np.random.default_rng(0).permutation(len(train))
    held_out = max(1, round(_HELD_OUT * len(train)))
    return Parts(train, train.take(order[held_out:]), train.take(order[:held_out]), test)


def rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns a result as rows of one table, a measure each."""
    table = []
    if "accuracy" in result:
        table.append({"evaluator": "accuracy", "setting": result["split"]} | _numbers(result))
    for name in EVALUATORS[1:]:
        for row in result.get(name, []):
            setting = next(f"{key} = {row[key]:g}" for key in ("shots", "k", "l2") if key in row)
            table.append({"evaluator": name, "setting": setting} | _numbers(row))
    return table


def _numbers(row: dict[str, Any]) -> dict[str, Any]:
    """Returns the numbers of a row that are no part of its setting."""
    settings = ("shots", "k", "l2", "step", "checkpoints")
    return {
        key: value
        for key, value in row.items()
        if isinstance(value, int | float) and key not in settings
    }
