# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What the environment says about who this process is, and two processes that join."""

import functools
import importlib.util
import os
import pathlib
import re
import socket
import subprocess
import sys

import jax
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vit_jax.errors import UserError
from vit_jax.parallel.distributed import Flags, Machine, Plan, initialise, plan
from vit_jax.parallel.mesh import create_mesh
from vit_jax.parallel.sharding import put_batch
from vit_jax.training import checkpoint
from vit_jax.training.state import create_state
from vit_jax.training.step import jit_train_step, make_train_step

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "training"))
import small_run  # noqa: E402

PROGRAM = pathlib.Path(__file__).with_name("two_processes.py")

OURS = {
    "JAX_COORDINATOR_ADDRESS": "n01:1234",
    "JAX_NUM_PROCESSES": "4",
    "JAX_PROCESS_ID": "2",
}
TORCHRUN = {
    "MASTER_ADDR": "n01",
    "MASTER_PORT": "29500",
    "WORLD_SIZE": "8",
    "RANK": "5",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
}
SLURM = {
    "SLURM_JOB_ID": "77",
    "SLURM_STEP_NODELIST": "n[01-02]",
    "SLURM_NTASKS": "8",
    "SLURM_PROCID": "6",
    "SLURM_LOCALID": "2",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
}
OPEN_MPI = {
    "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1:34911",
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
}
JOB = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "3"}
GKE = {"TPU_WORKER_HOSTNAMES": "a,b,c,d", "TPU_WORKER_ID": "1"}
XPK = {
    "JAX_COORDINATOR_ADDRESS": "js-job-0-0.js",
    "JAX_COORDINATOR_PORT": "6002",
    "NNODES": "4",
    "NODE_RANK": "3",
}
FOUR_GPUS = {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}

CASES = {
    "nothing": ({}, Plan("single process", 1, 0)),
    "ours": (OURS, Plan("JAX_* variables", 4, 2, "n01:1234")),
    "ours alone": (OURS | {"JAX_NUM_PROCESSES": "1", "JAX_PROCESS_ID": "0"}, None),
    "ours before all": (OURS | TORCHRUN | SLURM, Plan("JAX_* variables", 4, 2, "n01:1234")),
    "an address alone is JAX's": ({"JAX_COORDINATOR_ADDRESS": "n01:1"}, None),
    "torchrun": (TORCHRUN, Plan("torchrun variables", 8, 5, "n01:29501")),
    "torchrun gpus": (
        TORCHRUN | FOUR_GPUS,
        Plan("torchrun variables", 8, 5, "n01:29501", (1,)),
    ),
    "torchrun alone": (TORCHRUN | {"WORLD_SIZE": "1", "RANK": "0"}, None),
    "slurm": (SLURM, Plan("SLURM", 8, 6)),
    "slurm one gpu bound to a task": (
        SLURM | {"CUDA_VISIBLE_DEVICES": "3"},
        Plan("SLURM", 8, 6, None, (0,)),
    ),
    "slurm one gpu a task": (SLURM | FOUR_GPUS, Plan("SLURM", 8, 6, None, (2,))),
    "slurm one task a node": (
        SLURM
        | FOUR_GPUS
        | {"SLURM_STEP_TASKS_PER_NODE": "1(x8)", "SLURM_LOCALID": "0", "SLURM_PROCID": "6"},
        Plan("SLURM", 8, 6, None, (0, 1, 2, 3)),
    ),
    "slurm two gpus a task": (
        SLURM | FOUR_GPUS | {"SLURM_STEP_TASKS_PER_NODE": "2(x4)", "SLURM_LOCALID": "1"},
        Plan("SLURM", 8, 6, None, (2, 3)),
    ),
    "slurm bound to two of its node's four gpus": (
        SLURM
        | {"CUDA_VISIBLE_DEVICES": "2,3", "SLURM_GPUS_PER_TASK": "2"}
        | {"SLURM_STEP_TASKS_PER_NODE": "2(x4)", "SLURM_LOCALID": "1"},
        Plan("SLURM", 8, 6, None, (0, 1)),
    ),
    "slurm, another number of tasks on each node": (
        SLURM
        | FOUR_GPUS
        | {"SLURM_STEP_TASKS_PER_NODE": "4,2(x2)", "SLURM_NODEID": "2"}
        # the second of two tasks on the third node
        | {"SLURM_LOCALID": "1"},
        Plan("SLURM", 8, 6, None, (2, 3)),
    ),
    "slurm one task": (SLURM | {"SLURM_NTASKS": "1", "SLURM_PROCID": "0"}, None),
    "xpk": (XPK, Plan("xpk variables", 4, 3, "js-job-0-0.js:6002")),
    "pathways": (GKE | {"JAX_PLATFORMS": "proxy", "JAX_BACKEND_TARGET": "grpc://h:1"}, None),
    "open mpi": (OPEN_MPI, Plan("Open MPI", 2, 1)),
    "gke tpu": (GKE, Plan("GKE TPU variables", 4)),
    "gke tpu slices": (GKE | {"MEGASCALE_NUM_SLICES": "2"}, Plan("GKE TPU variables", 8)),
    "gke tpu one host": ({"TPU_WORKER_HOSTNAMES": "localhost", "TPU_WORKER_ID": "0"}, None),
    "slurm, a batch shell with one task": ({"SLURM_JOB_ID": "1", "SLURM_NTASKS": "1"}, None),
}


@pytest.mark.parametrize("case", CASES)
def test_the_environment_decides(case):
    environ, expected = CASES[case]
    found = plan(environ)
    if expected is None:
        assert (found.count, found.index) == (1, 0)
    else:
        assert found == expected


def test_flags_come_before_any_variable():
    expected = Plan("flags", 3, 1, "n07:99")
    assert plan(OURS | SLURM | GKE, Flags("n07:99", 3, 1)) == expected
    assert plan(OURS, Flags("n07:99", 1, 0)) == Plan("flags", 1, 0)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (Flags("n07:99"), "--num-processes, --process-id is missing"),
        (Flags("", 2, 0), "--coordinator is missing"),
        (Flags("n07", 2, 0), "--coordinator=n07 has no port"),
        (Flags("n07:99", 2, 2), "--process-id=2 must be from 0 to --num-processes-1=1"),
        (Flags("n07:99", 2, -1), "--process-id='-1' must be a whole number"),
    ],
)
def test_flags_are_all_given_and_right(flags, message):
    with pytest.raises(UserError, match=re.escape(message)):
        plan({}, flags)


def test_cloud_tpus_answer_for_themselves():
    machine = Machine(has_tpu=True)
    assert plan({}, machine=machine).count is None
    skip = {"TPU_SKIP_MDS_QUERY": "1"}
    assert plan(skip, machine=machine) == Plan("single process", 1, 0)
    assert plan(GKE, machine=machine).how == "GKE TPU variables"


MANY_GPUS = {  # on a machine of eight, where CUDA_VISIBLE_DEVICES is not set
    "torchrun shares them": (TORCHRUN, (2, 3)),
    "slurm shares them": (SLURM, (4, 5)),
    "slurm one task a node takes all": (
        SLURM | {"SLURM_STEP_TASKS_PER_NODE": "1(x8)", "SLURM_LOCALID": "0"},
        tuple(range(8)),
    ),
    "open mpi shares them": (OPEN_MPI, (4, 5, 6, 7)),
    "all hidden": (SLURM | {"CUDA_VISIBLE_DEVICES": ""}, None),
    "ours takes all": (OURS, None),
}


@pytest.mark.parametrize("case", MANY_GPUS)
def test_gpus_are_shared_out(case):
    environ, devices = MANY_GPUS[case]
    assert plan(environ, machine=Machine(num_gpus=8)).local_devices == devices


@given(st.lists(st.sampled_from([1, 2, 4, 8]), min_size=1, max_size=5), st.sampled_from([None, 8]))
def test_slurm_tasks_of_a_node_take_all_gpus_once(tasks, visible):
    """Whatever the numbers of tasks on the nodes."""
    listed = {} if visible is None else {"CUDA_VISIBLE_DEVICES": "0,1,2,3,4,5,6,7"}
    total = sum(tasks)
    spelled = ",".join(map(str, tasks))
    for node, here in enumerate(tasks):
        taken = []
        for local in range(here):
            own = {"SLURM_LOCALID": str(local), "SLURM_NODEID": str(node)}
            own |= {"SLURM_NTASKS": str(total), "SLURM_PROCID": str(sum(tasks[:node]) + local)}
            own |= {"SLURM_STEP_TASKS_PER_NODE": spelled}
            found = plan(SLURM | listed | own, machine=Machine(num_gpus=8))
            taken += found.local_devices if total > 1 else range(8)
        assert taken == list(range(8))


def test_an_indexed_job_is_joined_by_the_kubernetes_package(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "kubernetes")
    assert plan(JOB) == Plan("the Kubernetes Job", None, 3)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match="pip install kubernetes"):
        plan(JOB)


REFUSED = {
    "half of ours": (OURS | {"JAX_PROCESS_ID": ""}, "set without JAX_PROCESS_ID"),
    "index too high": (OURS | {"JAX_PROCESS_ID": "4"}, "JAX_PROCESS_ID=4 must be from 0 to"),
    "not a number": (OURS | {"JAX_NUM_PROCESSES": "two"}, "JAX_NUM_PROCESSES='two'"),
    "half of torchrun": ({"WORLD_SIZE": "2", "RANK": "0"}, "WORLD_SIZE=2 speaks of several"),
    "sbatch without srun": (
        {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "8", "SLURM_PROCID": "0"},
        "start with srun",
    ),
    "a newer open mpi": ({"OMPI_COMM_WORLD_SIZE": "2"}, "set JAX_COORDINATOR_ADDRESS"),
    "gpus that do not share out": (
        SLURM | {"CUDA_VISIBLE_DEVICES": "0,1,2"},
        "4 processes on this machine see 3 GPUs",
    ),
    "half of xpk": ({"NNODES": "2", "NODE_RANK": "1"}, "NNODES=2 speaks of several"),
    "mpich": ({"PMI_SIZE": "4", "PMI_RANK": "1"}, "PMI_SIZE=4"),
    "tpu hosts without an id": ({"TPU_WORKER_HOSTNAMES": "a,b"}, "TPU_WORKER_HOSTNAMES=a,b"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_silent_copies_are_refused(case):
    environ, message = REFUSED[case]
    with pytest.raises(UserError, match=message):
        plan(environ)


def test_one_process_needs_no_joining(monkeypatch):
    for name in (*OURS, *TORCHRUN, *SLURM):
        monkeypatch.delenv(name, raising=False)
    info = initialise()
    assert (info.index, info.count) == (0, 1)
    assert str(info) == "process 0 of 1 via single process, local devices [0, 1, 2, 3, 4, 5, 6, 7]"
    assert initialise() == info


def launch(*command, options=("--devices-per-process=2",)):
    """Runs `command` as two processes."""
    launcher = [sys.executable, str(ROOT / "launch" / "local.py"), "--processes=2", *options]
    return subprocess.run(
        [*launcher, "--", *command], capture_output=True, text=True, timeout=300, check=False
    )


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_the_launcher_stops_all_when_one_fails():
    code = "import os, sys, time; i = os.environ['JAX_PROCESS_ID']; print('here'); "
    result = launch(sys.executable, "-c", code + "sys.exit(7) if i == '1' else time.sleep(100)")
    assert result.returncode == 7
    assert sorted(result.stdout.splitlines()) == ["[0] here", "[1] here"]


def test_the_launcher_passes_signals_on():
    command = [sys.executable, str(ROOT / "launch" / "local.py"), "--", sys.executable, "-c"]
    code = (
        "import signal; signal.pthread_sigmask(0, [15]); print(1); signal.sigwait([15]); print(2)"
    )
    launcher = subprocess.Popen([*command, code], stdout=subprocess.PIPE, text=True)
    assert launcher.stdout is not None
    assert {launcher.stdout.readline() for _ in range(2)} == {"[0] 1\n", "[1] 1\n"}
    launcher.terminate()
    assert set(launcher.communicate(timeout=60)[0].splitlines()) == {"[0] 2", "[1] 2"}
    assert launcher.returncode == 0


def test_a_dry_run_prints_what_it_would_start():
    options = ("--gpus", "--devices-per-process=2", "--port=1234", "--dry-run")
    result = launch("vit-jax", "train", "--a=b c", options=options)
    common = "JAX_COORDINATOR_ADDRESS=127.0.0.1:1234 JAX_NUM_PROCESSES=2"
    assert result.stdout.splitlines() == [
        f"{common} JAX_PROCESS_ID=0 CUDA_VISIBLE_DEVICES=0,1 vit-jax train '--a=b c'",
        f"{common} JAX_PROCESS_ID=1 CUDA_VISIBLE_DEVICES=2,3 vit-jax train '--a=b c'",
    ]


def test_two_processes_join_train_and_save(tmp_path):
    result = launch(sys.executable, str(PROGRAM), str(tmp_path))
    assert result.returncode == 0, result.stdout + result.stderr
    lines = result.stdout.splitlines()
    for index in (0, 1):
        own = [line for line in lines if line.startswith(f"[{index}] ")]
        assert any(f"process {index} of 2 via JAX_* variables" in line for line in own)
        assert f"[{index}] rows {[4 * index + i for i in range(4)]}" in own
        assert f"[{index}] sum 28.0" in own
        assert f"[{index}] restored step 3" in own
    (loss,) = {line[4:] for line in lines if " loss " in line}  # both report the global one
    (stop,) = {int(line.split()[-1]) for line in lines if "stopped at" in line}
    assert stop > 3  # of both, though only one got the signal, at step 3
    alone = three_steps_alone()
    saved = checkpoint.load(tmp_path)
    assert (saved.step, saved.metadata["by"], saved.metrics) == (3, "two", {"accuracy": 0.5})
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-6), saved.params, alone[0]
    )
    assert float(loss.split()[-1]) == pytest.approx(alone[1], rel=1e-6)


def three_steps_alone():
    """Returns the parameters and the last loss of what the two processes do, on one device."""
    model, optimiser = small_run.Patches(), optax.sgd(0.1, momentum=0.9)
    mesh = create_mesh({"data": 1}, jax.devices()[:1])
    state = create_state(model, optimiser, small_run.IMAGE_SHAPE, seed=0, mesh=mesh)
    step = make_train_step(
        model,
        small_run.OBJECTIVE,
        optimiser,
        schedule=optax.constant_schedule(0.1),
        device_ops=small_run.normalise,
        num_classes=small_run.CLASSES,
    )
    step = jit_train_step(step, state)
    for _ in range(3):
        state, metrics = step(state, put_batch(small_run.make_batch(0, size=8), mesh, 8))
    return state.params, float(metrics["loss"])


def slurm(port, index):
    """Made-up variables for JAX's own detection."""
    return SLURM | {
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": str(index),
        "SLURM_LOCALID": str(index),
        "SLURM_STEP_NUM_NODES": "1",
        "JAX_COORDINATOR_PORT": port,
    }


def mpi(port, index):
    own = {"OMPI_MCA_orte_hnp_uri": "1.0;tcp://127.0.0.1:1", "JAX_COORDINATOR_PORT": port}
    local = {f"OMPI_COMM_WORLD_{name}": str(index) for name in ("RANK", "LOCAL_RANK")}
    return OPEN_MPI | own | local


def torchrun(port, index):
    own = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(int(port) - 1), "WORLD_SIZE": "2"}
    return TORCHRUN | own | {"RANK": str(index), "LOCAL_RANK": str(index), "LOCAL_WORLD_SIZE": "2"}


STARTED = {
    "SLURM": (slurm, ""),
    "Open MPI": (mpi, ""),
    "torchrun variables": (torchrun, ""),
    # the flags of this one come before the variables of that one, which lead nowhere
    "flags": (lambda port, index: SLURM, "'localhost:{port}', 2, {index}"),
}


@pytest.mark.parametrize("how", STARTED)
def test_two_processes_join_by_themselves(how):
    """No launcher: variables as the cluster would set them, or flags."""
    variables, flags = STARTED[how]
    port, processes = str(free_port()), []
    for index in (0, 1):
        code = (
            "from vit_jax.parallel.distributed import Flags, initialise; "
            f"print(initialise(Flags({flags.format(port=port, index=index)})))"
        )
        own = {"JAX_NUM_CPU_DEVICES": "1", "JAX_PLATFORMS": "cpu"}
        environ = os.environ | variables(port, index) | own
        command = [sys.executable, "-c", code]
        processes.append(subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True))
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    for index, output in enumerate(outputs):
        expected = rf"process {index} of 2 via {how}, coordinator (localhost|127\.0\.0\.1):{port}, "
        assert re.match(expected + r"local devices \[\d+\]", output)
