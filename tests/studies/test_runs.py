# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Runs of a study: processes that fail alone, outcomes read from files, nothing done twice."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest
import tiny_runs

from vit_jax import config as config_lib
from vit_jax.errors import UserError
from vit_jax.studies import runs
from vit_jax.studies.runs import (
    DIVERGED,
    ELSEWHERE,
    FAILED,
    FINISHED,
    INTERRUPTED,
    NEW,
    WAITS,
    Run,
)

# Stands in for `vit-jax train`: a process that writes what a run writes, in a fraction of a second.
SCRIPT = textwrap.dedent(
    """
    import json, os, pathlib, signal, sys, time
    kind, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    (folder / "starts").open("a").write("x")
    def line(**values):
        with (folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(values) + "\\n")
    line(step=1, split="train", loss=2.0, nonfinite_streak=10 if kind == "diverges" else 0)
    if kind == "waits":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
        print("waiting", flush=True)
        time.sleep(60)
    if kind == "diverges":
        sys.exit("vit-jax: error: no finite gradient")
    if kind == "fails":
        print("vit-jax: error: there is no folder /nowhere\\nlast words")
        sys.exit(2)
    if kind == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    for step, accuracy in ((1, 0.25), (2, 0.75)):
        line(step=step, split="validation", accuracy=accuracy)
    line(step=2, split="test", accuracy=0.5)
    """
)


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Returns a maker of runs; the name is what the run does."""

    def command(self):
        return [sys.executable, "-c", SCRIPT, self.name.partition(" ")[0], str(self.folder)]

    monkeypatch.setattr(Run, "command", command)

    def run(name, *overrides):
        return Run(name, tmp_path / name, tiny_runs.RECIPE, overrides, {"name": name})

    return run


def starts(run):
    return len((run.folder / "starts").read_text())


def test_each_ends_for_itself_and_none_ends_the_others(make):
    every = [make(name) for name in ("fails", "diverges", "dies", "works")]
    said: list[str] = []
    found = list(runs.run_all(every, said.append))
    assert [outcome.state for outcome in found] == [FAILED, DIVERGED, FAILED, FINISHED]
    assert found[0].reason == "there is no folder /nowhere"
    assert found[1].reason == "no finite gradient"
    assert found[2].reason.startswith("ended by signal 9 (Killed); see ")
    assert found[3].metric("validation", "accuracy") == 0.75
    assert found[3].metric("test", "accuracy") == 0.5
    assert found[3].metric("test", "loss") is None
    assert found[0].metric("train", "loss") is None, "a run that failed has no result"
    assert found[3].seconds > 0
    assert said[0] == "[1/4] fails: starts"
    assert any(text.startswith("[1/4] fails: failed after ") for text in said)
    assert said[-1].startswith("[4/4] works: finished after ")
    assert said[-1].endswith("validation accuracy 0.7500")


def test_what_has_ended_is_not_repeated_and_what_failed_is(make):
    every = [make(name) for name in ("fails", "diverges", "works")]
    for _ in range(2):
        states = [outcome.state for outcome in runs.run_all(every, lambda _: None)]
        assert states == [FAILED, DIVERGED, FINISHED]
    assert [starts(run) for run in every] == [2, 1, 1]


def test_what_is_not_ready_waits(make):
    """It is asked ahead of each start, while its folder is locked, and never once it has ended."""
    every = [make("works"), make("works too")]
    asked, said = [], []

    def prepare(run):
        asked.append(run.name)
        assert runs.inspect(run).state == ELSEWHERE, "nobody else may start it now"
        return "" if run is every[0] else "waits for rain"

    for _ in range(2):
        found = [outcome.state for outcome in runs.run_all(every, said.append, prepare)]
        assert found == [FINISHED, WAITS]
    assert asked == ["works", "works too", "works too"]
    assert said[-1] == "[2/2] works too: waits for rain"
    assert not (every[1].folder / "starts").exists()


def test_what_goes_on_elsewhere_is_come_back_to(make, monkeypatch):
    """Also what waits for it; if the other process dies, its run is trained here."""
    monkeypatch.setattr(runs, "_WAIT_SECONDS", 0.05)
    trunk, branch, other = every = [make(name) for name in ("works", "works too", "works 3")]
    trunk.folder.mkdir()
    theirs = contextlib.ExitStack()
    assert theirs.enter_context(runs.locked(trunk.folder)) is not None
    said: list[str] = []

    def say(text):
        said.append(text)
        if "works 3: finished" in text:
            threading.Timer(0.3, theirs.close).start()

    def prepare(run):
        done = runs.inspect(trunk).state == FINISHED
        return "" if run is not branch or done else "waits for works"

    found = list(runs.run_all(every, say, prepare, wait_for_others=True))
    assert [(o.run, o.state) for o in found] == [
        (other, FINISHED),
        (trunk, FINISHED),
        (branch, FINISHED),
    ]
    assert said[:2] == ["[1/3] works: runs elsewhere", "[2/3] works too: waits for works"]
    assert sum("elsewhere" in text or "waits" in text for text in said) == 2, "each said once"


def test_what_waits_for_a_failure_is_given_up(make):
    every = [make("fails"), make("works")]

    def prepare(run):
        return "" if run is every[0] else "waits for fails"

    found = runs.run_all(every, lambda _: None, prepare, wait_for_others=True)
    assert [outcome.state for outcome in found] == [FAILED, WAITS]


def test_a_killed_study_forgets_little_of_the_time(make, monkeypatch):
    """What a run has taken is noted while it goes on, not only at its end."""
    monkeypatch.setattr(runs, "_NOTE_SECONDS", 0.0)
    run, noted = make("waits"), []

    def stopping():
        noted.append(json.loads((run.folder / runs.RECORD).read_text()))
        return noted[-1]["seconds"] > 0.4

    with pytest.raises(runs.StoppedError):
        runs.execute(run, lambda _: None, stopping=stopping)
    assert [record["status"] for record in noted] == [None] * len(noted)


def test_another_configuration_is_not_finished(make):
    assert runs.execute(make("works"), lambda _: None).state == FINISHED
    longer = make("works", "--config.train.duration=90 steps")
    assert runs.inspect(longer).state == INTERRUPTED
    assert runs.execute(longer, lambda _: None).state == FINISHED
    assert starts(longer) == 2


def test_before_the_first_start_there_is_nothing(make):
    outcome = runs.inspect(make("works"))
    assert (outcome.state, dict(outcome.results), outcome.seconds) == (NEW, {}, 0.0)


def test_sigterm_stops_the_run_which_saves(make):
    """It goes to the process of the run as well; the study is told by an exception."""
    run = make("waits")
    script = textwrap.dedent(
        f"""
        import os, pathlib, signal, time
        output = pathlib.Path({str(run.folder / runs.OUTPUT)!r})
        while not output.exists() or "waiting" not in output.read_text():
            time.sleep(0.01)
        os.kill({os.getpid()}, signal.SIGTERM)
        """
    )
    killer = subprocess.Popen([sys.executable, "-c", script])
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(runs.StoppedError):
        list(runs.run_all([run], lambda _: None))
    assert killer.wait(30) == 0
    assert signal.getsignal(signal.SIGTERM) is before
    assert json.loads((run.folder / runs.RECORD).read_text())["status"] == 75
    assert runs.inspect(run).state == INTERRUPTED


def test_a_run_of_another_study_is_left_to_it(make, tmp_path):
    """Even if that study has died: its run holds the folder as long as it lives."""
    run = make("waits")
    script = (
        "import pathlib, sys; from vit_jax.studies.runs import Run, execute\n"
        f"Run.command = lambda self: [sys.executable, '-c', {SCRIPT!r}, 'waits', "
        "str(self.folder)]\n"
        f"execute(Run('waits', pathlib.Path({str(run.folder)!r}), {tiny_runs.RECIPE!r}))"
    )
    study = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (run.folder / "starts").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    study.kill()
    study.wait()
    assert [outcome.state for outcome in runs.run_all([run], lambda _: None)] == [ELSEWHERE]
    assert starts(run) == 1
    _end_child_of(run)
    assert runs.inspect(run).state == INTERRUPTED


def _end_child_of(run):
    """Ends the stand-in, found by the folder it was told."""
    found = [
        int(path.parent.name)
        for path in _command_lines()
        if str(run.folder).encode() in path.read_bytes() and b"waits" in path.read_bytes()
    ]
    assert len(found) == 1
    os.kill(found[0], signal.SIGKILL)
    deadline = time.monotonic() + 30
    while runs.inspect(run).state == ELSEWHERE and time.monotonic() < deadline:
        time.sleep(0.02)


def _command_lines():
    return [path for path in pathlib.Path("/proc").glob("[0-9]*/cmdline") if path.exists()]


def test_a_mistake_names_the_run(make):
    with pytest.raises(UserError, match=r"^works: train\.batch_size: 'many' is not of type int"):
        runs.check([make("fails"), make("works", "--config.train.batch_size=many")])


def test_a_folder_with_another_run_is_refused(make):
    run = make("works")
    runs.execute(run, lambda _: None)
    (run.folder / "checkpoints" / "00000001").mkdir(parents=True)
    config_lib.save(run.config, run.folder / "config.json")
    runs.check([run])
    with pytest.raises(UserError, match="holds a run with seed=0, not 1"):
        runs.check([make("works", "--config.seed=1")])
    with pytest.raises(UserError, match=r"learning_rate=.*would not come to the same"):
        runs.check([make("works", "--config.optimiser.learning_rate=0.5")])


def test_what_was_asked_for_counts_not_what_memory_chose(make):
    """A run with memory=auto may have taken its batches in parts: so it would again."""
    run = make("works", "--config.memory=auto")
    runs.execute(run, lambda _: None)
    (run.folder / "checkpoints" / "00000001").mkdir(parents=True)
    parts = {"train.accumulation_steps": 2}
    config_lib.save(config_lib.with_fields(run.config, parts), run.folder / "config.json")
    runs.check([run])
    with pytest.raises(UserError, match="accumulation_steps=1, not 2"):
        runs.check([make("works", "--config.train.accumulation_steps=2")])


def test_what_changes_no_result_may_change(make):
    run = make("works")
    runs.execute(run, lambda _: None)
    (run.folder / "checkpoints" / "00000001").mkdir(parents=True)
    config_lib.save(run.config, run.folder / "config.json")
    names = ("log.every_steps=7", "memory=auto", "checkpoint.keep_at=('1 steps',)", "mesh.fsdp=2")
    other = make("works", *(f"--config.{name}" for name in names))
    runs.check([other])
    assert runs.inspect(other).state == FINISHED


def test_the_command_is_the_users():
    run = Run("a", pathlib.Path("DIR/a"), "recipe.py:x=1", ("--config.seed=1",))
    assert run.command()[1:] == [
        "-m", "vit_jax", "train", "--config=recipe.py:x=1", "--workdir=DIR/a", "--config.seed=1",
    ]  # fmt: skip
