# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""VTAB-1k (arXiv 1910.04867): how well a model transfers to 19 tasks of 1000 examples each.

For every task, settings of learning rate and schedule length are trained on 800 examples and
compared on 200; the best is trained anew on all 1000 and tested once.
"""

import dataclasses
import fnmatch
import itertools
import json
import os
import pathlib
import shutil
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from vit_jax.data import ops as ops_lib
from vit_jax.data.sources import vtab as tasks_lib
from vit_jax.data.sources.tfds import find_builder, open_builder, preparation
from vit_jax.errors import UserError
from vit_jax.models import model_info
from vit_jax.registry import near_misses
from vit_jax.studies import runs as runs_lib
from vit_jax.studies.runs import Outcome, Run
from vit_jax.training import workdir

RECIPE = pathlib.Path(__file__).with_name("vtab_recipe.py")
LEARNING_RATES, STEPS = (0.01, 0.1), (2500, 10_000)
METRIC = "accuracy"

# What a pretraining run may set and fine-tuning does without (ViT paper, appendix B.1.1).
LEFT_BEHIND = ("image_size", "dropout", "drop_path", "pre_logits", "head_bias")


@dataclasses.dataclass(frozen=True)
class Start:
    """The model that every run starts from.

    Attributes:
        source: what `model.init_from` is.
        name: of the model.
        overrides: of its spec.
        ops: what happens to an image.
    """

    source: str
    name: str
    overrides: dict[str, Any]
    ops: str

    def as_overrides(self) -> tuple[str, ...]:
        """Returns what the command line of a run says."""
        return (
            f"--config.model.name={self.name}",
            f"--config.model.overrides={self.overrides!r}",
            f"--config.model.init_from={self.source}",
            f"--config.data.train_ops={self.ops}",
            f"--config.data.eval_ops={self.ops}",
        )


def start_from(source: str, model: str = "", image_size: int = 0) -> Start:
    """Returns how to start from a checkpoint.

    Args:
        source: the workdir of a run, or one step of it; with `model`, weights of that model.
        model: a name that `vit-jax models` lists; "": the run's.
        image_size: side of the images in pixels; 0: the model's own.

    Raises:
        UserError: there is no such run, or no such model.
    """
    if model:
        info = model_info(model)
        size = image_size or info.image_size
        ops_text = _ops(3, size, f"normalise({info.mean}, {info.std})")
        return Start(source, info.name, {}, ops_text)
    folder = pathlib.Path(source).expanduser()
    config = workdir.saved_config(folder)
    if config is None:
        raise UserError(f"--checkpoint={source} is no workdir of a run; for weights add --model")
    overrides = config.model.overrides.to_dict()
    for field in LEFT_BEHIND:
        overrides.pop(field, None)
    ops = ops_lib.parse(config.data.eval_ops)
    ops_text = _ops(ops.channels, image_size or ops.image_size, ops.device_op.spec)
    return Start(os.path.abspath(folder), config.model.name, overrides, ops_text)


def _ops(channels: int, size: int | tuple[int, int], ending: str) -> str:
    """Resized and nothing else, as the protocol has it."""
    return f"decode(channels={channels})|resize({size}, antialias=False)|{ending}"


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is asked for.

    Attributes:
        folder: where runs and tables go.
        start: the model.
        data_dir: where TFDS keeps its data; "" for its default.
        learning_rates, steps: their combinations are the settings that are compared.
        overrides: "--config.section.field=value" for every run.
    """

    folder: pathlib.Path
    start: Start
    data_dir: str = ""
    learning_rates: tuple[float, ...] = LEARNING_RATES
    steps: tuple[int, ...] = STEPS
    overrides: tuple[str, ...] = ()

    def candidates(self, task: str) -> list[Run]:
        """Returns a run a setting, trained on 800 and compared on 200 examples."""
        settings = itertools.product(self.learning_rates, self.steps)
        return [self._run(task, lr, steps) for lr, steps in settings]

    def final(self, task: str, chosen: Run) -> Run:
        """Returns the run on all 1000 examples, by the chosen setting."""
        return self._run(task, float(chosen.labels["lr"]), int(chosen.labels["steps"]), final=True)

    def _run(self, task: str, lr: float, steps: int, final: bool = False) -> Run:
        labels = {"lr": f"{lr:g}", "steps": str(steps)}
        name = ",".join(f"{key}={value}" for key, value in labels.items())
        name = f"final,{name}" if final else name
        data_dir = (f"--config.data.data_dir={self.data_dir}",) if self.data_dir else ()
        return Run(
            name=f"{task}: {name}",
            folder=self.folder / task / name,
            recipe=f"{RECIPE}:task={task},lr={lr:g},steps={steps},final={final}",
            overrides=(*self.start.as_overrides(), *data_dir, *self.overrides),
            labels=labels,
        )


@dataclasses.dataclass(frozen=True)
class Result:
    """What is known of a task.

    Attributes:
        task: its name.
        chosen: the run whose setting was the best on the 200 examples, or None as yet.
        validation, test: accuracies; None where unknown.
        state: of the final run, or of the first that keeps it from being started.
    """

    task: str
    chosen: Run | None
    validation: float | None
    test: float | None
    state: str

    def row(self) -> dict[str, Any]:
        """Returns it as a row of a table."""
        labels = self.chosen.labels if self.chosen else {}
        return {
            "task": self.task,
            "group": tasks_lib.TASKS.get(self.task).group,
            "lr": labels.get("lr"),
            "steps": labels.get("steps"),
            "validation": self.validation,
            "test": self.test,
            "state": self.state,
        }


def check(plan: Plan, tasks: Sequence[str]) -> None:
    """Refuses mistakes in any run before one is started; raises UserError."""
    for task in tasks:
        candidates = plan.candidates(task)
        runs_lib.check([*candidates, *(plan.final(task, chosen) for chosen in candidates)])


def run(plan: Plan, tasks: Sequence[str], say: Callable[[str], None]) -> Iterator[Result]:
    """Yields the result of one task after the other; what has ended is not repeated.

    Raises:
        runs_lib.StoppedError: SIGTERM came.
    """
    for task in tasks:
        candidates = plan.candidates(task)
        # One setting needs no choice: it is trained on the 1000 at once.
        outcomes = list(runs_lib.run_all(candidates, say)) if len(candidates) > 1 else []
        chosen = choose(outcomes) if outcomes else candidates[0]
        if chosen is None:
            state = next(o for o in outcomes if o.state != runs_lib.FINISHED).state
            yield Result(task, None, None, None, state)
            continue
        (final,) = runs_lib.run_all([plan.final(task, chosen)], say)
        compared = (o.metric("validation", METRIC) for o in outcomes if o.run is chosen)
        if final.state == runs_lib.FINISHED:
            _drop_checkpoints(candidates)
        test = final.metric("test", METRIC)
        yield Result(task, chosen, next(compared, None), test, final.state)


def choose(outcomes: Sequence[Outcome]) -> Run | None:
    """Returns the run with the highest validation accuracy, the first of equals.

    A run that diverged counts as the worst. None while one may still finish, or if none did.
    """
    if any(outcome.state not in runs_lib.ENDED for outcome in outcomes):
        return None
    found = [(o.metric("validation", METRIC), o.run) for o in outcomes]
    known = [(value, run) for value, run in found if value is not None]
    return max(known, key=lambda pair: pair[0])[1] if known else None


def _drop_checkpoints(runs: Sequence[Run]) -> None:
    """The parameters of a comparison that is over are of no use, and large."""
    for one in runs:
        shutil.rmtree(one.folder / workdir.CHECKPOINTS, ignore_errors=True)


# --- tasks -----------------------------------------------------------------------------------


def select(text: str) -> list[str]:
    """Returns the tasks that "a,b*,GROUP" names, in the order of the groups; "" is all.

    Raises:
        UserError: a part names nothing.
    """
    names = [n for g in tasks_lib.GROUPS for n in tasks_lib.TASKS.names() if _group(n) == g]
    wanted: set[str] = set()
    for part in filter(None, text.split(",")):
        matching = [n for n in names if part == _group(n) or fnmatch.fnmatch(n, part)]
        if not matching:
            hint = near_misses(part, [*names, *tasks_lib.GROUPS]) or "; vit-jax vtab --list"
            raise UserError(f"--tasks: unknown task or group {part!r}{hint}")
        wanted.update(matching)
    return [name for name in names if name in wanted] if text else names


def _group(task: str) -> str:
    return tasks_lib.TASKS.get(task).group


def missing(task: str, data_dir: str = "") -> str:
    """Returns "" if the data set of a task is prepared, else how to prepare it."""
    data_set = tasks_lib.TASKS.get(task).data_set
    try:
        open_builder(data_set, data_dir or None)
    except UserError as error:
        return str(error) if "convert_format" in str(error) else how_to_prepare(task, data_dir)
    return ""


def how_to_prepare(task: str, data_dir: str = "") -> str:
    """Returns the commands that prepare the data set of a task, and what to fetch by hand."""
    chosen = tasks_lib.TASKS.get(task)
    builder = find_builder(chosen.data_set, data_dir or None)
    root = builder.data_dir_root
    command = preparation(chosen.data_set, root)
    if chosen.needs:
        command = f"pip install {chosen.needs} && {command}"
    by_hand = builder.MANUAL_DOWNLOAD_INSTRUCTIONS
    if by_hand:
        place = pathlib.Path(root) / "downloads" / "manual"
        command += f"\n    by hand, into {place}: {' '.join(by_hand.split())}"
    return command


# --- the table -------------------------------------------------------------------------------


def means(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Returns the mean test accuracy of each group and of all tasks, and over how many tasks.

    The score of VTAB is the mean over all 19.
    """
    rows = []
    for group in (*tasks_lib.GROUPS, "all"):
        members = [n for n in tasks_lib.TASKS.names() if group in (_group(n), "all")]
        known = [r.test for r in results if r.task in members and r.test is not None]
        mean = statistics.fmean(known) if known else None
        rows.append({"group": group, "test": mean, "tasks": f"{len(known)} of {len(members)}"})
    return rows


def text(results: Sequence[Result], layout: str = "simple") -> str:
    """Returns the table of tasks and that of the means."""
    from tabulate import tabulate

    options: dict[str, Any] = {"headers": "keys", "missingval": "-", "tablefmt": layout}
    rows = [result.row() for result in results]
    tables = [tabulate(part, floatfmt=".4f", **options) for part in (rows, means(results))]
    return "\n\n".join(tables)


def write(results: Sequence[Result], folder: pathlib.Path, command: str) -> list[pathlib.Path]:
    """Writes `vtab.md` and `vtab.json`; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "vtab.md", folder / "vtab.json"]
    paths[0].write_text(f"# VTAB-1k\n\n`{command}`\n\n{text(results, 'github')}\n")
    rows = {"command": command, "tasks": [r.row() for r in results], "means": means(results)}
    paths[1].write_text(json.dumps(rows, indent=2) + "\n")
    return paths
