# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The batch script beside stand-ins for SLURM's programs; `make slurm-check` has the real ones."""

import os
import pathlib
import shlex
import sys

import pytest

from vit_jax import exits

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from scripts import AGAIN, COMMAND, NEVER_AGAIN, program, run, with_programs


def batch(folder, code, **variables):
    """Runs the script as a job whose tasks end with `code`; returns the result and the requeues."""
    program(folder, "srun", f'echo "srun $* cpus=$SRUN_CPUS_PER_TASK"; exit {code}')
    program(folder, "scontrol", f'echo "$@" >> {folder}/scontrol.log')
    environ = with_programs(folder, SLURM_JOB_ID="41", **variables)
    result = run("slurm.sbatch", "vit-jax", "train", "a b", env=environ)
    log = folder / "scontrol.log"
    return result, log.read_text() if log.exists() else ""


@pytest.mark.parametrize("code", NEVER_AGAIN)
def test_what_is_done_or_would_come_again_stays_out_of_the_queue(code, tmp_path):
    result, requeued = batch(tmp_path, code)
    assert (result.returncode, requeued) == (code, "")


@pytest.mark.parametrize("code", AGAIN)
def test_what_was_stopped_or_killed_is_queued_again(code, tmp_path):
    result, requeued = batch(tmp_path, code, SLURM_RESTART_COUNT="3")
    assert (result.returncode, requeued) == (0, "requeue 41\n")
    assert "start 4: vit-jax train a b" in result.stdout
    assert f"status {code}, back into the queue" in result.stdout


@pytest.mark.parametrize("row", exits.TABLE[3:6])
def test_only_stops_in_time_are_not_counted(row, tmp_path):
    code, again = row.statuses[0], row.again == exits.YES
    result, requeued = batch(tmp_path, code, SLURM_RESTART_COUNT="5", MAX_RESTARTS="5")
    assert bool(requeued) == again
    assert result.returncode == (0 if again else code)


def test_tasks_get_their_words_and_cpus(tmp_path):
    result, _ = batch(tmp_path, 0, SLURM_CPUS_PER_TASK="12")
    assert "srun --kill-on-bad-exit=0 --wait=300 vit-jax train a b cpus=12\n" in result.stdout


WORKDIRS = {
    "absolute": (("--workdir=/shared/a b",), "vit_jax_shared_a_b"),
    "two words": (("--workdir", "/shared/a"), "vit_jax_shared_a"),
    "dots": (("--workdir=/shared/x/../a/",), "vit_jax_shared_a"),
    "the last one counts": (("--workdir=/shared/b", "--workdir=/shared/a"), "vit_jax_shared_a"),
    "url": (("--workdir=gs://BUCKET/a",), "vit_jax_gs___BUCKET_a"),
}


@pytest.mark.parametrize("case", WORKDIRS)
def test_a_workdir_has_one_job(case, tmp_path):
    words, name = WORKDIRS[case]
    program(tmp_path, "sbatch", 'printf "%s\\n" "$@"')
    options = ("--partition", "main", "--", "vit-jax", "train", *words)
    result = run("slurm.sbatch", *options, env=with_programs(tmp_path))
    assert result.stdout.splitlines() == [
        f"--job-name={name}",
        "--dependency=singleton",
        "--partition",
        "main",
        "launch/slurm.sbatch",
        "vit-jax",
        "train",
        *words,
    ]


def test_relative_workdirs_become_absolute():
    result = run("slurm.sbatch", "--dry-run", "--", "vit-jax", "train", "--workdir=runs/a")
    expected = os.path.realpath("runs/a").lstrip("/").replace("/", "_")
    assert f"--job-name=vit_jax_{expected} " in result.stdout


def test_a_dry_run_is_a_command_line_that_means_the_same():
    words = ("vit-jax", "train", "--config.train.duration='2 epochs'", '$x `y` \\ "')
    result = run("slurm.sbatch", "--dry-run", "--", *words)
    assert shlex.split(result.stdout.splitlines()[0])[-len(words) :] == list(words)


def test_an_array_is_not_one_after_the_other():
    for option in ("--array=0-3", "-a0-3"):
        assert "singleton" not in run("slurm.sbatch", option, "--dry-run", *COMMAND).stdout
