# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""A study is carried out: nothing twice, all of it in one table, whatever interrupts it."""

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import threading
import time

import jax
import numpy as np
import pytest

from vit_jax import cli, exits
from vit_jax.data import ops
from vit_jax.errors import UserError
from vit_jax.models import create_model, init_params
from vit_jax.scaling import execution, sharing, study, table
from vit_jax.scaling.cost import Costs
from vit_jax.scaling.study import FewShot
from vit_jax.studies import runs
from vit_jax.studies.runs import Run

TINY = str(pathlib.Path(__file__).with_name("tiny_study.py"))

# Stands in for `vit-jax train`: writes what a run writes; one of the runs stops the study, once.
SCRIPT = textwrap.dedent(
    """
    import json, os, pathlib, signal, sys, time
    folder, name, steps = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    (folder / "starts").open("a").write("x")
    started = sys.argv[4:] and (folder.parent.parent / sys.argv[4])
    if started and name == "width=16,duration=12 steps,seed=1" and not started.exists():
        started.write_text("")
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
        os.kill(os.getppid(), signal.SIGTERM)
        time.sleep(60)
    if name == "width=32,duration=18 steps,seed=1":
        print("vit-jax: error: no such folder")
        sys.exit(2)
    for split in ("validation", "test"):
        value = {"validation": 0.5, "test": 1 / steps + name.count("seed=1")}[split]
        line = {"step": steps, "split": split, "accuracy": value, "loss": 1 + value}
        with (folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\\n")
    for step in (3, 6, 9):
        kept = folder / "checkpoints" / f"{step:08d}"
        kept.mkdir(parents=True, exist_ok=True)
        (kept / "checksums.json").write_text("{}")
    """
)


@pytest.fixture(scope="module")
def counted():
    """What has been counted once."""
    return Costs()


@pytest.fixture(autouse=True)
def quick(monkeypatch, counted):
    """Counts every model once, not once a plan."""
    monkeypatch.setattr(execution, "Costs", lambda: counted)


@pytest.fixture
def stand_in(monkeypatch):
    """Makes runs processes of a moment; returns what names a file that stops a study once."""

    def use(*once):
        def command(self):
            steps = self.config.train.duration.split()[0]
            return [sys.executable, "-c", SCRIPT, str(self.folder), self.name, steps, *once]

        monkeypatch.setattr(Run, "command", command)

    use()
    return use


def make(folder, **changes):
    return execution.Plan(dataclasses.replace(study.load(TINY), **changes), folder)


def complete(plan, groups=None):
    """Carries out a study; returns the outcomes' states by name, and what was said."""
    said: list[str] = []
    found = execution.run(plan, groups or plan.groups, said.append)
    return {outcome.run.name: outcome.state for outcome in found}, "\n".join(said)


def rows_without_times(folder):
    """The rows of a written table, NaN as None, without what depends on the machine."""
    rows = [row | {"seconds": None} for row in table.read(folder).rows()]
    return [{k: None if v != v else v for k, v in row.items()} for row in rows]


def starts(plan):
    return [len(file.read_text()) for file in sorted(plan.folder.glob("*/starts"))]


def test_every_point_is_a_row(tmp_path, stand_in):
    """What is not trained, and what failed, as well; the numbers are those of the model itself."""
    plan = make(tmp_path)
    states, said = complete(plan)
    assert list(states.values()).count(runs.FINISHED) == 9
    assert states["width=32,duration=18 steps,seed=1"] == runs.FAILED
    assert "[10/10] width=32,duration=18 steps,seed=1: starts" in said
    found = table.read(tmp_path)
    assert found.column("run").tolist() == [p.run.folder.name for p in plan.points]
    row = next(found.where(width="32", duration="18 steps", seed=0).rows())
    config = plan.points[-2].run.config
    model = create_model(config.model.name, 10, image_size=8, **config.model.overrides.to_dict())
    shapes = jax.eval_shape(lambda: init_params(model, jax.random.key(0), channels=1))
    assert row["parameters"] == sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert ops.parse(config.data.eval_ops).image_size == (8, 8)
    n, d, m, tokens = 10, 32, 64, 5  # classes, width, mlp, patches and the class token
    block = tokens * (2 * 4 * d * d + 2 * 2 * d * m) + 2 * 2 * tokens * tokens * d
    assert row["forward_flops"] == block + 4 * 2 * 16 * d + 2 * d * n
    assert row["images_seen"] == 18 * 32
    assert row["flops"] == 3 * row["forward_flops"] * row["images_seen"]
    assert (row["examples"], row["steps"], row["split"]) == (1077, 18, "test")
    assert (row["accuracy"], row["error"]) == (1 / 18, 1 - 1 / 18)
    assert row["loss"] == 1 + 1 / 18
    assert (row["study"], row["family"], row["state"]) == ("tiny_study", "vit", "finished")
    failed = next(found.where(state="failed").rows())
    assert failed["seed"] == 1
    assert np.isnan([failed[name] for name in ("loss", "accuracy", "error", "few_shot")]).all()


def test_interrupted_and_resumed_it_leaves_the_same_table(tmp_path, stand_in):
    whole = make(tmp_path / "whole")
    complete(whole)
    stand_in("stopped")
    plan = make(tmp_path / "parts")
    with pytest.raises(runs.StoppedError):
        complete(plan)
    before = rows_without_times(plan.folder)
    assert {row["state"] for row in before} == {"finished", "new"}
    assert (tmp_path / "stopped").exists()
    complete(make(tmp_path / "parts"))
    assert rows_without_times(plan.folder) == rows_without_times(whole.folder)
    counts = starts(plan)
    assert sorted(counts) == [1] * 9 + [2], "the one that was stopped started twice"
    complete(make(tmp_path / "parts"))
    assert sorted(starts(plan)) == [1] * 8 + [2, 2], "what failed is tried again, nothing else"


def test_tasks_of_an_array_share_the_study(tmp_path, stand_in):
    plan = make(tmp_path)
    shares = [execution.share_out(plan.groups, index, 3) for index in range(3)]
    names = [{b.point.run.name for g in share for b in g.members} for share in shares]
    assert sum(map(len, names)) == 10
    assert set().union(*names) == {point.run.name for point in plan.points}
    for share in reversed(shares):
        complete(make(tmp_path), share)
    assert list(table.read(tmp_path).column("state")).count("finished") == 9
    assert set(starts(plan)) == {1}
    with pytest.raises(UserError, match="--array=3/3: write a number from 0 to 2 of 3"):
        execution.share_out(plan.groups, 3, 3)


def test_shared_steps_are_spent_once(tmp_path, stand_in):
    plan = make(tmp_path)
    complete(plan)
    total, planned = plan.flops(plan.groups)
    ends = {"16": plan.points[0], "32": plan.points[-1]}
    step = {width: 3 * 32 * plan.cost(point).forward_flops for width, point in ends.items()}
    assert total == 2 * (6 + 12 + 18) * step["16"] + (6 + 12 + 18 + 18) * step["32"]
    assert total - planned == 2 * (3 + 6) * step["16"] + (3 + 6) * step["32"]
    spent, seconds = plan.spent()
    assert spent == planned - 18 * step["32"], "one has failed"
    outcomes = [runs.inspect(point.run) for point in plan.points]
    assert seconds == sum(o.seconds for o in outcomes if o.state == runs.FINISHED)


def test_few_shot_accuracy_is_measured_once(tmp_path, stand_in, monkeypatch):
    measured = [{"shots": 5, "accuracy": 0.25}, {"shots": 10, "accuracy": 0.5}]
    answer = {"step": 1, "few_shot": measured}
    asked = []

    def evaluate(command, **_):
        asked.append(command[3:])
        if "seed=1" in command[4]:
            return subprocess.CompletedProcess(command, 2, "", "vit-jax: error: too few\n")
        return subprocess.CompletedProcess(command, 0, f"hello\n{json.dumps(answer)}", "")

    monkeypatch.setattr(subprocess, "run", evaluate)
    plan = make(tmp_path, few_shot=FewShot(10, source="folder:other", train_split="train"))
    only = [plan.groups[0].only([plan.groups[0].trunk.run.name]), plan.groups[1]]
    _, said = complete(plan, only)
    assert len(asked) == 4
    assert asked[0] == [
        "evaluate",
        f"--checkpoint={plan.groups[0].trunk.run.folder}",
        "--suite=few_shot",
        "--source=folder:other",
        "--split=test",
        "--train-split=train",
        "--json",
    ]
    assert "10-shot accuracy 0.5000" in said
    assert "few-shot accuracy is missing: too few" in said
    assert sorted(x for x in table.read(tmp_path).column("few_shot") if x == x) == [0.5]
    names = [group.trunk.run.name for group in plan.groups[:2]]
    assert [plan.lacks_few_shot([name]) for name in names] == [False, True]
    complete(plan, only)
    assert len(asked) == 7, "what is missing is measured again"
    plan = make(tmp_path, few_shot=FewShot(5, source="folder:other", train_split="train"))
    assert [row["few_shot"] for row in plan.rows() if row["few_shot"]] == [0.25]
    with pytest.raises(UserError, match="shots=3 is none of 1, 5, 10, 25"):
        make(tmp_path, few_shot=FewShot(3))


def test_what_another_process_measures_is_waited_for(tmp_path, stand_in, monkeypatch):
    """Its folder is locked meanwhile; then there is nothing left to do."""
    asked = FewShot(5)
    plan = make(tmp_path, few_shot=asked)
    run = plan.groups[-1].trunk.run
    run.folder.mkdir(parents=True)
    kept = {"asked": dataclasses.asdict(asked), "rows": [{"shots": 5, "accuracy": 0.75}]}
    theirs = contextlib.ExitStack()
    assert theirs.enter_context(runs.locked(run.folder)) is not None

    def end():
        (run.folder / execution.FEW_SHOT).write_text(json.dumps(kept))
        theirs.close()

    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("measured twice"))
    threading.Timer(0.3, end).start()
    execution._measure_few_shot(run, asked, print)
    assert plan.row(plan.groups[-1].trunk)["few_shot"] == 0.75


def test_the_command_says_what_a_study_takes(tmp_path, capsys, monkeypatch):
    options = ["scaling", "run", TINY, f"--workdir={tmp_path}"]
    assert cli.main([*options, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "10 points, " in printed
    assert "FLOPs to spend, as shared steps are trained once" in printed
    assert cli.main([*options, "--dry-run", "--only", "duration=6 steps", "--only=width=32"]) == 0
    assert "2 points, " in capsys.readouterr().out, "the trunk comes along"
    assert cli.main([*options, "--list", "--config.seed=3"]) == exits.USER_ERROR
    assert "are the same run" in capsys.readouterr().err
    assert cli.main([*options, "--list", "--only=duration=6 steps"]) == 0
    jobs = capsys.readouterr().out.splitlines()
    assert len(jobs) == 3
    assert jobs[1] == (
        f"vit-jax scaling run {TINY} --workdir={tmp_path} '--only=duration=6 steps' --array=1/3"
    )
    for name, value in {"ID": "1", "COUNT": "2", "MAX": "1"}.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    assert cli.main([*options, "--dry-run"]) == 0
    assert "4 points, " in capsys.readouterr().out
    monkeypatch.setenv("SLURM_ARRAY_TASK_MAX", "2")
    assert cli.main([*options, "--dry-run"]) == exits.USER_ERROR
    assert "submit it with --array=0-1" in capsys.readouterr().err
    assert cli.main([*options, "--dry-run", "--array=x"]) == exits.USER_ERROR
    assert "write INDEX/COUNT, like 0/8" in capsys.readouterr().err
    assert not list(tmp_path.iterdir()), "nothing was trained or written"


def test_the_command_trains_and_says_what_was_spent(tmp_path, capsys, stand_in):
    options = ["scaling", "run", TINY, f"--workdir={tmp_path}"]
    assert cli.main(options) == exits.FAILED
    printed = capsys.readouterr().out
    assert "9 finished, 1 failed" in printed
    assert "spent on finished runs, shared steps once: " in printed
    assert str(tmp_path / "table.csv") in printed
    assert cli.main([*options, "--only=width=16"]) == exits.DONE


@pytest.mark.slow
def test_a_study_that_is_killed_goes_on_to_the_same_table(tmp_path):
    """Really trained, by the command: killed twice without a warning and stopped once."""
    command = [sys.executable, "-m", "vit_jax", "scaling", "run", TINY, "--only=width=16"]

    def start(folder):
        return subprocess.Popen([*command, f"--workdir={folder}"], start_new_session=True)

    assert start(tmp_path / "whole").wait() == exits.DONE
    rng = np.random.default_rng()
    for how in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        process = start(tmp_path / "parts")
        time.sleep(rng.uniform(10, 30))
        os.kill(process.pid, how)
        process.wait()
    plan = make(tmp_path / "parts")
    assert start(tmp_path / "parts").wait() == exits.DONE
    chosen = [
        [row for row in rows_without_times(tmp_path / name) if row["width"] == "16"]
        for name in ("parts", "whole")
    ]
    assert chosen[0] == chosen[1]
    assert {row["state"] for row in chosen[0]} == {"finished"}
    begun = [sharing.beginning(point.run.folder).step for point in plan.points[:6]]
    assert begun == [3, 3, 6, 6, 0, 0]
