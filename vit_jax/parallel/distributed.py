# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Which of how many processes is this? No switch to set: the environment tells, or refuses.

`plan` is a pure function of flags and environment variables; `initialise` carries it out. A run
that was started N times but would not join up is an error, never N silent copies of one training.
"""

import collections
import dataclasses
import importlib.util
import os
import pathlib
import re
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from vit_jax import exits
from vit_jax.errors import UserError

HEARTBEAT_SECONDS = 60  # of silence, after which a process counts as lost
JOIN_SECONDS = 300  # from the start of the first process to that of the last

Environ = Mapping[str, str]


class Flags(NamedTuple):
    """What a command line says of this process: all three, or none.

    Attributes:
        coordinator: `host:port` of process 0; "" if not given.
        num_processes: how many there are.
        process_id: which this is, from 0.
    """

    coordinator: str = ""
    num_processes: int | None = None
    process_id: int | None = None


@dataclasses.dataclass(frozen=True)
class Machine:
    """What plays a part besides variables.

    Attributes:
        has_tpu: whether TPU chips and libtpu are here.
        num_gpus: NVIDIA GPUs of the machine, whether a variable hides some of them or not.
    """

    has_tpu: bool = False
    num_gpus: int = 0


_NO_FLAGS, _PLAIN = Flags(), Machine()


@dataclasses.dataclass(frozen=True)
class Plan:
    """How this process joins the others.

    Attributes:
        how: the environment recognised.
        count: number of processes; None where JAX asks the cluster itself.
        index: of this process; None where JAX finds it.
        coordinator: `host:port`; None where JAX finds it.
        local_devices: ordinals of the GPUs this process takes; None is JAX's choice.
    """

    how: str
    count: int | None
    index: int | None = None
    coordinator: str | None = None
    local_devices: tuple[int, ...] | None = None


@dataclasses.dataclass(frozen=True)
class ProcessInfo:
    """Who this process is, once joined; `str()` is one line for the log."""

    index: int
    count: int
    how: str
    coordinator: str | None

    def __str__(self) -> str:
        at = f", coordinator {self.coordinator}" if self.coordinator else ""
        devices = [device.id for device in jax.local_devices()]
        return f"process {self.index} of {self.count} via {self.how}{at}, local devices {devices}"


def initialise(flags: Flags = _NO_FLAGS, heartbeat_seconds: int = HEARTBEAT_SECONDS) -> ProcessInfo:
    """Joins the processes of this run; call it first, before any device is touched.

    Calling it again only returns the answer. Between CPUs, JAX's default collectives are gloo.
    Ends the process (`exits.LOST_PEER`) if the others do not come within `JOIN_SECONDS`.

    Args:
        flags: who this process is, where the command line says so.
        heartbeat_seconds: when another process was silent for so long, JAX ends this one.

    Raises:
        UserError: what is known is incomplete, or speaks of more processes than have joined.
    """
    global _chosen
    if _chosen is None:
        if jax.distributed.is_initialized():
            _chosen = Plan("jax.distributed.initialize", None)
        else:
            _chosen = plan(os.environ, flags, _look())
            _join(_chosen, heartbeat_seconds)
    info = ProcessInfo(jax.process_index(), jax.process_count(), _chosen.how, _coordinator())
    if _chosen.count not in (None, info.count):
        raise UserError(
            f"{_chosen.how} speaks of {_chosen.count} processes, {info.count} joined; "
            "call initialise() before any other use of JAX"
        )
    return info


_chosen: Plan | None = None


_waits: collections.Counter[str] = collections.Counter()


def wait_for_all(event: str, timeout_seconds: int = 3600) -> None:
    """Returns once every process has come here; no device takes part.

    Collectives give up on a process that does not join within half a minute (gloo between CPUs), so
    wait like this ahead of the first one after anything that takes processes unequally long.

    Args:
        event: what they wait for; every process waits equally often for each.
        timeout_seconds: after this long without the others, raise the coordination service's error.
    """
    if jax.process_count() == 1:
        return
    _waits[event] += 1  # a barrier needs a name of its own each time
    client().wait_at_barrier(f"vit_jax/{event}/{_waits[event]}", 1000 * timeout_seconds)


def client() -> Any:
    """Returns JAX's coordination service as this process sees it, None for one process.

    It has no public name; Orbax uses it likewise.
    """
    return jax._src.distributed.global_state.client


def _join(chosen: Plan, heartbeat_seconds: int) -> None:
    if chosen.count == 1:
        return
    known = chosen.coordinator is not None
    alone = threading.Timer(JOIN_SECONDS, _give_up, [chosen])
    alone.daemon = True
    alone.start()
    try:
        jax.distributed.initialize(
            coordinator_address=chosen.coordinator,
            num_processes=chosen.count if known else None,
            process_id=chosen.index if known else None,
            local_device_ids=chosen.local_devices,
            cluster_detection_method="deactivate" if known else None,
            initialization_timeout=2 * JOIN_SECONDS,  # JAX would end the process with less to say
            heartbeat_timeout_seconds=heartbeat_seconds,
        )
    except ValueError as error:  # JAX's detection and ours disagree
        count = chosen.count or "several"
        raise UserError(
            f"{chosen.how} speaks of {count} processes, which JAX cannot join ({error}); {_TRIPLE}"
        ) from error
    finally:
        alone.cancel()


def _give_up(chosen: Plan) -> None:
    """Ends a process that waits for the others in vain; JAX waits for them where none sees it."""
    who = "a process" if chosen.index is None else f"process {chosen.index} of {chosen.count}"
    at = f" at {chosen.coordinator}" if chosen.coordinator else ""
    print(
        f"vit-jax: error: {who} waited {JOIN_SECONDS} s for the others{at}: see why they did not "
        "start, and start all again",
        file=sys.stderr,
        flush=True,
    )
    os._exit(exits.LOST_PEER)


def _coordinator() -> str | None:
    """Returns where the processes met; JAX keeps what it found, without a public name for it."""
    return getattr(jax._src.distributed.global_state, "coordinator_address", None)


def plan(environ: Environ, flags: Flags = _NO_FLAGS, machine: Machine = _PLAIN) -> Plan:
    """Returns how this process joins the others: by flags, else by the first of `DETECTORS`.

    Args:
        environ: environment variables.
        flags: of the command line.
        machine: what is known of this machine besides.

    Raises:
        UserError: for incomplete or contradictory flags or variables.
    """
    if flags != _NO_FLAGS:
        return _from_flags(flags)
    for detect in DETECTORS:
        found = detect(environ, machine)
        if found is not None:
            return found
    for variable, fix in LONELY.items():
        if _entries(environ.get(variable, "")) > 1:
            raise UserError(
                f"{variable}={environ[variable]} speaks of several processes, but nothing says how "
                f"to join them; {fix}"
            )
    return Plan("single process", 1, 0)


def _from_flags(flags: Flags) -> Plan:
    names = ("--coordinator", "--num-processes", "--process-id")
    missing = [name for name, value in zip(names, flags, strict=True) if value in (None, "")]
    if missing:
        raise UserError(f"{', '.join(missing)} is missing; give {', '.join(names)}, or none")
    if not re.fullmatch(r".+:\d+", flags.coordinator):
        raise UserError(f"--coordinator={flags.coordinator} has no port; write HOST:PORT")
    numbers = {name: str(value) for name, value in zip(names, flags, strict=True)}
    return _numbered("flags", numbers, names[1], names[2], flags.coordinator, None)


def _from_pathways(environ: Environ, _: Machine) -> Plan | None:
    """One process drives all devices, through a proxy; joining anything would be wrong."""
    if environ.get("JAX_PLATFORMS") != "proxy" or not environ.get("JAX_BACKEND_TARGET"):
        return None
    return Plan("Pathways", 1, 0)


def _from_variables(environ: Environ, _: Machine) -> Plan | None:
    """Our own triple, as `launch/local.py` sets it."""
    names = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
    given = [name for name in names if environ.get(name)]
    if not {"JAX_NUM_PROCESSES", "JAX_PROCESS_ID"} & set(given):
        return None  # an address alone is a hint to JAX's own detection
    if len(given) < len(names):
        missing = ", ".join(name for name in names if name not in given)
        raise UserError(f"{', '.join(given)} set without {missing}; set all three, or none")
    coordinator = environ["JAX_COORDINATOR_ADDRESS"]
    return _numbered("JAX_* variables", environ, names[1], names[2], coordinator, None)


def _from_torchrun(environ: Environ, machine: Machine) -> Plan | None:
    """torchrun and accelerate: one process a GPU. torchrun itself listens on MASTER_PORT."""
    names = ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "RANK")
    if not all(environ.get(name) for name in names):
        return None
    port = _integer(environ, "MASTER_PORT") + 1
    coordinator = f"{environ['MASTER_ADDR']}:{port}"
    local = (environ.get("LOCAL_RANK"), environ.get("LOCAL_WORLD_SIZE"))
    devices = _own_gpus(environ, machine, *local)
    return _numbered("torchrun variables", environ, "WORLD_SIZE", "RANK", coordinator, devices)


def _from_xpk(environ: Environ, _: Machine) -> Plan | None:
    """What xpk sets for GPU nodes, one process a node."""
    names = ("JAX_COORDINATOR_ADDRESS", "JAX_COORDINATOR_PORT", "NNODES", "NODE_RANK")
    if not all(environ.get(name) for name in names):
        return None
    coordinator = f"{environ[names[0]]}:{_integer(environ, names[1])}"
    return _numbered("xpk variables", environ, "NNODES", "NODE_RANK", coordinator, None)


def _from_slurm(environ: Environ, machine: Machine) -> Plan | None:
    names = (
        "SLURM_JOB_ID",
        "SLURM_STEP_NODELIST",
        "SLURM_NTASKS",
        "SLURM_PROCID",
        "SLURM_LOCALID",
    )
    if not all(environ.get(name) for name in names):
        return None
    devices = _own_gpus(environ, machine, environ["SLURM_LOCALID"], _slurm_tasks_here(environ))
    return _numbered("SLURM", environ, "SLURM_NTASKS", "SLURM_PROCID", None, devices)


def _slurm_tasks_here(environ: Environ) -> str | None:
    """Returns how many tasks this node has: "4(x2),1" is 4, 4 and 1 for nodes 0, 1 and 2."""
    counts: list[str] = []
    for part in environ.get("SLURM_STEP_TASKS_PER_NODE", "").split(","):
        if match := re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part):
            counts += [match[1]] * int(match[2] or 1)
    node = int(environ.get("SLURM_NODEID") or 0)
    return counts[node] if node < len(counts) else None


def _from_open_mpi(environ: Environ, machine: Machine) -> Plan | None:
    if not environ.get("OMPI_MCA_orte_hnp_uri"):
        return None
    names = ("OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE")
    devices = _own_gpus(environ, machine, *map(environ.get, names))
    world = ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK")
    return _numbered("Open MPI", environ, *world, None, devices)


def _from_gke_tpu(environ: Environ, _: Machine) -> Plan | None:
    """Workers of a slice times slices, as GKE's TPU webhook sets them."""
    hosts = environ.get("TPU_PROCESS_ADDRESSES") or environ.get("TPU_WORKER_HOSTNAMES")
    if not hosts or not environ.get("TPU_WORKER_ID"):
        return None
    slices = int(environ.get("MEGASCALE_NUM_SLICES") or 1)
    count = _entries(hosts) * slices
    return Plan("GKE TPU variables", count, 0 if count == 1 else None)


def _from_kubernetes(environ: Environ, _: Machine) -> Plan | None:
    """An indexed Job; JAX asks the Kubernetes API for the rest, with the `kubernetes` package."""
    inside = environ.get("KUBERNETES_SERVICE_HOST") and environ.get("JOB_COMPLETION_INDEX")
    if not inside:
        return None
    if importlib.util.find_spec("kubernetes") is None:
        raise UserError(
            f"JOB_COMPLETION_INDEX={environ['JOB_COMPLETION_INDEX']} speaks of an indexed Job, and "
            f"asking for its size needs a package; pip install kubernetes, or {_TRIPLE}"
        )
    return Plan("the Kubernetes Job", None, _integer(environ, "JOB_COMPLETION_INDEX"))


def _from_cloud_tpu(environ: Environ, machine: Machine) -> Plan | None:
    if not machine.has_tpu or "TPU_SKIP_MDS_QUERY" in environ:
        return None
    return Plan("the Cloud TPU metadata server", None)


# The first that recognises its variables decides.
DETECTORS: tuple[Callable[[Environ, Machine], Plan | None], ...] = (
    _from_pathways,
    _from_variables,
    _from_torchrun,
    _from_xpk,
    _from_slurm,
    _from_open_mpi,
    _from_gke_tpu,
    _from_kubernetes,
    _from_cloud_tpu,
)

_TRIPLE = "set JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID"

# Signs of several processes which, met without what it takes to join them, are a mistake.
LONELY = {
    "WORLD_SIZE": "set MASTER_ADDR, MASTER_PORT and RANK as well, or unset it",
    "SLURM_NTASKS": "start with srun, or unset it",
    "OMPI_COMM_WORLD_SIZE": _TRIPLE,
    "PMI_SIZE": _TRIPLE,
    "PMIX_SIZE": _TRIPLE,
    "TPU_WORKER_HOSTNAMES": _TRIPLE,
    "MEGASCALE_NUM_SLICES": _TRIPLE,
    "NNODES": _TRIPLE,
    "JAX_PROCESS_COUNT": _TRIPLE,
}


def _numbered(
    how: str,
    environ: Environ,
    count_name: str,
    index_name: str,
    coordinator: str | None,
    devices: tuple[int, ...] | None,
) -> Plan:
    count, index = _integer(environ, count_name), _integer(environ, index_name)
    if not 0 <= index < count:
        raise UserError(f"{index_name}={index} must be from 0 to {count_name}-1={count - 1}")
    if count == 1:
        return Plan(how, 1, 0)
    return Plan(how, count, index, coordinator, devices)


def _own_gpus(
    environ: Environ, machine: Machine, rank: str | None, per_node: str | None
) -> tuple[int, ...] | None:
    """Returns the ordinals, among the visible GPUs, of the share of local process `rank`.

    None is JAX's choice: all of them, or "one process a GPU, ordinal = local rank", which is wrong
    for a process bound to GPUs of its own (it sees them from ordinal 0 on), as SLURM's
    --gpus-per-task does.
    """
    listed = environ.get("CUDA_VISIBLE_DEVICES")
    visible = machine.num_gpus if listed is None else len([g for g in listed.split(",") if g])
    if not visible or rank is None:
        return None
    if visible == 1 or str(visible) == environ.get("SLURM_GPUS_PER_TASK"):
        return tuple(range(visible))
    processes = int(per_node or visible)
    if visible % processes:
        raise UserError(
            f"{processes} processes on this machine see {visible} GPUs, which do not share out; "
            "start as many as there are GPUs, or one"
        )
    share = visible // processes
    return tuple(range(int(rank) * share, (int(rank) + 1) * share))


def _entries(value: str) -> int:
    """Returns the number a variable speaks of: itself, or the length of its list."""
    return int(value) if value.isdigit() else len([part for part in value.split(",") if part])


def _integer(environ: Environ, name: str) -> int:
    value = environ.get(name, "")
    if not re.fullmatch(r"\d+", value):
        raise UserError(f"{name}={value!r} must be a whole number")
    return int(value)


def _look() -> Machine:
    """Looks for GPUs, and for Google's PCI devices and libtpu: then Cloud TPU's server knows us."""
    gpus = [node for node in pathlib.Path("/dev").glob("nvidia*") if node.name[6:].isdecimal()]
    wanted = "tpu" in os.environ.get("JAX_PLATFORMS", "tpu")
    if not wanted or importlib.util.find_spec("libtpu") is None:
        return Machine(num_gpus=len(gpus))
    vendors = pathlib.Path("/sys/bus/pci/devices").glob("*/vendor")
    has_tpu = any(vendor.read_text().strip() == "0x1ae0" for vendor in vendors)
    return Machine(has_tpu=has_tpu, num_gpus=len(gpus))
