# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Where the wall time of a run goes: every second has a kind, over all starts of the run.

"goodput" is the share of the time since the first start that went into steps which count. What did
not is start, compile, data_wait, evaluation and checkpoint (as the loop waits for them: what goes
on behind its back is free), repeated (work that a later start had to do again) and down (between
two starts).
"""

import contextlib
import dataclasses
import datetime
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from etils import epath

from vit_jax.training import integrity

FILE = "goodput.json"  # in the workdir
KINDS = ("start", "compile", "data_wait", "step", "evaluation", "checkpoint")
LOST = ("repeated", "down")
FIELDS = ("goodput_percent", *(f"wall_{kind}_seconds" for kind in (*KINDS, *LOST)))

_WITH_STEPS = ("data_wait", "step", "evaluation", "checkpoint")  # what is repeated with the steps
_WRITE_SECONDS = 10.0  # between two times the file is written, but for checkpoints

Account = dict[str, float]  # seconds of each of KINDS and LOST


class Clock:
    """Gives every second to one kind, the one last begun and not yet ended; at first "start"."""

    def __init__(self, now: Callable[[], float] = time.perf_counter):
        self._now = now
        self._kind, self._since = KINDS[0], now()
        self._seconds = dict.fromkeys(KINDS, 0.0)

    @contextlib.contextmanager
    def during(self, kind: str) -> Iterator[None]:
        """Gives the time inside to `kind`, but for what is inside it of another."""
        outer = self._turn(kind)
        try:
            yield
        finally:
            self._turn(outer)

    def seconds(self, *kinds: str) -> float:
        """Returns how long these kinds took together, up to now."""
        self._turn(self._kind)
        return sum(self._seconds[kind] for kind in kinds)

    def _turn(self, kind: str) -> str:
        now, before = self._now(), self._kind
        self._seconds[before] += now - self._since
        self._kind, self._since = kind, now
        return before


@dataclasses.dataclass
class Start:
    """What is kept of one start of a run.

    Attributes:
        began: when, in seconds since 1970.
        seen: when it was last seen alive, likewise.
        first: the step it went on from.
        last: the last step it is known to have finished.
        done: whether it came to the end of the run.
        seconds: by kind.
    """

    began: float
    seen: float
    first: int
    last: int
    done: bool
    seconds: dict[str, float]


def read(folder: str | os.PathLike) -> list[Start]:
    """Returns the starts of the run in a folder, the first one first."""
    try:
        record = json.loads((epath.Path(folder) / FILE).read_text())
        return [Start(**start) for start in record["starts"]]
    except (FileNotFoundError, ValueError):
        return []


def account(starts: Sequence[Start]) -> list[Account]:
    """Returns where the time of every start went, what later starts made of it included.

    A start that was cut off goes on from an earlier step: the steps in between do not count, and
    their time, at the pace of their start, is "repeated". The time since the start before was last
    seen, unless that had come to the end, is "down".
    """
    accounts = []
    for index, start in enumerate(starts):
        kept = min([start.last, *(later.first for later in starts[index + 1 :])])
        taken = start.last - start.first
        if taken:
            share = 1 - max(kept - start.first, 0) / taken
        else:  # it was waiting for its first step
            share = float(index + 1 < len(starts) and not start.done)
        spent: Account = dict.fromkeys((*KINDS, *LOST), 0.0) | start.seconds
        for kind in _WITH_STEPS:
            spent["repeated"] += share * spent[kind]
            spent[kind] *= 1 - share
        if index and not starts[index - 1].done:
            spent["down"] = max(start.began - starts[index - 1].seen, 0.0)
        accounts.append(spent)
    return accounts


def total(accounts: Sequence[Account]) -> Account:
    """Returns the sum over the starts."""
    return {kind: sum(spent[kind] for spent in accounts) for kind in (*KINDS, *LOST)}


def percent(spent: Account) -> float:
    """Returns the goodput."""
    return 100 * spent["step"] / max(sum(spent.values()), 1e-9)


class Goodput:
    """Keeps the record of one start, beside those of the starts before it.

    Args:
        folder: the workdir.
        clock: of this start.
        step: that it goes on from.
        active: whether this process writes; one of a run does.
    """

    def __init__(self, folder: str | os.PathLike, clock: Clock, step: int, active: bool = True):
        self._path, self._clock, self._active = epath.Path(folder) / FILE, clock, active
        self._earlier = read(folder) if active else []
        now = time.time()
        began = now - clock.seconds(*KINDS)
        self._start = Start(began, now, step, step, False, {})
        self._written = 0.0
        self.reached(step)

    def reached(self, step: int, *, now: bool = False, done: bool = False) -> None:
        """Notes the last step that was finished; writes the file if it is time, or asked for."""
        start = self._start
        start.last, start.done, start.seen = max(step, start.last), done, time.time()
        start.seconds = {kind: self._clock.seconds(kind) for kind in KINDS}
        if self._active and (now or time.monotonic() - self._written >= _WRITE_SECONDS):
            starts = [dataclasses.asdict(each) for each in self.starts]
            integrity.write_whole(self._path, {"starts": starts})
            self._written = time.monotonic()

    @property
    def starts(self) -> list[Start]:
        """Of the run so far, this one last."""
        return [*self._earlier, self._start]

    def fields(self) -> dict[str, Any]:
        """Returns `FIELDS` of a line of metrics: of the whole run so far."""
        spent = total(account(self.starts))
        return dict(zip(FIELDS, (percent(spent), *spent.values()), strict=True))


def describe(starts: Sequence[Start]) -> str:
    """Returns one line for people."""
    spent = total(account(starts))
    whole = max(sum(spent.values()), 1e-9)
    took = datetime.timedelta(seconds=round(whole))
    shares = [f"{k.replace('_', ' ')} {s / whole:.1%}" for k, s in spent.items() if s > 0]
    times = "one start" if len(starts) == 1 else f"{len(starts)} starts"
    return f"goodput {percent(spent):.1f}% of {took} in {times}: {', '.join(shares)}"
