# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The look at the machines: two processes that are well, and everything that may be wrong."""

import dataclasses
import pathlib
import re
import sys

import jax
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from scripts import LAUNCH, run

sys.path.insert(0, str(LAUNCH))
import preflight

WELL = preflight.Facts(
    host="n01",
    versions={"jax": "0.10.2"},
    conflicts=[],
    devices={"NVIDIA H100": 8},
    data="5 bytes of /d/a",
    data_ok=True,
    workdir_ok=True,
    free_disk_bytes=100 * 2**30,
    free_memory_bytes=50 * 2**30,
    clock_seconds=1000.0,
)
RIGHT = preflight.Sum(2**20, True, 0.001, 1e9)
WRONG = {
    "another version": ({"versions": {"jax": "0.11.0"}}, "n02 has jax 0.11.0, process 0 0.10.2"),
    "a package less": ({"versions": {}}, "n02 has jax none, process 0 0.10.2"),
    "a conflict": ({"conflicts": ["two TensorFlows"]}, "n02: two TensorFlows"),
    "a device less": ({"devices": {"NVIDIA H100": 7}}, "{'NVIDIA H100': 7}, process 0"),
    "data": ({"data_ok": False, "data": "/d: gone"}, "n02 cannot read data: /d: gone"),
    "workdir": ({"workdir_ok": False}, "n02 does not share /w with the others"),
    "disk": ({"free_disk_bytes": 9 * 2**30}, "n02 has 9.0 GiB of disk"),
    "memory": ({"free_memory_bytes": 2**30}, "n02 has 1.0 GiB of memory"),
    "clock": ({"clock_seconds": 1006.0}, "clocks are 6.0 s apart"),
}
ARGS = preflight.parse_args(["--workdir=/w"])


def test_equals_have_no_problem():
    other = dataclasses.replace(WELL, host="n02", clock_seconds=1001.0, free_memory_bytes=None)
    assert preflight.problems([WELL, other], [RIGHT], ARGS) == []


@pytest.mark.parametrize("case", WRONG)
def test_each_difference_is_a_problem(case):
    change, message = WRONG[case]
    other = dataclasses.replace(WELL, **{"host": "n02", **change})
    (found,) = preflight.problems([WELL, other], [RIGHT], ARGS)
    assert message in found


def test_a_wrong_sum_is_a_problem():
    wrong = dataclasses.replace(RIGHT, right=False)
    assert "is wrong" in preflight.problems([WELL], [RIGHT, wrong], ARGS)[0]


def test_the_sum_over_eight_devices():
    found = preflight.all_reduce(4096, repeats=3)
    assert len(jax.devices()) == 8
    assert (found.size_bytes, found.right) == (4096, True)
    assert found.bandwidth == pytest.approx(2 * 7 / 8 * 4096 / found.seconds)


def test_a_folder_is_read_down_to_a_file(tmp_path):
    assert preflight.read_data("") == ("", True)
    assert preflight.read_data(str(tmp_path))[1] is False
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_bytes(b"12345")
    assert preflight.read_data(str(tmp_path)) == (f"5 bytes of {tmp_path}/a/b/c", True)
    assert preflight.read_data(str(tmp_path / "none"))[1] is False


def two(*arguments):
    launcher = ("--processes=2", "--devices-per-process=2", "--", sys.executable)
    limits = ("--disk=0.001", "--memory=0.001", "--mib=1", "--timeout=200")
    return run("local.py", *launcher, "launch/preflight.py", *limits, *arguments)


def test_two_processes_are_well(tmp_path):
    result = two(f"--workdir={tmp_path}", "--data=docs")
    assert result.returncode == 0, result.stdout + result.stderr
    for line in (
        r"\[0\] process 0 of 2 via JAX_\* variables, coordinator 127.0.0.1:\d+, local",
        r"\[0\] process 1 on .*: 2 x cpu; free: .* read \d+ bytes of docs/",
        r"\[0\] all-reduce of 1 MiB a device: [\d.e+]+ ms, [\d.e-]+ GB/s",
        r"\[0\] all is well",
    ):
        assert re.search(line, result.stdout)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_two_processes_without_a_common_workdir(tmp_path):
    """Each has a folder of its own under the same name, as without a shared file system."""
    code = (
        "import os, runpy, sys; sys.path.insert(0, os.getcwd()); "
        f"os.chdir('{tmp_path}/' + os.environ['JAX_PROCESS_ID']); "
        "sys.argv = ['preflight.py', '--workdir=here', '--disk=0', '--memory=0', '--mib=1']; "
        f"runpy.run_path('{LAUNCH}/preflight.py', run_name='__main__')"
    )
    for index in "01":
        (tmp_path / index).mkdir()
    result = run("local.py", "--processes=2", "--", sys.executable, "-c", code)
    assert result.returncode == 1, result.stdout
    assert "problem: process 1" in result.stdout
    assert "does not share here with the others" in result.stdout


def test_half_of_the_flags_is_refused():
    result = run("preflight.py", "--process-id=1")
    assert result.returncode == 2
    assert "--coordinator, --num-processes is missing" in result.stderr
