# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""TPU VMs: the worker's script as it is, the rest beside a stand-in for gcloud."""

import pathlib
import shlex
import shutil
import subprocess
import sys
import tarfile
import time

import pytest

from vit_jax import exits

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from scripts import AGAIN, COMMAND, LAUNCH, NEVER_AGAIN, program, run, with_programs

TPU = ("--name=d", "--zone=z", "--type=v6e-16")

# Answers to `describe` and to `status` come from files, a line each time, the last one for ever.
GCLOUD = """
echo "$*" >> LOG
next() { head -n 1 "$1"; [ "$(wc -l < "$1")" -le 1 ] || sed -i 1d "$1"; }
case "$*" in
  *describe*) next STATES ;;
  *" status"*) next STATUSES | tr ';' '\\n' ;;
  *" create "*) next CREATES | grep -q ok ;;
esac
"""


def gcloud(folder, states=("READY",), statuses=("vit_jax: ended 0",), creates=("ok",)):
    text = GCLOUD
    for name, lines in (("STATES", states), ("STATUSES", statuses), ("CREATES", creates)):
        (folder / name).write_text("\n".join(lines) + "\n")
        text = text.replace(name, str(folder / name))
    program(folder, "gcloud", text.replace("LOG", str(folder / "log")))


def babysit(folder, *options):
    """Returns the status and what gcloud was asked for: create, delete, start, in their order."""
    environ = with_programs(folder, TMPDIR=str(folder))
    result = run("tpu_vm.sh", "babysit", *TPU, "--poll=0", *options, *COMMAND, env=environ)
    wanted = ("create", "delete", "scp", "start")
    calls = (folder / "log").read_text().splitlines()
    seen = [word for line in calls for word in wanted if f" {word} " in f" {line} "]
    return result, seen


NEW = ["delete", "create", "scp", "start"]


@pytest.mark.parametrize("code", NEVER_AGAIN)
def test_babysitting_ends_with_the_command(code, tmp_path):
    running, ended = "vit_jax: running;vit_jax: ended 0", f"vit_jax: ended {code};vit_jax: ended 0"
    gcloud(tmp_path, ["GONE", "READY"], [running, running, ended])
    result, seen = babysit(tmp_path)
    assert (result.returncode, seen) == (code, NEW)
    assert "delete d when you are done" in result.stderr


@pytest.mark.parametrize("code", AGAIN)
def test_the_command_starts_again_on_the_same_machine(code, tmp_path):
    stopped = f"vit_jax: ended 0;vit_jax: ended {code}"
    gcloud(tmp_path, ["GONE", "READY"], [stopped, "vit_jax: running", "vit_jax: ended 0"])
    result, seen = babysit(tmp_path)
    assert (result.returncode, seen) == (0, [*NEW, "scp", "start"])


def test_a_preempted_machine_is_replaced(tmp_path):
    gcloud(
        tmp_path,
        ["GONE", "READY", "PREEMPTED", "READY"],
        ["vit_jax: running"] + ["vit_jax: ended 0"],
    )
    result, seen = babysit(tmp_path)
    assert (result.returncode, seen) == (0, [*NEW, *NEW])


def test_no_capacity_is_asked_for_again(tmp_path):
    gcloud(tmp_path, ["GONE", "GONE", "GONE", "READY"], creates=["no", "no", "ok"])
    result, seen = babysit(tmp_path)
    assert (result.returncode, seen) == (0, ["delete", "create"] * 2 + NEW)


def test_it_takes_over_what_runs(tmp_path):
    gcloud(tmp_path, statuses=["vit_jax: running", "vit_jax: ended 0"])
    result, seen = babysit(tmp_path)
    assert (result.returncode, seen) == (0, [])


def test_an_earlier_commands_end_is_not_this_ones(tmp_path):
    gcloud(tmp_path, statuses=["vit_jax: ended 1", "vit_jax: ended 0"])
    result, seen = babysit(tmp_path)
    assert (result.returncode, seen) == (0, ["scp", "start"])


def test_silence_is_a_lost_machine(tmp_path):
    silent = ["vit_jax: running"] + ["ssh: no route"] * 10 + ["vit_jax: ended 0"]
    gcloud(tmp_path, statuses=silent)
    result, seen = babysit(tmp_path)
    assert (result.returncode, seen) == (0, NEW)


def test_it_gives_up(tmp_path):
    gcloud(tmp_path, statuses=["vit_jax: ended 137"])
    result, seen = babysit(tmp_path, "--restarts=2")
    assert (result.returncode, seen.count("start")) == (1, 3)
    assert "gave up after 3 starts" in result.stderr


def test_a_queue_is_waited_for(tmp_path):
    gcloud(tmp_path, ["WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE"])
    options = ("create", *TPU, "--queued", "--poll=0")
    result = run("tpu_vm.sh", *options, env=with_programs(tmp_path))
    assert result.returncode == 0
    assert (tmp_path / "log").read_text().count("describe") == 3
    gcloud(tmp_path, ["PROVISIONING", "FAILED"])
    result = run("tpu_vm.sh", *options, env=with_programs(tmp_path))
    assert result.returncode == 1
    assert "d is FAILED" in result.stderr


def test_the_tree_arrives_whole_and_the_command_word_by_word(tmp_path):
    gcloud(tmp_path)
    environ = with_programs(tmp_path, TMPDIR=str(tmp_path))
    assert run("tpu_vm.sh", "sync", *TPU, env=environ).returncode == 0
    with tarfile.open(tmp_path / "vit_jax-d.tgz") as archive:
        names = set(archive.getnames())
    assert {"launch/tpu_worker.sh", "vit_jax/cli.py", "pyproject.toml", "constraints.txt"} <= names
    assert not any(name.startswith((".git/", "workdirs/", ".venv/")) for name in names)

    words = ["vit-jax", "train", "--config.train.duration='2 epochs'", '$x `y` \\ "']
    run("tpu_vm.sh", "run", *TPU, "--", *words, env=environ, check=True)
    line = (tmp_path / "log").read_text().splitlines()[-1]
    remote = line.partition("--command=")[2]
    assert shlex.split(remote) == ["vit_jax/launch/tpu_worker.sh", "start", *words]


@pytest.fixture
def worker(tmp_path):
    """Returns a function that runs the worker's script; what it started is ended afterwards."""
    environ = {"VIT_JAX_RUN": str(tmp_path / "a.run"), "TMUX_TMPDIR": str(tmp_path)}

    def call(*arguments):
        return run("tpu_worker.sh", *arguments, env=environ)

    yield call
    call("stop")
    subprocess.run(["tmux", "kill-server"], env={"TMUX_TMPDIR": str(tmp_path)}, check=False)


def wait_for(worker, status):
    for _ in range(300):
        if worker("status").stdout.strip() == status:
            return
        time.sleep(0.1)
    raise AssertionError(f"{worker('status').stdout!r} is not {status!r}")


@pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux, as on every TPU VM")
def test_a_worker_runs_stops_and_tells(worker, tmp_path):
    wait_for(worker, "vit_jax: idle")
    code = "trap 'exit 75' TERM; printf '<%s>' \"$0\"; while :; do sleep 0.1; done"
    assert worker("start", "bash", "-c", code, "a 'b' $c").returncode == 0
    wait_for(worker, "vit_jax: running")
    assert worker("start", "true").returncode == 1
    while "<a" not in (tmp_path / "a.run" / "log").read_text():
        time.sleep(0.1)
    worker("stop")
    wait_for(worker, "vit_jax: ended 75")
    assert "<a 'b' $c>" in (tmp_path / "a.run" / "log").read_text()
    worker("start", "bash", "-c", "exit 3")
    wait_for(worker, "vit_jax: ended 3")
    worker("start", "sh", "-c", "sleep 100")
    wait_for(worker, "vit_jax: running")
    while not (tmp_path / "a.run" / "pid").exists():
        time.sleep(0.1)
    worker("stop")
    wait_for(worker, "vit_jax: ended 143")


def test_the_readme_says_what_the_scripts_do():
    """One table, which the tests of the scripts hold them to."""
    assert f"\n\n{exits.markdown()}\n\n" in (LAUNCH / "README.md").read_text()
