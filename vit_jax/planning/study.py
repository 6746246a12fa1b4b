# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""A configuration on a machine: what its step takes and costs there, compiled or by the trace."""

import contextlib
import dataclasses
import functools
import math
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from vit_jax import config as config_lib
from vit_jax.errors import UserError
from vit_jax.layers.attention import AttentionCall, choose_implementation
from vit_jax.models import model_info
from vit_jax.optim.parameters import layer_ids
from vit_jax.parallel import collectives, sharding
from vit_jax.parallel.mesh import AXES, abstract_mesh, create_mesh
from vit_jax.planning import estimate, memory, topology, trace
from vit_jax.planning.cost import Cost, read_cost, twins
from vit_jax.planning.estimate import Memory, Work
from vit_jax.planning.plan import Plan, describe
from vit_jax.planning.topology import Machine
from vit_jax.planning.trace import Traced
from vit_jax.training import program as program_lib
from vit_jax.training import state as state_lib

# Of a block's activations, in ViT's sizes, the share that a tensor axis leaves whole: the residual
# stream and what norms make of it, against queries, keys, values, weights and hidden units.
_WHOLE_SHARE = 0.3

# Images of a trace: so many that what is alive is activations most of all, not gradients.
_MANY = 4096


class Study:
    """Plans runs on one machine.

    Args:
        facts: of the data.
        machine: where.
        say: gets a line about each compilation.
    """

    def __init__(self, facts: program_lib.Facts, machine: Machine, say: Callable[[str], None]):
        self.machine, self._facts, self._say = machine, facts, say
        self._traces: dict[str, tuple[program_lib.Program, Any]] = {}
        self._states: dict[str, state_lib.TrainState] = {}

    @functools.cached_property
    def devices(self) -> list[jax.Device]:
        """What is compiled for; UserError if there is no compiler for the machine here."""
        return topology.devices(self.machine)

    def analytic(self, config: ConfigDict) -> Plan:
        """Plans by the traced program; UserError if the batch cannot be split."""
        config = _as_run_there(config, self.machine)
        mesh = abstract_mesh(config.mesh, self.machine.count)
        if mesh.shape["sequence"] > 1:
            raise UserError(
                f"mesh.sequence={mesh.shape['sequence']}: only a compiled plan knows what that "
                "costs; leave out --analytic"
            )
        parts = config.train.accumulation_steps
        sharding.check_batch_size(cast(Mesh, mesh), config.train.batch_size, parts)
        program = self._trace_rows(config, _MANY)[0]
        traced = self._trace(config, mesh.shape)
        tensor = mesh.shape["tensor"]
        state = self._placed(config, mesh)
        held = _held(state, program, config, mesh)
        parameters = _parameter_bytes(state, config)
        layers = max(1, layer_ids(state.params)[1])
        gathered = sum(row[0] * mesh.shape["fsdp"] for row in parameters) // layers
        found = dataclasses.replace(
            held,
            activations=_split_activations(traced, tensor),
            temporaries=2 * gathered,  # while one layer computes, the next one's are gathered
        )
        work = Work(
            flops=traced.flops / tensor,
            bytes=traced.product_bytes / tensor + 2 * (held.parameters + held.optimiser),
            collectives=estimate.training_collectives(
                parameters, mesh.shape, tensor_sums=round(traced.tensor_sums), parts=parts
            ),
        )
        return self._plan(config, mesh, program, found, work)

    def _placed(self, config: ConfigDict, mesh: Any) -> state_lib.TrainState:
        """Returns the abstract state on a mesh; keeps it."""
        program = self._trace_rows(config, _MANY)[0]
        key = f"{mesh.shape} {config.mesh.spread_optimiser}"
        if key not in self._states:
            self._states[key] = state_lib.abstract_state(
                program.model,
                program.optimiser,
                program.image_shape,
                ema=config.train.ema_decay > 0,
                mesh=mesh,
                spread_optimiser=config.mesh.spread_optimiser,
            )
        return self._states[key]

    def compiled(self, config: ConfigDict, hlo: str | None = None) -> Plan:
        """Plans by the program as the machine's own compiler makes it.

        Args:
            config: of the run.
            hlo: a file for the program's text.

        Raises:
            UserError: the batch cannot be split, or there is no compiler for the machine here.
        """
        config = _as_run_there(config, self.machine)
        shape = {axis: config.mesh[axis] for axis in AXES}
        mesh = create_mesh(shape, self.devices, config.mesh.slices)
        program = self._build(config, mesh)
        held = _held(program.abstract_state, program, config, mesh)
        self._say(f"compiling {describe(config, mesh.shape)}")
        waiting = config.data.prefetch_batches * _batch_bytes(program, config, mesh)
        total, gaps, compiled = _compile(program, mesh, waiting)
        traced = self._trace(config, mesh.shape)
        split = mesh.shape["tensor"] * mesh.shape["sequence"]
        rest = max(0, total - held.total)
        kept = max(0, min(_split_activations(traced, split), rest - gaps))
        by_kind = dataclasses.replace(held, activations=kept, temporaries=rest - kept)
        work = Work(traced.flops / split, 0.0, ())
        if compiled is not None:
            cost = self._cost(config, compiled, held)
            text = compiled.as_text()
            said = tuple(collectives.read(text, mesh))
            if hlo:
                pathlib.Path(hlo).write_text(text, encoding="utf-8")
            work = Work(traced.flops / split, cost.bytes, said, cost.seconds)
        return self._plan(config, mesh, program, by_kind, work, compiled=True)

    def _plan(
        self,
        config: ConfigDict,
        mesh: Any,
        program: program_lib.Program,
        found: Memory,
        work: Work,
        compiled: bool = False,
    ) -> Plan:
        steps = program_lib.resolve_steps(config, self._facts.train_examples)
        free = self.machine.chip.peak.memory_bytes * (1 - memory.RESERVE)
        return Plan(
            machine=self.machine,
            config=config,
            sizes=dict(mesh.shape),
            compiled=compiled,
            memory=found,
            limit=round(config.memory_gib * memory.GIB or free),
            work=work,
            floor=estimate.floor(work, self.machine, mesh.shape, config.model.dtype),
            flops_per_image=program.work.flops_per_image,
            total_steps=steps.total,
        )

    def _build(self, config: ConfigDict, mesh: Mesh) -> program_lib.Program:
        steps = program_lib.resolve_steps(config, self._facts.train_examples)
        with _using(mesh):
            return program_lib.build(config, self._facts, steps, mesh)

    # what the trace tells -------------------------------------------------------------------------

    def _trace(self, config: ConfigDict, sizes: Mapping[str, int]) -> Traced:
        """Returns what a step asks of one chip, its batch part after part, before any splitting.

        All of it is a constant, the parameters', and a multiple of the rows: two traces tell.
        """
        parts = config.train.accumulation_steps
        rows = config.train.batch_size // (sizes["data"] * sizes["fsdp"] * parts)
        split = _split_kernels(self._trace_rows(config, _MANY)[0], sizes["tensor"])
        many, more = (trace.read(self._trace_rows(config, n)[1], split) for n in (_MANY, 2 * _MANY))
        return many.at(more, rows / _MANY).times(parts)

    def _trace_rows(self, config: ConfigDict, rows: int) -> tuple[program_lib.Program, Any]:
        """Returns the program of one chip for so many rows, and its jaxpr; keeps them."""
        alone = {f"mesh.{axis}": 1 for axis in (*AXES, "slices")}
        alone |= {"train.accumulation_steps": 1, "train.batch_size": rows, "model.scan": True}
        config = config_lib.with_fields(config, alone)
        key = config_lib.to_json(config)
        if key not in self._traces:
            try:  # a loop is the same program, and traced sooner
                self._traces[key] = self._trace_alone(config)
            except UserError:  # unless blocks differ, or are named one by one
                unrolled = config_lib.with_fields(config, {"model.scan": False})
                self._traces[key] = self._trace_alone(unrolled)
        return self._traces[key]

    def _trace_alone(self, config: ConfigDict) -> tuple[program_lib.Program, Any]:
        mesh = cast(Mesh, abstract_mesh(config.mesh, 1))
        program = self._build(config, mesh)
        with _using(mesh):
            batch = program_lib.abstract_batch(program, mesh)
            jaxpr = jax.make_jaxpr(program.train_step)(program.abstract_state, batch)
        return program, jaxpr.jaxpr

    # what the compiler tells ----------------------------------------------------------------------

    def _cost(self, config: ConfigDict, compiled: Any, held: Memory) -> Cost:
        """Returns a step's cost; loops, whose bodies XLA counts once, by unrolled twins.

        A twin has one run of each loop's body, another one run more: what that adds is added as
        often as the body runs. Of a batch in parts the twin computes one part, and the update once.
        """
        parts = config.train.accumulation_steps
        if not config.model.scan and parts == 1:
            return read_cost(compiled)
        unrolled = {
            "model.scan": False,
            "train.accumulation_steps": 1,
            "train.batch_size": config.train.batch_size // parts,
        }
        base, more = twins(config)
        first = self._twin_cost(config, unrolled | {"model.overrides": base})
        total = first
        for overrides, repeats in more:
            twin = self._twin_cost(config, unrolled | {"model.overrides": overrides})
            total = total.plus(twin.plus(first, -1), repeats)
        touched = 2 * (held.parameters + held.optimiser)
        update = Cost(touched, touched / self.machine.chip.memory_rate)
        return total.plus(total.plus(update, -1), parts - 1)

    def _twin_cost(self, config: ConfigDict, fields: Mapping[str, Any]) -> Cost:
        twin = config_lib.with_fields(config, fields)
        shape = {axis: twin.mesh[axis] for axis in AXES}
        mesh = create_mesh(shape, self.devices, twin.mesh.slices)
        program = self._build(twin, mesh)
        depth = twin.model.overrides.get("depth") or twin.model.overrides.get("depths")
        self._say(f"  compiling its twin with depth {depth}, unrolled, to count its loops right")
        return read_cost(program_lib.compile_step(program, mesh))


def _as_run_there(config: ConfigDict, machine: Machine) -> ConfigDict:
    """Returns a configuration whose model is what it would be on a TPU.

    An implementation of attention that is left open is chosen by the devices JAX finds, and in a
    process that compiles for a TPU these are CPUs.
    """
    overrides = config.model.overrides.to_dict()
    spec = model_info(config.model.name).spec
    open_choice = overrides.get("attention", getattr(spec, "attention", "")) == "auto"
    if not (machine.chip.is_tpu and open_choice):
        return config
    call = AttentionCall("tpu", config.model.dtype, query_length=1, key_length=1, head_size=64)
    chosen, _ = choose_implementation(call)
    return config_lib.with_fields(config, {"model.overrides": {**overrides, "attention": chosen}})


def _compile(program: program_lib.Program, mesh: Mesh, waiting: int) -> tuple[int, int, Any]:
    """Returns the bytes a step takes on a chip, how many of these hold no array (the program, and
    gaps between arrays), and the compiled step; None if it is too large."""
    compiled: Any
    try:
        compiled = program_lib.compile_step(program, mesh)
    except jax.errors.JaxRuntimeError as error:
        match = re.search(r"Used ([\d.]+)([KMGT]) of", str(error))
        if "RESOURCE_EXHAUSTED" not in str(error) or match is None:
            raise
        return round(float(match[1]) * 1024 ** (" KMGT".index(match[2]))), 0, None
    total = memory.usage(compiled, waiting).total
    arrays = compiled.memory_analysis().peak_memory_in_bytes + waiting
    return total, max(0, total - arrays) if arrays > waiting else 0, compiled


@contextlib.contextmanager
def _using(mesh: Any) -> Any:
    """Makes a mesh the current one, whether its devices are there or not."""
    abstract = isinstance(mesh, jax.sharding.AbstractMesh)
    with jax.sharding.use_abstract_mesh(mesh) if abstract else jax.set_mesh(mesh):
        yield


def _held(
    state: state_lib.TrainState, program: program_lib.Program, config: ConfigDict, mesh: Any
) -> Memory:
    """Returns what a chip holds whatever the compiler does, and the gradients."""
    parameters = sharding.shard_bytes(state.params)
    # A batch in parts has gradients of a part beside their sum.
    gradients = parameters * (1 + (config.train.accumulation_steps > 1))
    return Memory(
        parameters=parameters,
        optimiser=sharding.shard_bytes(state) - parameters + gradients,
        batches=(1 + config.data.prefetch_batches) * _batch_bytes(program, config, mesh),
        activations=0,
        temporaries=0,
    )


def _batch_bytes(program: program_lib.Program, config: ConfigDict, mesh: Any) -> int:
    rows = config.train.batch_size // sharding.batch_parts(mesh)
    return rows * (math.prod(program.image_shape) + np.dtype(np.int32).itemsize)


def _parameter_bytes(
    state: state_lib.TrainState, config: ConfigDict
) -> list[tuple[int, int, bool]]:
    """Returns of each parameter what `estimate.training_collectives` asks for."""
    rows = []
    for leaf in jax.tree.leaves(state.params):
        count = math.prod(leaf.sharding.shard_shape(leaf.shape))
        split = "fsdp" in jax.tree.leaves(tuple(leaf.sharding.spec))
        size = np.dtype(leaf.dtype).itemsize
        # A parameter is cast before it is gathered, if that makes it smaller.
        gathered = min(size, jnp.dtype(config.model.dtype).itemsize)
        rows.append((count * gathered, count * size, split))
    return rows


def _split_activations(traced: Traced, parts: int) -> int:
    """Returns the bytes of the activations where so many chips share a layer."""
    return round(traced.activations * (_WHOLE_SHARE + (1 - _WHOLE_SHARE) / parts))


def _split_kernels(program: program_lib.Program, tensor: int) -> list[tuple[tuple[int, ...], int]]:
    """Returns the shapes of the kernels a tensor axis would split, and at which dimension."""
    if tensor == 1:
        return []
    mesh = cast(
        Mesh, abstract_mesh({"data": 1, "fsdp": 1, "sequence": 1, "tensor": tensor}, tensor)
    )
    params = program.abstract_state.params
    places = jax.tree.leaves(sharding.shardings(params, mesh))
    found = []
    for (path, leaf), place in zip(sharding.named_leaves(params), places, strict=True):
        layers = "blocks" in path.split("/")  # a leading axis that no product sees
        axes = tuple(place.spec)
        if "tensor" in axes and path.endswith("kernel"):
            found.append((tuple(leaf.shape[layers:]), axes.index("tensor") - layers))
    return found
