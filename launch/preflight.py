# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
r"""Looks at the machines before a run is paid for; start it just as the run will be started.

Examples, on this machine, on two processes here, and on the nodes of a SLURM job:

    python launch/preflight.py --data=pictures/imagenet --workdir=workdirs/s16
    python launch/local.py --processes=2 -- python launch/preflight.py
    bash launch/slurm.sbatch --nodes=2 -- python launch/preflight.py --data=/shared/imagenet

Checks on every process: versions are the same, every device takes part in a sum that is right and
how fast, data can be read, the workdir is one folder that all can write, disk, memory, clocks.
Status 0 if all is well, else 1, with one line a problem.
"""

import argparse
import dataclasses
import datetime
import faulthandler
import itertools
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.experimental import multihost_utils
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from vit_jax import doctor
from vit_jax.errors import UserError
from vit_jax.parallel import distributed

CHECKS = """versions of Python, JAX and the rest, the same on every process
devices: the same kind and number on every process
an all-reduce over all devices: the right sum, and the bandwidth
data: {data}
workdir: {workdir}
at least {disk:g} GiB of disk and {memory:g} GiB of memory free
clocks at most {clock:g} s apart"""
READ_BYTES = 2**20  # of one file: enough to know that data can be read
GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Facts:
    """What one process found.

    Attributes:
        host: name of its machine.
        versions: of Python and the packages.
        conflicts: what `vit-jax doctor` has to say.
        devices: kind -> number of its own.
        data: what it could read, or why not; "" if not asked for.
        data_ok: whether it could.
        workdir_ok: whether it sees what process 0 wrote there, and can write.
        free_disk_bytes: where the workdir is, or in the temporary folder.
        free_memory_bytes: None where it cannot be told.
        clock_seconds: since 1970, all processes asked together.
    """

    host: str
    versions: dict[str, str]
    conflicts: list[str]
    devices: dict[str, int]
    data: str
    data_ok: bool
    workdir_ok: bool
    free_disk_bytes: int
    free_memory_bytes: int | None
    clock_seconds: float


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="", metavar="PATH", help="folder or file to read")
    parser.add_argument("--workdir", default="", metavar="DIR", help="that the run will have")
    parser.add_argument("--disk", type=float, default=10, metavar="GIB", help="wanted free")
    parser.add_argument("--memory", type=float, default=2, metavar="GIB", help="wanted free")
    parser.add_argument("--clock", type=float, default=5, metavar="S", help="allowed apart")
    parser.add_argument("--mib", type=int, default=64, help="largest sum a device, for bandwidth")
    parser.add_argument("--timeout", type=int, default=300, metavar="S", help="then give up")
    parser.add_argument("--dry-run", action="store_true", help="list the checks and stop")
    many = parser.add_argument_group("several processes, where the environment does not tell")
    many.add_argument("--coordinator", default="", metavar="HOST:PORT", help="of process 0")
    many.add_argument("--num-processes", type=int, metavar="N", help="how many there are")
    many.add_argument("--process-id", type=int, metavar="I", help="which this is, from 0")
    return parser.parse_args(arguments)


def read_data(path: str) -> tuple[str, bool]:
    """Returns what was read of a file, or of a folder's first, and whether that worked."""
    if not path:
        return "", True
    try:
        found = epath.Path(path)
        for _ in range(8):  # a folder of folders, down to a file
            if not found.is_dir():
                break
            found = min(itertools.islice(found.iterdir(), 1000), default=found / "(empty)")
        with found.open("rb") as file:
            count = len(file.read(READ_BYTES))
    except OSError as error:
        return f"{path}: {error}", False
    return f"{count} bytes of {found}", True


class Workdir:
    """A folder that all processes should share; what was put there goes away again."""

    def __init__(self, path: str) -> None:
        self.path, self.index = path, jax.process_index()

    def shared(self) -> bool:
        """Whether this process sees process 0's mark and can write; all call it together."""
        if not self.path:
            return True
        here = epath.Path(self.path)
        marks = [here / f".preflight_{index}" for index in range(jax.process_count())]
        token = int(multihost_utils.broadcast_one_to_all(np.int32(os.getpid())))
        try:
            here.mkdir(parents=True, exist_ok=True)
            marks[self.index].write_text(str(token))
            written = True
        except OSError:
            written = False
        multihost_utils.sync_global_devices("preflight: written")
        try:
            seen = written and all(mark.read_text() == str(token) for mark in marks)
        except OSError:
            seen = False
        multihost_utils.sync_global_devices("preflight: read")
        if written:
            marks[self.index].unlink()
        return seen


def gather(args: argparse.Namespace) -> Facts:
    """Looks at this process's machine; all processes call it together."""
    machine = doctor.gather()
    data, data_ok = read_data(args.data)
    local = jax.local_devices()
    kinds = [device.device_kind for device in local]
    distributed.wait_for_all("looked", args.timeout)  # ahead of the first collective
    workdir_ok = Workdir(args.workdir).shared()
    place = args.workdir if os.path.isdir(args.workdir) else os.environ.get("TMPDIR", "/tmp")
    multihost_utils.sync_global_devices("preflight: clock")
    return Facts(
        host=os.uname().nodename,
        versions={"Python": platform.python_version(), **machine.packages},
        conflicts=doctor.conflicts(machine),
        devices={kind: kinds.count(kind) for kind in sorted(set(kinds))},
        data=data,
        data_ok=data_ok,
        workdir_ok=workdir_ok,
        free_disk_bytes=shutil.disk_usage(place).free,
        free_memory_bytes=machine.free_memory_bytes,
        clock_seconds=time.time(),
    )


def exchange(facts: Facts) -> list[Facts]:
    """Returns the facts of all processes, in their order, to each of them."""
    text = json.dumps(dataclasses.asdict(facts)).encode()
    lengths = np.ravel(multihost_utils.process_allgather(np.int32(len(text))))
    padded = np.frombuffer(text.ljust(int(lengths.max())), np.uint8)
    rows = np.reshape(multihost_utils.process_allgather(padded), (jax.process_count(), -1))
    return [Facts(**json.loads(row.tobytes())) for row in rows]


@dataclasses.dataclass(frozen=True)
class Sum:
    """One all-reduce over all devices.

    Attributes:
        size_bytes: of each device's part.
        right: whether every number of the result is right.
        seconds: the median of some runs.
        bandwidth: bytes a second over each device's links, 2 (n - 1) / n times the size.
    """

    size_bytes: int
    right: bool
    seconds: float
    bandwidth: float


def all_reduce(size_bytes: int, repeats: int = 5) -> Sum:
    """Adds up 1, 2, ..., n of n devices, float32, and times it."""
    devices = jax.devices()
    mesh = jax.make_mesh((len(devices),), ("all",), axis_types=(AxisType.Auto,), devices=devices)
    spec = PartitionSpec("all")
    length = max(1, size_bytes // 4)

    def value(index: Any) -> np.ndarray:
        rows = np.arange(len(devices), dtype=np.float32)[index[0]]
        return np.broadcast_to(rows[:, None] + 1, (len(rows), length))

    shape = (len(devices), length)
    parts = jax.make_array_from_callback(shape, NamedSharding(mesh, spec), value)
    add = jax.jit(
        jax.shard_map(lambda x: jax.lax.psum(x, "all"), mesh=mesh, in_specs=spec, out_specs=spec)
    )
    total = jax.block_until_ready(add(parts))
    expected = len(devices) * (len(devices) + 1) / 2
    right = all(bool(jnp.all(shard.data == expected)) for shard in total.addressable_shards)
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        jax.block_until_ready(add(parts))
        times.append(time.perf_counter() - started)
    seconds = float(np.median(times))
    moved = 2 * (len(devices) - 1) / len(devices) * 4 * length
    return Sum(4 * length, right, seconds, moved / seconds)


def problems(everyone: Sequence[Facts], sums: Sequence[Sum], args: argparse.Namespace) -> list[str]:
    """Returns what is wrong, a line each; args has the limits."""
    found = []
    first = everyone[0]
    for index, facts in enumerate(everyone):
        who = f"process {index} on {facts.host}"
        for name in sorted(first.versions | facts.versions):
            theirs, ours = first.versions.get(name, "none"), facts.versions.get(name, "none")
            if theirs != ours:
                found.append(f"{who} has {name} {ours}, process 0 {theirs}")
        found += [f"{who}: {conflict}" for conflict in facts.conflicts]
        if facts.devices != first.devices:
            found.append(f"{who} has {facts.devices}, process 0 {first.devices}")
        if not facts.data_ok:
            found.append(f"{who} cannot read data: {facts.data}")
        if not facts.workdir_ok:
            found.append(f"{who} does not share {args.workdir} with the others, to read and write")
        if facts.free_disk_bytes < args.disk * GIB:
            found.append(f"{who} has {facts.free_disk_bytes / GIB:.1f} GiB of disk")
        memory = facts.free_memory_bytes
        if memory is not None and memory < args.memory * GIB:
            found.append(f"{who} has {memory / GIB:.1f} GiB of memory")
    clocks = [facts.clock_seconds for facts in everyone]
    if max(clocks) - min(clocks) > args.clock:
        found.append(f"clocks are {max(clocks) - min(clocks):.1f} s apart")
    found += [f"the sum of {s.size_bytes} bytes a device is wrong" for s in sums if not s.right]
    return found


def report(everyone: Sequence[Facts], sums: Sequence[Sum]) -> str:
    """Returns the facts as text."""
    lines = [f"{name} {version}" for name, version in everyone[0].versions.items()]
    for index, facts in enumerate(everyone):
        devices = ", ".join(f"{count} x {kind}" for kind, count in facts.devices.items())
        memory = facts.free_memory_bytes
        clock = datetime.datetime.fromtimestamp(facts.clock_seconds, datetime.UTC)
        lines.append(
            f"process {index} on {facts.host}: {devices}; free: "
            f"disk {facts.free_disk_bytes / GIB:.1f} GiB, "
            f"memory {'not known' if memory is None else f'{memory / GIB:.1f} GiB'}; "
            f"clock {clock:%H:%M:%S}" + (f"; read {facts.data}" if facts.data else "")
        )
    lines += [
        f"all-reduce of {s.size_bytes / 2**20:g} MiB a device: {1e3 * s.seconds:.3g} ms, "
        f"{s.bandwidth / 1e9:.3g} GB/s"
        for s in sums
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_args(arguments)
    if args.dry_run:
        texts = {name: getattr(args, name) or "not given" for name in ("data", "workdir")}
        limits = {name: getattr(args, name) for name in ("disk", "memory", "clock")}
        print(CHECKS.format(**texts, **limits))
        return 0
    faulthandler.dump_traceback_later(args.timeout, exit=True)  # a collective that hangs says where
    try:
        flags = distributed.Flags(args.coordinator, args.num_processes, args.process_id)
        process = distributed.initialise(flags)
    except UserError as error:
        print(f"preflight: error: {error}", file=sys.stderr)
        return 2
    print(process, flush=True)
    everyone = exchange(gather(args))
    sizes = sorted({2**20 * mib for mib in (1, 16, args.mib) if mib <= args.mib})
    sums = [all_reduce(size) for size in sizes]
    found = problems(everyone, sums, args)
    if process.index == 0:
        print(report(everyone, sums))
        print("\n".join(f"problem: {line}" for line in found) or "all is well")
    faulthandler.cancel_dump_traceback_later()
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
