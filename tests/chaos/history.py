# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Which examples a run saw, over all its starts, and whether that is each once.

A start goes on after some step; what earlier starts did beyond that step is void. What remains is
the history of the parameters.
"""

import collections
import dataclasses
import json
import pathlib
from collections.abc import Sequence

Lines = list[dict]


def read(path: pathlib.Path) -> Lines:
    """Returns the whole lines of a diary; one that a killed process tore is left out."""
    lines = []
    for text in path.read_text().splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines


def steps(diaries: Sequence[Lines]) -> dict[int, list[int]]:
    """Returns step -> the pictures of its global batch, from the diaries of one start.

    A step counts once every process has written of it. A row that several processes have must be
    the same picture on each.
    """
    taken = [{line["step"]: line["rows"] for line in lines if "step" in line} for lines in diaries]
    found = {}
    for step in sorted(set.intersection(*map(set, taken))):
        rows: dict[int, int] = {}
        for own in taken:
            for row, picture in own[step].items():
                assert rows.setdefault(int(row), picture) == picture, (step, row)
        assert sorted(rows) == list(range(len(rows))), f"step {step} lacks rows"
        found[step] = [rows[row] for row in range(len(rows))]
    return found


@dataclasses.dataclass
class History:
    """What a run saw so far.

    Attributes:
        batches: step -> pictures, of the steps that count.
        void: how many steps were taken and lost again.
        repeated_alike: of these, how many were taken again, with the same pictures.
        changed: steps that saw other pictures when they were taken again: must stay empty.
    """

    batches: dict[int, list[int]] = dataclasses.field(default_factory=dict)
    void: int = 0
    repeated_alike: int = 0
    changed: list[int] = dataclasses.field(default_factory=list)
    _lost: dict[int, list[int]] = dataclasses.field(default_factory=dict)

    def add(self, found: dict[int, list[int]]) -> None:
        """Adds a start; it began where its first step says."""
        if not found:
            return
        first = min(found)
        for step in [step for step in self.batches if step >= first]:
            self._lost[step] = self.batches.pop(step)
            self.void += 1
        for step, pictures in found.items():
            before = self._lost.pop(step, None)
            if before is not None:
                self.repeated_alike += before == pictures
                if before != pictures:
                    self.changed.append(step)
            self.batches[step] = pictures

    def examples(self) -> list[int]:
        """Returns the pictures in the order in which the parameters learnt from them."""
        assert sorted(self.batches) == list(range(1, len(self.batches) + 1)), "a step is missing"
        return [picture for step in sorted(self.batches) for picture in self.batches[step]]


def count(examples: Sequence[int], size: int) -> tuple[int, int]:
    """Returns (lost, twice): over epochs of `size` pictures 0, 1, ..., which should be 0 and 0.

    In the last epoch, which may be cut short, none can be lost.
    """
    lost = twice = 0
    for start in range(0, len(examples), size):
        epoch = examples[start : start + size]
        times = collections.Counter(epoch)
        twice += sum(n - 1 for n in times.values())
        if len(epoch) == size:
            lost += len(set(range(size)) - set(times))
    return lost, twice
