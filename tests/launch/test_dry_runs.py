# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Every script says what it would do, and does nothing; what it says was read by a person once.

`python tests/launch/test_dry_runs.py` writes the files of golden/ anew.
"""

import pathlib
import re
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from scripts import COMMAND, GOLDEN, LAUNCH, ROOT, run

SCRIPTS = (
    "local.py",
    "slurm.sbatch",
    "tpu_vm.sh",
    "tpu_worker.sh",
    "gke_jobset.py",
    "preflight.py",
)
TPU = ("--name=d", "--zone=us-east5-a", "--type=v6e-16", "--project=PROJECT")
GKE = ("--name=d", "--image=IMAGE")
CASES = {
    "local_cpu": ("local.py", "--port=1234", "--dry-run", *COMMAND),
    "local_gpu": ("local.py", "--gpus", "--port=1234", "--dry-run", *COMMAND),
    "slurm_process_a_gpu": (
        *("slurm.sbatch", "--dry-run", "--nodes=2", "--ntasks-per-node=8", "--gpus-per-node=8"),
        *COMMAND,
    ),
    "slurm_array": ("slurm.sbatch", "--dry-run", "--array=0-3", *COMMAND),
    "slurm_without_workdir": ("slurm.sbatch", "--dry-run", "--", "launch/preflight.py", "a b"),
    "tpu_create": ("tpu_vm.sh", "create", *TPU, "--dry-run"),
    "tpu_create_queued": ("tpu_vm.sh", "create", *TPU, "--queued", "--reserved", "--dry-run"),
    "tpu_run": (
        "tpu_vm.sh",
        "run",
        *TPU,
        "--dry-run",
        *COMMAND,
        "--config.train.duration='2 epochs'",
    ),
    "tpu_logs": ("tpu_vm.sh", "logs", *TPU, "--worker=3", "--dry-run"),
    "tpu_status": ("tpu_vm.sh", "status", *TPU, "--slices=2", "--dry-run"),
    "tpu_stop": ("tpu_vm.sh", "stop", *TPU, "--dry-run"),
    "tpu_delete": ("tpu_vm.sh", "delete", *TPU, "--dry-run"),
    "tpu_delete_queued": ("tpu_vm.sh", "delete", *TPU, "--queued", "--dry-run"),
    "tpu_babysit": ("tpu_vm.sh", "babysit", *TPU, "--spot", "--dry-run", *COMMAND),
    "tpu_babysit_slices": ("tpu_vm.sh", "babysit", *TPU, "--slices=2", "--dry-run", *COMMAND),
    "gke_tpu": ("gke_jobset.py", *GKE, "--tpu=v6e:4x4", "--spot", "--dry-run", *COMMAND),
    "gke_gpu": ("gke_jobset.py", *GKE, "--gpu=h100:8", "--nodes=2", "--dry-run", *COMMAND),
    "gke_job": ("gke_jobset.py", *GKE, "--gpu=h100:8", "--nodes=2", "--job", "--dry-run", *COMMAND),
    "gke_xpk": ("gke_jobset.py", *GKE, "--tpu=v5p:2x2x4", "--xpk=CLUSTER", "--dry-run", *COMMAND),
    "preflight": ("preflight.py", "--data=/shared/data", "--dry-run"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_dry_run_says_what_would_be_done(case):
    result = run(*CASES[case])
    assert result.returncode == 0, result.stderr
    assert result.stdout == (GOLDEN / f"{case}.txt").read_text()


def test_golden_has_nothing_else():
    assert {path.stem for path in GOLDEN.iterdir()} == set(CASES)


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_has_an_example_and_a_dry_run(script):
    result = run(script, "--help")
    assert result.returncode == 0
    assert "--dry-run" in result.stdout
    assert re.search(r"[Ee]xamples?\b", result.stdout)
    assert "vit-jax train" in result.stdout or script == "preflight.py"


REFUSED = {
    "no command": (("slurm.sbatch", "--nodes=2"), "put the command after --"),
    "no name": (("tpu_vm.sh", "stop", "--zone=z"), "--name is missing"),
    "no zone": (("tpu_vm.sh", "stop", "--name=d"), "--zone is missing"),
    "no type": (("tpu_vm.sh", "create", "--name=d", "--zone=z"), "--type is missing"),
    "unknown action": (("tpu_vm.sh", "start", "--name=d"), "unknown action start"),
    "unknown option": (("tpu_vm.sh", "stop", "--nam=d"), "unknown argument --nam=d"),
    "nothing to run": (("tpu_vm.sh", "run", *TPU), "put the command after --"),
    "unknown worker action": (("tpu_worker.sh", "jump"), "unknown action jump"),
    "unknown tpu": (("gke_jobset.py", *GKE, "--tpu=v9:2x2", *COMMAND), "'v9' is unknown"),
    "no topology": (("gke_jobset.py", *GKE, "--tpu=v5p:16", *COMMAND), "write a topology"),
    "slices of gpus": (
        ("gke_jobset.py", *GKE, "--gpu=h100:8", "--slices=2", *COMMAND),
        "--slices with --tpu",
    ),
    "a name with capitals": (
        ("gke_jobset.py", "--name=D", "--image=I", "--gpu=h100:8", *COMMAND),
        "--name=D",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_mistakes_are_refused(case):
    arguments, message = REFUSED[case]
    result = run(*arguments)
    assert result.returncode == 2
    assert message in result.stderr


def test_every_file_is_in_the_readme_and_names_nobody():
    text = (LAUNCH / "README.md").read_text()
    for path in LAUNCH.iterdir():
        if path.is_file() and path.name not in ("README.md", "tpu_worker.sh"):
            assert path.name in text
        if path.is_file():
            assert not re.search(r"gcr\.io|pkg\.dev|gs://(?!BUCKET|\.\.\.)", path.read_text())


def test_shell_scripts_can_be_run():
    for name in ("slurm.sbatch", "tpu_vm.sh", "tpu_worker.sh"):
        assert (LAUNCH / name).stat().st_mode & 0o111


def test_the_image_is_made_of_what_there_is():
    lines = (LAUNCH / "Dockerfile").read_text().splitlines()
    copied = [word for line in lines if line.startswith("COPY ") for word in line.split()[1:-1]]
    assert {"pyproject.toml", "constraints.txt", "vit_jax", "configs"} <= set(copied)
    assert all((ROOT / name).exists() for name in copied)
    extras = (ROOT / "pyproject.toml").read_text()
    assert all(f"\n{extra} = [" in extras for extra in ("cuda", "tpu"))


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for case, arguments in CASES.items():
        (GOLDEN / f"{case}.txt").write_text(run(*arguments, check=True).stdout)
