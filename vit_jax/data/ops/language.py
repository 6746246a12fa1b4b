# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The op language: `decode|inception_crop(224)|flip|randaugment(2, 9)|normalise(imagenet)`."""

import ast
import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

from vit_jax.data.ops.decode import Decode, DecodeInceptionCrop, InceptionCrop
from vit_jax.data.ops.device import DeviceOp, ValueRange
from vit_jax.data.ops.op import OPS, Op, Record, Size, fold, signature
from vit_jax.data.tensorflow import import_tensorflow
from vit_jax.errors import UserError
from vit_jax.registry import near_misses


@dataclasses.dataclass(frozen=True)
class Ops:
    """The preprocessing of one example: ops on the host, then at most one on the device.

    Every random op draws from `fold(example seed, "name/i")`, i counting the ops of that name, so
    adding, removing or moving other ops never changes what an op draws.

    Raises:
        UserError: the list does not start with `decode`, or a device op is not its last.
    """

    ops: tuple[Op, ...]

    def __post_init__(self) -> None:
        if not self.ops or not isinstance(self.ops[0], Decode):
            raise UserError(f"ops {self.spec!r} must start with decode")
        for op in self.ops[1:]:
            if isinstance(op, Decode):
                raise UserError(f"ops {self.spec!r}: decode must come once, at the start")
        for op in self.ops[:-1]:
            if op.on_device:
                raise UserError(
                    f"op {op.name} runs on the device, after the host's ops: move it to the end of "
                    f"{self.spec!r} (only one of normalise and value_range may be given)"
                )
        self.device_op.check_channels(self.channels)

    @property
    def spec(self) -> str:
        """Canonical text: `parse(ops.spec) == ops`."""
        return "|".join(op.spec for op in self.ops)

    @property
    def channels(self) -> int:
        """The number of channels of every image after decoding: 1 or 3."""
        return self.ops[0].channels  # type: ignore[attr-defined]

    @property
    def image_size(self) -> Size:
        """(height, width) of every image. Raises UserError where it would vary between images."""
        size = None
        for op in self.ops:
            size = op.output_size(size)
        if size is None:
            raise UserError(
                f"ops {self.spec!r} leave images of varying size, which cannot be batched: "
                "add a crop such as central_crop(224), or resize(224)"
            )
        return size

    @property
    def random(self) -> bool:
        """Whether any op draws random numbers."""
        return any(op.random for op in self.ops)

    @property
    def host_ops(self) -> tuple[Op, ...]:
        """The ops as the host runs them, a crop that follows decode fused with it.

        Joining the `spec` of any leading part by `|` gives a list that `parse` takes.
        """
        return tuple(op for op, _ in self._program)

    @property
    def device_op(self) -> DeviceOp:
        """The last op if it runs on the device, otherwise the default `value_range(0, 1)`."""
        last = self.ops[-1]
        return last if isinstance(last, DeviceOp) else ValueRange(0.0, 1.0)

    @functools.cached_property
    def _program(self) -> tuple[tuple[Op, str], ...]:
        """The host's ops, each with the text that its seed is folded with."""
        steps: list[tuple[Op, str]] = []
        for op in self.ops:
            if op.on_device:
                continue
            text = f"{op.name}/{sum(text.split('/')[0] == op.name for _, text in steps)}"
            before = steps[-1][0] if steps else None
            if isinstance(op, InceptionCrop) and isinstance(before, Decode):
                steps = [(DecodeInceptionCrop(before, op), text)]
            else:
                steps.append((op, text))
        return tuple(steps)

    def host(self, record: Record, seed=None) -> Record:
        """Decodes and transforms one record; TensorFlow ops, a pure function of its arguments.

        Args:
            record: has "image": an encoded image (string scalar) or uint8 `[h, w, 1, 3 or 4]`.
            seed: the example's seed, integers `[2]`; needed if any op is random.

        Returns:
            The record with "image" as uint8 `[h, w, channels]`, of static size where it is known.
            Undecodable bytes raise InvalidArgumentError when the graph runs.
        """
        if seed is None and self.random:
            raise ValueError(f"a seed is needed: {self.spec!r} has random ops")
        # The ops need no rewriting by AutoGraph, which would take seconds over the policies.
        tf = import_tensorflow()
        convert = tf.autograph.experimental.do_not_convert
        record = {**record, "image": tf.convert_to_tensor(record["image"])}
        size = None
        for op, text in self._program:
            record = convert(op)(record, fold(seed, text) if op.random else None)
            size = op.output_size(size)
            record["image"].set_shape([*(size or (None, None)), self.channels])
        return record

    def device(self, images):
        """Returns float32 images for the model from uint8 `[..., H, W, C]`; a jax function.

        Without a trailing normalise or value_range, images are scaled to [0, 1].
        """
        return self.device_op.scale(images)


def parse(text: str | Sequence[str]) -> Ops:
    """Returns the ops named by a text, or by a list of texts joined by `|`.

    An op is `name` or `name(arguments)`; arguments are numbers, words (quoted or bare), True,
    False, None and tuples of them, positional or by name. Nothing is evaluated.

    Raises:
        UserError: the text cannot be read, or names an unknown op or wrong arguments.
    """
    joined = text if isinstance(text, str) else "|".join(text)
    source = " ".join(joined.split())
    try:
        tree = ast.parse(source, mode="eval").body
        nodes = _chain(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        where = f" at column {error.offset}" if isinstance(error, SyntaxError) else ""
        raise UserError(
            f"cannot read ops {joined!r}{where}; write them as 'decode|central_crop(224)|flip'"
        ) from None
    return Ops(tuple(_op(node, source) for node in nodes))


def _chain(node: ast.expr) -> list[ast.expr]:
    """Returns the links of `a | b | c`, which Python nests to the left."""
    links = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        links.append(node.right)
        node = node.left
    return [node, *reversed(links)]


def _op(node: ast.expr, source: str) -> Op:
    name, call = (node.func, node) if isinstance(node, ast.Call) else (node, None)
    if not isinstance(name, ast.Name):
        raise UserError(f"cannot read op {ast.get_source_segment(source, node)!r}: write name(...)")
    cls = OPS.get(name.id)
    fields = {field.name: field for field in dataclasses.fields(cls)}

    def refuse(reason: str):
        text = ast.get_source_segment(source, node)
        return UserError(f"op {text!r}: {reason}; signature: {signature(cls)}")

    positional = call.args if call else []
    if len(positional) > len(fields):
        raise refuse(f"takes at most {len(fields)} arguments, got {len(positional)}")
    given = list(zip(fields, positional, strict=False))
    given += [(keyword.arg or "**", keyword.value) for keyword in (call.keywords if call else [])]
    arguments: dict[str, Any] = {}
    for key, value in given:
        if key not in fields:
            raise refuse(f"unknown argument {key!r}{near_misses(key, fields)}")
        if key in arguments:
            raise refuse(f"argument {key!r} is given twice")
        try:
            arguments[key] = _literal(value)
        except ValueError:
            raise refuse(f"{key} must be a number, a word or a tuple of them") from None
    for key, field in fields.items():
        if field.default is dataclasses.MISSING and key not in arguments:
            raise refuse(f"argument {key!r} is missing")
    return cls(**arguments)


def _literal(node: ast.expr) -> Any:
    """Returns the value of a literal; a bare word is itself. Raises ValueError otherwise."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(_literal(element) for element in node.elts)
    return ast.literal_eval(node)
