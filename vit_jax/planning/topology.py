# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Machines by name: `v5p:4x4x4`, two slices as `v5e:16x16*2`, `h100:8`, 16 nodes as `h100:16x8`.

A TPU need not be there to be compiled for: libtpu's compiler runs on any CPU. A GPU must.
"""

import contextlib
import dataclasses
import math
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping

import jax

from vit_jax.errors import UserError
from vit_jax.planning import chips
from vit_jax.planning.chips import Chip


@dataclasses.dataclass(frozen=True)
class Machine:
    """Chips and how they are joined.

    Attributes:
        chip: of one kind.
        shape: of the torus of a slice; of GPUs (nodes, GPUs a node).
        slices: how many there are of it, joined by a slower network.
    """

    chip: Chip
    shape: tuple[int, ...]
    slices: int = 1

    @property
    def count(self) -> int:
        """How many chips there are."""
        return math.prod(self.shape) * self.slices

    @property
    def near(self) -> int:
        """How many chips reach each other over links: a slice's, or a node's."""
        return self.shape[-1] if not self.chip.is_tpu else self.count // self.slices

    @property
    def links(self) -> int:
        """How many links a chip has inside its slice: one to a single neighbour, else two."""
        if not self.chip.is_tpu:
            return 1
        return sum(min(size - 1, 2) for size in self.shape) or 1

    def __str__(self) -> str:
        text = "x".join(
            map(str, self.shape if self.chip.is_tpu or self.shape[0] > 1 else self.shape[1:])
        )
        return f"{self.chip.name}:{text}" + (f"*{self.slices}" if self.slices > 1 else "")


def parse(text: str) -> Machine:
    """Returns the machine that a text names.

    Raises:
        UserError: an unknown chip, or sizes it does not come in.
    """
    match = re.fullmatch(r"(\w+):(\d+(?:x\d+)*)(?:\*(\d+))?", text)
    if match is None:
        raise UserError(
            f"--topology={text!r} is not CHIP:SIZES; write one like v5p:4x4x4, v5e:16x16*2 (two "
            "slices), h100:8 or h100:16x8 (16 nodes of 8)"
        )
    chip = chips.find(match[1])
    sizes = tuple(map(int, match[2].split("x")))
    slices = int(match[3] or 1)
    if not all((*sizes, slices)):
        raise UserError(f"--topology={text}: every size must be at least 1")
    if not chip.is_tpu:
        return Machine(chip, _nodes(text, chip, sizes, slices))
    if len(sizes) != chip.dimensions:
        example = "x".join(("4",) * chip.dimensions)
        raise UserError(
            f"--topology={text}: slices of {chip.name} have {chip.dimensions} dimensions; write "
            f"{chip.name}:{example}"
        )
    return Machine(chip, sizes, slices)


def _nodes(text: str, chip: Chip, sizes: tuple[int, ...], slices: int) -> tuple[int, int]:
    example = f"write {chip.name}:8, or {chip.name}:16x8 for 16 nodes of 8"
    if slices > 1 or len(sizes) > 2:
        raise UserError(f"--topology={text}: GPUs come as nodes x GPUs; {example}")
    if len(sizes) == 2:
        return sizes[0], sizes[1]
    if sizes[0] > chip.node and sizes[0] % chip.node:
        raise UserError(f"--topology={text} does not fill nodes of {chip.node}; {example}")
    return max(1, sizes[0] // chip.node), min(sizes[0], chip.node)


# compiling for it -------------------------------------------------------------------------------

# libtpu asks the cloud what machine it is on, and the log tells of every answer it does not get;
# it also takes itself for the owner of the chips, of which there are none. v4: as on a real one,
# whose two cores are one device.
_QUIET = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5p-8",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_STDERR_LOG_LEVEL": "3",
    "TPU_MIN_LOG_LEVEL": "3",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
_ARGUMENTS: Mapping[str, Mapping[str, str]] = {"v4": {"chip_config_name": "megacore"}}


def devices(machine: Machine) -> list[jax.Device]:
    """Returns devices to compile for: those of a TPU that is not there, or GPUs that are.

    Call it in a process that plans and does nothing else: JAX is set to compute on the CPU there.

    Raises:
        UserError: libtpu is not installed, or has no such slice; or the GPUs are not here.
    """
    return _tpu_devices(machine) if machine.chip.is_tpu else _gpu_devices(machine)


def _tpu_devices(machine: Machine) -> list[jax.Device]:
    from jax.experimental import topologies

    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    jax.config.update("jax_platforms", "cpu")
    more = dict(_ARGUMENTS.get(machine.chip.name, {}))
    if machine.slices > 1:
        more["num_slices"] = machine.slices  # type: ignore[assignment]
    hosts = (min(size, 2) for size in (*machine.shape, 1, 1)[:3])
    if math.prod(machine.shape) < 4:
        more["chips_per_host_bounds"] = tuple(hosts)  # type: ignore[assignment]
    name = str(dataclasses.replace(machine, slices=1))
    try:
        with _held_back_errors():
            found = topologies.get_topology_desc(name, platform="tpu", **more)
    except RuntimeError as error:
        if "not installed" in str(error):
            raise UserError(
                "compiling for a TPU needs libtpu: pip install 'vit-jax[tpu]'; or add --analytic"
            ) from None
        reason = str(error).splitlines()[0].removeprefix("INVALID_ARGUMENT: ")
        raise UserError(f"--topology={machine}: {reason}") from None
    return list(found.devices)


def _gpu_devices(machine: Machine) -> list[jax.Device]:
    here = [device for device in jax.devices() if device.platform == "gpu"]
    fitting = [d for d in here if chips.find_peak(d.device_kind) == machine.chip.peak]
    if len(fitting) < machine.count:
        raise UserError(
            f"--topology={machine}: a program for {machine.chip.name} is compiled where there are "
            f"{machine.count} of them, and here are {len(fitting)}; add --analytic"
        )
    return fitting[: machine.count]


@contextlib.contextmanager
def _held_back_errors() -> Iterator[None]:
    """Keeps what C++ writes to standard error; shows it if something unforeseen happens."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        except RuntimeError:  # told in one line
            raise
        except BaseException:
            file.seek(0)
            os.write(kept, file.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
