# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Which of how many processes is this? No switch to set: the environment tells, or refuses.

`plan` is a pure function of the environment variables; `initialise` carries it out. A run that was
started N times but would not join up is an error, never N silent copies of the same training.
"""

import collections
import dataclasses
import importlib.util
import os
import pathlib
import re
from collections.abc import Callable, Mapping

import jax

from vit_jax.errors import UserError

Environ = Mapping[str, str]


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
        return f"process {self.index}/{self.count} via {self.how}{at}, local devices {devices}"


def initialise() -> ProcessInfo:
    """Joins the processes of this run; call it first, before any device is touched.

    Calling it again only returns the answer. Between CPUs, JAX's default collectives are gloo.

    Raises:
        UserError: if the environment is incomplete, or speaks of more processes than have joined.
    """
    global _chosen
    if _chosen is None:
        if jax.distributed.is_initialized():
            _chosen = Plan("jax.distributed.initialize", None)
        else:
            _chosen = plan(os.environ, has_tpu=_has_tpu())
            _join(_chosen)
    info = ProcessInfo(jax.process_index(), jax.process_count(), _chosen.how, _chosen.coordinator)
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
    from orbax.checkpoint import multihost  # a second and a half to import

    _waits[event] += 1  # a barrier needs a name of its own each time
    key = f"vit_jax {event} {_waits[event]}"
    multihost.get_barrier_sync_fn()(key=key, timeout_ms=1000 * timeout_seconds)


def _join(chosen: Plan) -> None:
    if chosen.count == 1:
        return
    jax.distributed.initialize(
        coordinator_address=chosen.coordinator,
        num_processes=chosen.count if chosen.coordinator else None,
        process_id=chosen.index if chosen.coordinator else None,
        local_device_ids=chosen.local_devices,
    )


def plan(environ: Environ, has_tpu: bool = False) -> Plan:
    """Returns how a process with these variables joins the others; see `DETECTORS` for the order.

    Args:
        environ: environment variables.
        has_tpu: whether this machine has TPU chips and libtpu.

    Raises:
        UserError: for an incomplete or contradictory environment.
    """
    for detect in DETECTORS:
        found = detect(environ)
        if found is not None:
            return found
    if has_tpu and "TPU_SKIP_MDS_QUERY" not in environ:
        return Plan("the Cloud TPU metadata server", None)
    for variable, fix in LONELY.items():
        if _entries(environ.get(variable, "")) > 1:
            raise UserError(
                f"{variable}={environ[variable]} speaks of several processes, but nothing says how "
                f"to join them; {fix}"
            )
    return Plan("single process", 1, 0)


def _from_variables(environ: Environ) -> Plan | None:
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


def _from_torchrun(environ: Environ) -> Plan | None:
    """torchrun and accelerate: one process a GPU. torchrun itself listens on MASTER_PORT."""
    names = ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "RANK")
    if not all(environ.get(name) for name in names):
        return None
    port = _integer(environ, "MASTER_PORT") + 1
    coordinator = f"{environ['MASTER_ADDR']}:{port}"
    devices = _own_gpus(environ, environ.get("LOCAL_RANK"), environ.get("LOCAL_WORLD_SIZE"))
    return _numbered("torchrun variables", environ, "WORLD_SIZE", "RANK", coordinator, devices)


def _from_slurm(environ: Environ) -> Plan | None:
    names = (
        "SLURM_JOB_ID",
        "SLURM_STEP_NODELIST",
        "SLURM_NTASKS",
        "SLURM_PROCID",
        "SLURM_LOCALID",
    )
    if not all(environ.get(name) for name in names):
        return None
    tasks = environ.get("SLURM_STEP_TASKS_PER_NODE", "")
    per_node = re.match(r"\d+", tasks)  # "4(x2)": the first node's number, equal on all
    devices = _own_gpus(environ, environ["SLURM_LOCALID"], per_node and per_node.group())
    return _numbered("SLURM", environ, "SLURM_NTASKS", "SLURM_PROCID", None, devices)


def _from_open_mpi(environ: Environ) -> Plan | None:
    if not environ.get("OMPI_MCA_orte_hnp_uri"):
        return None
    rank = "OMPI_COMM_WORLD_RANK"
    devices = _own_gpus(
        environ,
        environ.get("OMPI_COMM_WORLD_LOCAL_RANK"),
        environ.get("OMPI_COMM_WORLD_LOCAL_SIZE"),
    )
    return _numbered("Open MPI", environ, "OMPI_COMM_WORLD_SIZE", rank, None, devices)


def _from_gke_tpu(environ: Environ) -> Plan | None:
    """Workers of a slice times slices, as GKE's TPU webhook sets them."""
    hosts = environ.get("TPU_PROCESS_ADDRESSES") or environ.get("TPU_WORKER_HOSTNAMES")
    if not hosts or not environ.get("TPU_WORKER_ID"):
        return None
    slices = int(environ.get("MEGASCALE_NUM_SLICES") or 1)
    count = _entries(hosts) * slices
    return Plan("GKE TPU variables", count, 0 if count == 1 else None)


def _from_kubernetes(environ: Environ) -> Plan | None:
    """An indexed Job; JAX asks the Kubernetes API for the rest, with the `kubernetes` package."""
    inside = environ.get("KUBERNETES_SERVICE_HOST") and environ.get("JOB_COMPLETION_INDEX")
    if not inside or importlib.util.find_spec("kubernetes") is None:
        return None
    return Plan("the Kubernetes Job", None, int(environ["JOB_COMPLETION_INDEX"]))


# The first that recognises its variables decides.
DETECTORS: tuple[Callable[[Environ], Plan | None], ...] = (
    _from_variables,
    _from_torchrun,
    _from_slurm,
    _from_open_mpi,
    _from_gke_tpu,
    _from_kubernetes,
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


def _own_gpus(environ: Environ, rank: str | None, per_node: str | None) -> tuple[int, ...] | None:
    """Returns the ordinals, among the visible GPUs, of the share of local process `rank`.

    None, JAX's choice, unless CUDA_VISIBLE_DEVICES lists the GPUs. A process bound to one GPU sees
    it as ordinal 0, which JAX's own "one process a GPU, ordinal = local rank" gets wrong.
    """
    visible = len([gpu for gpu in environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu])
    if not visible or rank is None:
        return None
    if visible == 1:
        return (0,)
    share = max(1, visible // int(per_node or visible))
    first = int(rank) * share
    return tuple(range(first, first + share)) if first + share <= visible else None


def _entries(value: str) -> int:
    """Returns the number a variable speaks of: itself, or the length of its list."""
    return int(value) if value.isdigit() else len([part for part in value.split(",") if part])


def _integer(environ: Environ, name: str) -> int:
    value = environ.get(name, "")
    if not re.fullmatch(r"\d+", value):
        raise UserError(f"{name}={value!r} must be a whole number")
    return int(value)


def _has_tpu() -> bool:
    """Whether Google's PCI devices and libtpu are here: then Cloud TPU's server may know us."""
    wanted = "tpu" in os.environ.get("JAX_PLATFORMS", "tpu")
    if not wanted or importlib.util.find_spec("libtpu") is None:
        return False
    vendors = pathlib.Path("/sys/bus/pci/devices").glob("*/vendor")
    return any(vendor.read_text().strip() == "0x1ae0" for vendor in vendors)
