# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What the devices of a compiled program say to each other, read from its text (HLO).

`read(compiled.as_text(), mesh)` finds every collective, names the mesh axes it talks along, and
multiplies out the loops around it. It reads what XLA writes for CPUs, GPUs and TPUs.
"""

import dataclasses
import math
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jax.sharding import AbstractMesh, Mesh
from tabulate import tabulate

KINDS = ("all-gather", "reduce-scatter", "all-reduce", "all-to-all", "collective-permute")


@dataclasses.dataclass(frozen=True)
class Collective:
    """One collective of a program.

    Attributes:
        kind: one of `KINDS`.
        axes: the mesh axes along which the devices that talk differ, in the mesh's order.
        bytes: what each device sends in one execution, when each piece takes the shortest way round
            a ring of n devices: (n - 1) / n of the whole array, twice that for an all-reduce.
        times: executions in one run of the program.
        shapes: of its results on one device, like `f32[8,32]`; several where XLA combined some.
        source: the operation of the traced program it stems from, as XLA keeps it.
    """

    kind: str
    axes: tuple[str, ...]
    bytes: int
    times: int
    shapes: tuple[str, ...]
    source: str = ""


def read(program_text: str, mesh: Mesh | AbstractMesh) -> list[Collective]:
    """Returns the collectives of a compiled program, `compiled.as_text()`, in its order.

    One that XLA split into start and done, or into phases hidden in other operations, counts once;
    a fused all-reduce of which each device keeps its slice is what TPUs call a reduce-scatter. Both
    branches of a condition count as taken.

    Args:
        program_text: the text of an optimised HLO module.
        mesh: the mesh it was compiled for; only its axes matter.

    Raises:
        ValueError: the program is not HLO, or repeats a collective nobody knows how often.
    """
    return list(_Reader(_parse(program_text), mesh).walk())


def sums(rows: Sequence[Collective]) -> list[tuple[str, str, int, float]]:
    """Returns, for each kind along each axes: both, executions, MiB a device sends in one run."""
    found: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        entry = found.setdefault((row.kind, ", ".join(row.axes)), [0, 0])
        entry[0] += row.times
        entry[1] += row.times * row.bytes
    order = sorted(found, key=lambda key: (KINDS.index(key[0]), key[1]))
    return [(*key, found[key][0], found[key][1] / 2**20) for key in order]


def table(rows: Sequence[Collective]) -> str:
    """Returns `sums` as a text table."""
    headers = ("collective", "axes", "times", "MiB a device")
    return tabulate(sums(rows), headers=headers, floatfmt=".3f")


class _Instruction(NamedTuple):
    name: str
    shapes: tuple[str, ...]
    opcode: str
    operands: tuple[str, ...]
    text: str  # what is between the parentheses
    attributes: str

    def called(self) -> list[str]:
        """Returns the computations it runs, however the attribute is called."""
        found = re.findall(
            r"\b(?:calls|to_apply|\w+_computations?)=(\{[^}]*\}|%\S+)", self.attributes
        )
        return re.findall(r"%([\w.\-]+)", " ".join(found))

    def attribute(self, pattern: str) -> str | None:
        match = re.search(pattern, self.attributes)
        return match and match[1]


class _Computation(NamedTuple):
    instructions: dict[str, _Instruction]
    root: str
    parameters: dict[int, str]


class _Module(NamedTuple):
    computations: dict[str, _Computation]
    entry: str


_HEADER = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\) -> .*\{$")
_LINE = re.compile(r"\s+(ROOT )?%?([\w.\-]+) = (.*?) ([a-z][a-z0-9\-]*)\((.*)$")
_LAYOUT = re.compile(r"(?<=\])\{[^{}]*\}")
_SHAPE = re.compile(r"\b([a-z][a-z0-9]*\[[\d,<=?]*\])")


def _parse(text: str) -> _Module:
    computations: dict[str, _Computation] = {}
    entry, current = "", None
    for line in text.splitlines():
        if not line.startswith(" ") and (header := _HEADER.match(line)):
            current, name = _Computation({}, "", {}), header[2]
            computations[name] = current
            entry = name if header[1] else entry
        elif current is not None and (match := _LINE.match(_LAYOUT.sub("", line))):
            instruction = _instruction(match[2], match[3], match[4], match[5])
            current.instructions[instruction.name] = instruction
            if instruction.opcode == "parameter":
                current.parameters[int(instruction.text)] = instruction.name
            if match[1]:
                current = current._replace(root=instruction.name)
                computations[name] = current
    if not entry:
        raise ValueError("this is not the text of an HLO module: it has no ENTRY computation")
    return _Module(computations, entry)


def _instruction(name: str, result: str, opcode: str, rest: str) -> _Instruction:
    depth, end = 1, 0
    while depth and end < len(rest):
        depth += (rest[end] == "(") - (rest[end] == ")")
        end += 1
    inside = rest[: end - 1]
    operands = tuple(re.findall(r"%([\w.\-]+)", inside))
    return _Instruction(name, tuple(_SHAPE.findall(result)), opcode, operands, inside, rest[end:])


@dataclasses.dataclass(frozen=True, eq=False)
class _Scope:
    """A computation as it is run: with the loop whose body it is, or with its caller's operands."""

    computation: _Computation
    caller: "_Scope | None" = None
    operands: tuple[str, ...] = ()
    is_loop_body: bool = False

    def origin(self, name: str) -> "tuple[_Scope, _Instruction] | None":
        """Follows a value to the instruction that made it; None if it changes from loop to loop."""
        instruction = self.computation.instructions[name]
        if instruction.opcode in ("copy", "bitcast", "convert", "reshape"):
            return self.origin(instruction.operands[0])
        if instruction.opcode == "get-tuple-element":
            return self._element(instruction)
        if instruction.opcode == "parameter":
            if self.caller is None or self.is_loop_body:
                return None
            return self.caller.origin(self.operands[int(instruction.text)])
        return self, instruction

    def _element(self, taken: _Instruction) -> "tuple[_Scope, _Instruction] | None":
        index = int(taken.attribute(r"index=(\d+)") or 0)
        source = self.computation.instructions[taken.operands[0]]
        if self.is_loop_body and source.opcode == "parameter":
            root = self.computation.instructions[self.computation.root]
            kept = self.computation.instructions[root.operands[index]]
            unchanged = kept.operands == taken.operands and kept.attributes == taken.attributes
            if not (unchanged and self.caller):
                return None
            found = self.caller.origin(self.operands[0])
        else:
            found = self.origin(source.name)
        if found is None or found[1].opcode != "tuple":
            return None
        scope, made = found
        return scope.origin(made.operands[index])

    def number(self, name: str) -> int | None:
        """Returns the value of an integer scalar, if the program says it."""
        found = self.origin(name)
        if found and found[1].opcode == "constant" and re.fullmatch(r"-?\d+", found[1].text):
            return int(found[1].text)
        return None


class _Reader:
    def __init__(self, module: _Module, mesh: Mesh | AbstractMesh):
        self._computations = module.computations
        self._entry = module.entry
        self._axes = tuple(mesh.shape)
        self._sizes = tuple(mesh.shape.values())

    def walk(self) -> Iterator[Collective]:
        yield from self._walk(_Scope(self._computations[self._entry]), 1, None)

    def _walk(self, scope: _Scope, times: int, phases: set[str] | None) -> Iterator[Collective]:
        """Yields what a computation says; `phases` are channels met in the fusions around it."""
        fused = phases is not None
        channels: set[str] = set() if phases is None else phases
        for instruction in scope.computation.instructions.values():
            kind = instruction.opcode.removesuffix("-start")
            if kind in KINDS:
                # A fusion has no collective of its own but on TPUs, and there each phase of an
                # asynchronous one repeats it.
                channel = instruction.attribute(r"channel_id=(\d+)") or instruction.name
                if not (fused and channel in channels):
                    yield from self._collective(scope, instruction, kind, times, fused)
                if fused:
                    channels.add(channel)
            elif instruction.opcode == "while":
                yield from self._loop(scope, instruction, times)
            elif not instruction.opcode.endswith(("-done", "-update")):
                inner = channels if instruction.opcode == "fusion" or fused else None
                for name in instruction.called():
                    body = _Scope(self._computations[name], scope, instruction.operands)
                    yield from self._walk(body, times, inner)

    def _loop(self, scope: _Scope, loop: _Instruction, times: int) -> Iterator[Collective]:
        name = loop.attribute(r"body=%?([\w.\-]+)") or ""
        body = _Scope(self._computations[name], scope, loop.operands, is_loop_body=True)
        found = list(self._walk(body, 1, None))
        if not found:
            return
        trips = self._trips(scope, loop)
        if trips is None:
            raise ValueError(f"nothing says how often {loop.name} runs, which has collectives")
        for row in found:
            yield dataclasses.replace(row, times=row.times * times * trips)

    def _trips(self, scope: _Scope, loop: _Instruction) -> int | None:
        """Returns how often a loop runs; one that XLA does not know counts in steps of one."""
        known = loop.attribute(r'"known_trip_count":\{"n":"(\d+)"')
        if known is not None:
            return int(known)
        name = loop.attribute(r"condition=%?([\w.\-]+)") or ""
        inside = _Scope(self._computations[name], scope, loop.operands)
        test = inside.computation.instructions[inside.computation.root]
        while test.opcode == "fusion":
            inside = _Scope(self._computations[test.called()[0]], inside, test.operands)
            test = inside.computation.instructions[inside.computation.root]
        if test.opcode != "compare":
            return None
        start, end = (inside.number(operand) for operand in test.operands)
        direction = test.attribute(r"direction=(\w+)") or ""
        if start is None or end is None or direction not in ("LT", "LE", "GT", "GE", "NE"):
            return None
        return abs(end - start) + direction.endswith("E") * (direction != "NE")

    def _collective(
        self, scope: _Scope, instruction: _Instruction, kind: str, times: int, fused: bool
    ) -> Iterator[Collective]:
        groups = self._groups(instruction, kind)
        axes, size = self._differing(groups), len(groups[0])
        if not axes:
            return
        instructions = scope.computation.instructions
        held = [shape for name in instruction.operands for shape in instructions[name].shapes]
        operands = len(held)
        results = instruction.shapes
        if instruction.opcode in ("all-gather-start", "collective-permute-start"):
            results = results[operands : 2 * operands]
        users = [i for i in instructions.values() if instruction.name in i.operands]
        if kind == "all-reduce" and fused and users and users[0].opcode == "dynamic-slice":
            kind, results = "reduce-scatter", users[0].shapes
        whole = sum(map(_bytes, held))
        yield Collective(
            kind=kind,
            axes=axes,
            bytes=_sent(kind, whole, size),
            times=times,
            shapes=results,
            source=instruction.attribute(r'op_name="([^"]*)"') or "",
        )

    def _groups(self, instruction: _Instruction, kind: str) -> list[list[int]]:
        """Returns the devices that talk to each other, as positions in the flattened mesh."""
        if kind == "collective-permute":
            return _lists(instruction.attribute(r"source_target_pairs=\{(.*?\})\}") or "")
        everyone = [list(range(math.prod(self._sizes)))]
        text = instruction.attribute(r"replica_groups=(\{\{.*?\}\}|mesh.*?\}|\[\S+)") or ""
        if text.startswith("mesh"):
            return _mesh_groups(text)
        if text.startswith("["):
            return _iota(text.rstrip(",")).tolist()
        return _lists(text) or everyone

    def _differing(self, groups: list[list[int]]) -> tuple[str, ...]:
        """Returns the axes in whose coordinate the members of a group differ."""
        found = set()
        for group in groups:
            coordinates = np.unravel_index(group, self._sizes)
            found |= {a for a, c in zip(self._axes, coordinates, strict=True) if len(set(c)) > 1}
        return tuple(axis for axis in self._axes if axis in found)


def _lists(text: str) -> list[list[int]]:
    """Reads `{0,1},{2,3}`."""
    found = re.findall(r"\{([\d,]+)\}", text)
    return [[int(number) for number in group.split(",")] for group in found]


def _iota(text: str) -> np.ndarray:
    """Reads `[4,2]<=[2,4]T(1,0)`: 0, 1, ... shaped, transposed, shaped again; or its right half."""
    match = re.match(r"(?:\[([\d,]+)\]<=)?\[([\d,]+)\](?:T\(([\d,]+)\))?$", text)
    if match is None:
        raise ValueError(f"cannot read the device groups {text!r}")
    shape, source, order = (
        tuple(map(int, part.split(","))) if part else () for part in match.groups()
    )
    ids = np.arange(math.prod(source)).reshape(source)
    ids = ids.transpose(order) if order else ids
    return ids.reshape(shape) if shape else ids


def _mesh_groups(text: str) -> list[list[int]]:
    """Reads `mesh['a'=2,'b'=4], device_ids=(...) {'b'}`, and parts of axes, `'b':(1)2`."""
    match = re.match(r"mesh\[([^\]]*)\](?:, device_ids=\((.*)\))? \{([^}]*)\}", text)
    if match is None:
        raise ValueError(f"cannot read the device groups {text!r}")
    sizes = {name: int(size) for name, size in (part.split("=") for part in match[1].split(","))}
    ids = np.arange(math.prod(sizes.values())).reshape(tuple(sizes.values()))
    if match[2]:
        given = _iota(match[2]) if "[" in match[2] else match[2].split(",")
        ids = np.asarray(given, int).reshape(ids.shape)
    # Split each axis into (before, taken, after), then bring what is taken to the end.
    taken = dict.fromkeys(sizes, (1, 1))
    for name, before, inside in re.findall(r"('[^']*')(?::\((\d+)\)(\d+))?", match[3]):
        taken[name] = int(before or 1), int(inside or sizes[name])
    split = [(b, n, sizes[name] // (b * n)) for name, (b, n) in taken.items()]
    order = [3 * i + j for j in (0, 2, 1) for i in range(len(split))]
    count = math.prod(n for _, n in taken.values())
    return ids.reshape(sum(split, ())).transpose(order).reshape(-1, count).tolist()


def _bytes(shape: str) -> int:
    kind, dimensions = shape.rstrip("]").split("[")
    bits = 8 if kind == "pred" else int((re.search(r"\d+", kind) or ["0"])[0])
    return math.prod(int(d.lstrip("<=")) for d in dimensions.split(",") if d) * bits // 8


def _sent(kind: str, held: int, group: int) -> int:
    """Returns the bytes a device sends that brings `held` bytes into a group, round a ring."""
    if kind == "all-gather":
        return held * (group - 1)
    if kind == "collective-permute":
        return held
    return held * (group - 1) * (2 if kind == "all-reduce" else 1) // group
