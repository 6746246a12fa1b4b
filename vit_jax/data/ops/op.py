# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What an op is: a frozen dataclass whose fields are its arguments, filed by name."""

import dataclasses
import hashlib
import math
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, TypeVar

from vit_jax.data.tensorflow import import_tensorflow
from vit_jax.errors import UserError
from vit_jax.registry import Registry

Size = tuple[int, int]  # (height, width)
Record = dict[str, Any]

OPS: Registry[type["Op"]] = Registry("op")
OpType = TypeVar("OpType", bound=type["Op"])


@dataclasses.dataclass(frozen=True)
class Op:
    """One step from a record to a record.

    A subclass states its arguments as fields, refuses impossible values in `check`, and transforms
    a uint8 image `[h, w, c]` in `apply`. Ops are values: equal arguments make equal ops, and
    TensorFlow is not touched before the first call.
    """

    name: ClassVar[str]
    random: ClassVar[bool] = False  # whether `apply` uses its seed
    on_device: ClassVar[bool] = False  # whether the op acts on batches inside the jitted step

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value = _conform(getattr(self, field.name), hints[field.name])
            if value is _ILL_TYPED:
                expected = _type_text(hints[field.name])
                got = repr(getattr(self, field.name))
                self.refuse(f"{field.name} must be {expected}, got {got}")
            object.__setattr__(self, field.name, value)
        self.check()

    def check(self) -> None:
        """Raises UserError (by `refuse`) for values that make no sense."""

    def refuse(self, reason: str) -> typing.NoReturn:
        """Raises the UserError of this op, with its signature."""
        raise UserError(f"op {self.name}: {reason}; signature: {signature(type(self))}")

    def require(self, condition: bool, reason: str) -> None:
        """Refuses the op with `reason` unless the condition holds."""
        if not condition:
            self.refuse(reason)

    @property
    def spec(self) -> str:
        """The op as text with every argument, so that later defaults cannot change it."""
        parts = []
        for field in dataclasses.fields(self):
            text = _value_text(getattr(self, field.name))
            parts.append(text if _required(field) else f"{field.name}={text}")
        return f"{self.name}({', '.join(parts)})" if parts else self.name

    def output_size(self, size: Size | None) -> Size | None:
        """Returns the image size after this op, given the one before it (None: varies)."""
        return size

    def apply(self, image, seed):
        """Returns the transformed image; uint8 `[h, w, c]` in, uint8 `[h', w', c]` out."""
        raise NotImplementedError

    def __call__(self, record: Record, seed) -> Record:
        """Returns the record with its image transformed; `seed` holds two integers."""
        return {**record, "image": self.apply(record["image"], seed)}


def register(name: str, *, aliases: Iterable[str] = ()) -> Callable[[OpType], OpType]:
    """Files an op class under the name that users write."""

    def file(cls: OpType) -> OpType:
        cls.name = name
        OPS.register(name, aliases=aliases)(cls)
        return cls

    return file


def signature(cls: type[Op]) -> str:
    """Returns `name(field, field=default, ...)`."""
    parts = [
        field.name if _required(field) else f"{field.name}={_value_text(field.default)}"
        for field in dataclasses.fields(cls)
    ]
    return f"{cls.name}({', '.join(parts)})"


def pair(size: int | Size) -> Size:
    """Returns (height, width) of a size given as one number or two."""
    return (size, size) if isinstance(size, int) else size


def fold(seed, text: str):
    """Returns a seed `[2]` of its own for whatever `text` names; integers in, the same type out."""
    tf = import_tensorflow()
    # One cheap operation: the generator scrambles its seed, so a distinct one is all it needs. Both
    # halves change, so that texts cannot collide between examples that share one half.
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    seed = tf.convert_to_tensor(seed)
    halves = [int.from_bytes(half, "little") & 0x7FFFFFFF for half in (digest[:4], digest[4:])]
    return tf.bitwise.bitwise_xor(seed, tf.constant(halves, seed.dtype))


def uniform(seed, shape):
    """Returns float32 numbers in [0, 1) that depend on the seed `[2]` alone."""
    # The raw operations cost half of what their wrapper does. Philox is named (1) so that the
    # numbers are the same on every machine.
    raw = import_tensorflow().raw_ops
    key, counter = raw.StatelessRandomGetKeyCounter(seed=seed)
    return raw.StatelessRandomUniformV2(shape=shape, key=key, counter=counter, alg=1)


def _required(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING


def _value_text(value: Any) -> str:
    if isinstance(value, tuple):
        inner = ", ".join(_value_text(v) for v in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, str) and value.isidentifier() and value not in ("True", "False", "None"):
        return value
    return repr(value)


_ILL_TYPED = object()


def _conform(value: Any, hint: Any) -> Any:
    """Returns `value` as the hinted type (int serves as float, list as tuple) or _ILL_TYPED."""
    if isinstance(hint, types.UnionType):
        fits = (_conform(value, arm) for arm in typing.get_args(hint))
        return next((fit for fit in fits if fit is not _ILL_TYPED), _ILL_TYPED)
    if typing.get_origin(hint) is tuple:
        arms = typing.get_args(hint)
        if not isinstance(value, tuple | list):
            return _ILL_TYPED
        if arms[-1] is Ellipsis:
            arms = arms[:1] * len(value)
        parts = tuple(_conform(v, arm) for v, arm in zip(value, arms, strict=False))
        return parts if len(value) == len(arms) and _ILL_TYPED not in parts else _ILL_TYPED
    if hint is float and type(value) in (int, float):
        return float(value) if math.isfinite(value) else _ILL_TYPED
    return value if type(value) is hint else _ILL_TYPED


def _type_text(hint: Any) -> str:
    if isinstance(hint, types.UnionType):
        return " or ".join(_type_text(arm) for arm in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        arms = typing.get_args(hint)
        return "(" + ", ".join("..." if arm is Ellipsis else _type_text(arm) for arm in arms) + ")"
    words = {int: "an integer", float: "a number", str: "a word", bool: "True or False"}
    return words.get(hint, "None")
