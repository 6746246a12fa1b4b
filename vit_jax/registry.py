# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Name -> object, for everything a config can name."""

import difflib
import fnmatch
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from vit_jax.errors import UserError

T = TypeVar("T")


def near_misses(name: str, known: Iterable[str]) -> str:
    """Returns `"; did you mean 'a' or 'b'?"` for the names closest to `name`, or nothing."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    if not close and len(name) >= 3:
        close = [k for k in known if k.startswith(name)][:3]
    return f"; did you mean {' or '.join(repr(c) for c in close)}?" if close else ""


def listing(known: Iterable[str], most: int = 20) -> str:
    """Returns the sorted names in one line, and how many were left out."""
    names = sorted(known)
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


class Registry(Generic[T]):
    """The objects of one kind by name; aliases are other names of the same object.

    Args:
        kind: what the objects are, in the singular; used in error messages ("model", "op", ...).
    """

    def __init__(self, kind: str):
        self.kind = kind
        self._objects: dict[str, T] = {}
        self._aliases: dict[str, str] = {}

    def register(self, name: str, *, aliases: Iterable[str] = ()) -> Callable[[T], T]:
        """Returns a decorator that files its argument under `name`; a name taken twice is a bug."""

        def file(obj: T) -> T:
            for key in (name, *aliases):
                if key in self:
                    raise ValueError(f"{self.kind} {key!r} is registered twice")
            self._objects[name] = obj
            self._aliases.update(dict.fromkeys(aliases, name))
            return obj

        return file

    def canonical(self, name: str) -> str:
        """Returns the canonical form of a name or alias; raises UserError with the near misses."""
        name = self._aliases.get(name, name)
        if name not in self._objects:
            known = [*self._objects, *self._aliases]
            hint = near_misses(name, known) or f"; known: {listing(self._objects)}"
            raise UserError(f"unknown {self.kind} {name!r}{hint}")
        return name

    def get(self, name: str) -> T:
        """Returns what a name or alias stands for; raises UserError with the near misses."""
        return self._objects[self.canonical(name)]

    def names(self, pattern: str = "*") -> list[str]:
        """Returns the sorted canonical names that match a pattern, themselves or by an alias."""
        by_alias = {n for a, n in self._aliases.items() if fnmatch.fnmatch(a, pattern)}
        return sorted(by_alias | set(fnmatch.filter(self._objects, pattern)))

    def aliases(self) -> dict[str, str]:
        """Returns alias -> canonical name."""
        return dict(self._aliases)

    def __contains__(self, name: str) -> bool:
        return name in self._objects or name in self._aliases
