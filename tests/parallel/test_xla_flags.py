# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Presets of compiler flags: right ones, known to the compilers, never in the user's way."""

import os
import re
import subprocess
import sys

import pytest

from vit_jax.errors import UserError
from vit_jax.parallel import xla_flags

TPUS, GPUS = ("v4", "v5e", "v5p", "v6e"), ("a100", "h100", "h200", "b200")
# What JAX calls them, from the machines.
DEVICES = {
    "v4": "TPU v4",
    "v5e": "TPU v5 lite",
    "v5p": "TPU v5",
    "v6e": "TPU v6 lite",
    "a100": "NVIDIA A100-SXM4-80GB",
    "h100": "NVIDIA H100 80GB HBM3",
    "h200": "NVIDIA H200",
    "b200": "NVIDIA B200",
}


def test_by_default_nothing_is_set():
    assert xla_flags.variables("none", {"XLA_FLAGS": "--a=1"}) == {}
    xla_flags.check("none", "anything")


def test_flags_go_where_their_compiler_reads_them():
    for kind in TPUS:
        (variable,) = xla_flags.variables(kind, {})
        assert variable == "LIBTPU_INIT_ARGS"
    for kind in GPUS:
        found = xla_flags.variables(kind, {})
        assert set(found) == {"XLA_FLAGS", "XLA_PYTHON_CLIENT_MEM_FRACTION"}
        assert set(re.findall(r"--(\w+?)_", found["XLA_FLAGS"])) == {"xla"}
        assert "tpu" not in found["XLA_FLAGS"]


def test_only_v6e_gets_its_own_flag():
    (v6e,), (v5e,) = (xla_flags.variables(kind, {}).values() for kind in ("v6e", "v5e"))
    assert v6e == f"{v5e} --xla_tpu_scoped_vmem_limit_kib=98304"


def test_what_the_user_set_stays():
    environ = {
        "XLA_FLAGS": "--xla_dump_to=/x --xla_gpu_enable_pipelined_all_gather=false",
        "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.5",
    }
    before = dict(environ)
    xla_flags.apply("h100", environ)
    assert environ["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.5"
    assert environ["XLA_FLAGS"].startswith(before["XLA_FLAGS"] + " --xla_gpu_")
    assert environ["XLA_FLAGS"].count("pipelined_all_gather") == 1
    once = dict(environ)
    xla_flags.apply("h100", environ)
    assert environ == once


def test_each_kind_is_for_its_own_device():
    assert set(DEVICES) == set(xla_flags.PRESETS)
    for kind, device in DEVICES.items():
        for other in DEVICES:
            if other == kind:
                xla_flags.check(other, device)
                continue
            with pytest.raises(UserError, match=f"{other} is not for '{device}'; use {kind}"):
                xla_flags.check(other, device)
    with pytest.raises(UserError, match="use none"):
        xla_flags.check("h100", "cpu")


def test_an_unknown_kind_has_near_misses():
    with pytest.raises(UserError, match=r"v5p2.*did you mean 'v5p'"):
        xla_flags.variables("v5p2", {})


def test_xla_knows_the_flags_of_gpus():
    """XLA ends a process at an unknown flag, on any platform."""
    assert start_jax("--xla_gpu_no_such_flag=true").returncode != 0
    for kind in GPUS:
        result = start_jax(xla_flags.variables(kind, {})["XLA_FLAGS"])
        assert result.returncode == 0, result.stderr


def start_jax(flags):
    environ = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", "import jax; jax.devices()"]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


TOPOLOGIES = {"v4": "v4:2x2x1", "v5e": "v5e:2x2", "v5p": "v5p:2x2x1", "v6e": "v6e:2x2"}


@pytest.mark.parametrize("kind", TPUS)
def test_libtpu_knows_the_flags_of_tpus(kind):
    """So does libtpu, whose compiler starts without a TPU."""
    pytest.importorskip("libtpu", reason="needs the extra `tpu`")
    code = (
        "import sys; from jax.experimental import topologies as t; "
        "print(t.get_topology_desc(topology_name=sys.argv[1], platform='tpu').devices[0])"
    )
    flags = xla_flags.variables(kind, {})
    environ = os.environ | flags | {"JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1"}
    command = [sys.executable, "-c", code, TOPOLOGIES[kind]]
    result = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    environ["LIBTPU_INIT_ARGS"] += " --xla_no_such_flag=true"
    refused = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert "no_such_flag" in refused.stderr
