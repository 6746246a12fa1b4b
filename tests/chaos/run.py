# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Trains, is struck by random faults, goes on; then counts what was lost, and compares.

    make chaos                                     # 20 faults, some minutes
    PYTHONPATH=tests python -m chaos.run --faults 100 --seed 7 --summary chaos.md

Real training on 1, 2 and 4 processes over loopback. Each fault ends a start of the run: SIGTERM,
SIGKILL or a freeze of one process, during compilation, a step, an evaluation or a checkpoint. After
some the newest checkpoint is damaged as well, and in every start the clock of one process is wrong.
Three kinds of runs take turns: always two processes, another number of processes and devices at
each start (equal to an undisturbed run but for rounding), and always four. Those that keep their
number must end with the bits of an undisturbed run. Status 0 if nothing was lost, 1 otherwise.
"""

import argparse
import collections
import dataclasses
import pathlib
import random
import sys
import tempfile
import time

import jax
import numpy as np
import tabulate
import tiny_runs
from chaos import faults as faults_lib
from chaos import history, pictures
from chaos.faults import Fault, Outcome, Start

HERE = pathlib.Path(__file__).parent
STEPS = 48
TOPOLOGIES = {  # run -> (processes, devices each) of its starts
    "2 processes": [(2, 1)],
    "1, 2 or 4 processes": [(1, 1), (2, 1), (4, 1), (1, 4), (2, 2), (1, 2)],
    "4 processes": [(4, 1)],
}
FAULTS = {"2 processes": 7, "1, 2 or 4 processes": 8, "4 processes": 5}  # of one run
PHASES = ("compilation", "step", "evaluation", "checkpoint")
DECK = [(kind, phase) for kind in ("SIGTERM", "SIGKILL") for phase in PHASES] * 2
DECK += [("SIGSTOP", phase) for phase in PHASES]  # 20 cards, drawn until none is left
TOLERANCE = 5e-3  # of a parameter, where the order of sums differs; Adam's steps are up to 1e-3


@dataclasses.dataclass
class Ended:
    """What came of one run.

    Attributes:
        kind: of `TOPOLOGIES`.
        outcomes: of the faults that struck.
        damages: of checkpoints.
        seen: what it learnt from.
        lost: pictures of an epoch that it did not see.
        twice: pictures of an epoch that it saw again.
        difference: the largest of a parameter from the uninterrupted run; 0.0 means the same bits.
        starts: how often it was started.
    """

    kind: str
    outcomes: list[tuple[Fault, Outcome]]
    damages: list[str]
    seen: history.History
    lost: int
    twice: int
    difference: float
    starts: int


class Chaos:
    """All runs of one seed, below one folder."""

    def __init__(self, folder: pathlib.Path, seed: int):
        self._folder = folder
        self._choose = random.Random(seed)
        self._deck: list[tuple[str, str]] = []
        self._pictures = folder / "pictures"
        pictures.make(self._pictures)
        self._order: list[int] = []  # of the pictures, in an undisturbed run
        self._references: dict[tuple[int, int], pathlib.Path] = {}

    def run(self, kind: str, number: int, wanted: int) -> Ended:
        """One run to its end, struck up to `wanted` times."""
        folder = self._folder / f"run-{number}"
        folder.mkdir()
        seen, outcomes, damages = history.History(), [], []
        plan = self._plan(wanted)
        starts = 0
        while True:
            processes, devices = self._choose.choice(TOPOLOGIES[kind])
            if plan and plan[0].kind == "SIGSTOP" and processes == 1:
                processes, devices = TOPOLOGIES[kind][1]
            start = self._start(folder, starts, processes, devices)
            starts += 1
            if not plan:
                statuses = start.wait(faults_lib.START_SECONDS)
                assert set(statuses) == {0}, "\n".join(map(faults_lib.tail, start.logs))
                seen.add(start.steps())
                break
            fault = plan.pop(0)
            fault = dataclasses.replace(fault, victim=fault.victim % processes)
            outcome = start.inflict(fault)
            faults_lib.check(fault, outcome, start)
            seen.add(start.steps())
            if not outcome.struck:
                break
            outcomes.append((fault, outcome))
            faults_lib.sound(folder / "run" / "checkpoints")
            self._tell(kind, start, fault, outcome)
            if self._choose.random() < 0.25:
                self._damage(folder, damages)
        lost, twice = history.count(seen.examples(), pictures.TRAIN)
        difference = self._compare(folder / "run", kind)
        assert seen.examples() == self._order, "not the order of an undisturbed run"
        return Ended(kind, outcomes, damages, seen, lost, twice, difference, starts)

    def _plan(self, wanted: int) -> list[Fault]:
        """Faults in the order of the steps they wait for."""
        choose = self._choose
        faults = []
        for moment in sorted(choose.randrange(0, STEPS - 10) for _ in range(wanted)):
            self._deck = self._deck or choose.sample(DECK, len(DECK))
            kind, phase = self._deck.pop()
            faults.append(Fault(kind, choose.randrange(4), phase, moment, choose.uniform(0, 0.3)))
        return faults

    def _start(self, folder: pathlib.Path, number: int, processes: int, devices: int) -> Start:
        recipe = f"--config={HERE / 'recipe.py'}:data={self._pictures}"
        command = ["train", recipe, f"--workdir={folder / 'run'}"]
        skews = faults_lib.skews(processes, self._choose)
        return Start(folder, number, processes, devices, command, skews)

    def _damage(self, folder: pathlib.Path, damages: list[str]) -> None:
        done = faults_lib.damage(folder / "run" / "checkpoints", self._choose)
        if done is not None:
            damages.append(done)
            print(f"    and the newest checkpoint was {done}", flush=True)

    def _tell(self, kind: str, start: Start, fault: Fault, outcome: Outcome) -> None:
        statuses = " ".join(map(str, outcome.statuses))
        print(
            f"  {kind}, now {len(outcome.statuses)}: {fault.kind} to {fault.victim} during "
            f"{fault.phase}; statuses {statuses} after {outcome.seconds:.1f} s",
            flush=True,
        )

    def reference(self, processes: int, devices: int = 1) -> pathlib.Path:
        """Returns the workdir of a run that nothing disturbed."""
        key = (processes, devices)
        if key not in self._references:
            folder = self._folder / f"undisturbed-{processes}-{devices}"
            folder.mkdir()
            start = self._start(folder, 0, processes, devices)
            statuses = start.wait(faults_lib.START_SECONDS)
            assert set(statuses) == {0}, "\n".join(map(faults_lib.tail, start.logs))
            seen = history.History()
            seen.add(start.steps())
            assert history.count(seen.examples(), pictures.TRAIN) == (0, 0)
            self._order = self._order or seen.examples()
            assert seen.examples() == self._order, "the order depends on the number of processes"
            self._references[key] = folder / "run"
        return self._references[key]

    def _compare(self, workdir: pathlib.Path, kind: str) -> float:
        """Returns the largest difference of a parameter; AssertionError if it is too large."""
        reference = self.reference(*TOPOLOGIES[kind][0])
        ours, theirs = tiny_runs.record(workdir), tiny_runs.record(reference)
        assert [(x["step"], x["split"]) for x in ours] == [(x["step"], x["split"]) for x in theirs]
        if len(TOPOLOGIES[kind]) == 1:
            tiny_runs.assert_same_bits(workdir, reference)
            return 0.0
        for line, expected in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(line["loss"], expected["loss"], rtol=1e-3)
        pairs = zip(
            jax.tree.leaves(tiny_runs.parameters(workdir)),
            jax.tree.leaves(tiny_runs.parameters(reference)),
            strict=True,
        )
        difference = max(float(np.abs(a - b).max()) for a, b in pairs)
        assert difference < TOLERANCE, difference
        return difference


def table(runs: list[Ended]) -> str:
    """Returns, for each kind of fault and moment, how it ended and how soon."""
    groups = collections.defaultdict(list)
    for run in runs:
        for fault, outcome in run.outcomes:
            others = [s for i, s in enumerate(outcome.statuses) if i != fault.victim]
            groups[fault.kind, fault.phase].append((others, outcome))
    rows = []
    for (kind, phase), found in sorted(groups.items()):
        statuses = sorted({s if s >= 0 else 128 - s for others, _ in found for s in others})
        seconds = [outcome.seconds for _, outcome in found]
        middle, most = np.median(seconds), max(seconds)
        rows.append([kind, phase, len(found), " ".join(map(str, statuses)), middle, most])
    headers = ["fault", "during", "times", "statuses of the others", "seconds to the end", "most"]
    return tabulate.tabulate(rows, headers, tablefmt="github", floatfmt=".1f")


def summary(runs: list[Ended], command: str, seconds: float) -> str:
    """Returns the result in markdown."""
    rows = []
    for kind in TOPOLOGIES:
        ours = [run for run in runs if run.kind == kind]
        if not ours:
            continue
        difference = max(run.difference for run in ours)
        rows.append(
            [
                kind,
                len(ours),
                sum(run.starts for run in ours),
                sum(len(run.outcomes) for run in ours),
                sum(len(run.damages) for run in ours),
                sum(len(run.seen.examples()) for run in ours),
                sum(run.lost for run in ours),
                sum(run.twice for run in ours),
                sum(run.seen.void for run in ours),
                "same bits" if difference == 0 else f"within {difference:.1e}",
            ]
        )
    headers = [
        "run", "runs", "starts", "faults", "damaged checkpoints", "examples kept", "lost", "twice",
        "steps taken again", "parameters beside an undisturbed run",
    ]  # fmt: skip
    whole = tabulate.tabulate(rows, headers, tablefmt="github")
    count = sum(len(run.outcomes) for run in runs)
    return f"`{command}`: {count} faults, {seconds / 60:.0f} minutes.\n\n{whole}\n\n{table(runs)}\n"


def parse_args(arguments=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faults", type=int, default=20, metavar="N", help="default: 20")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    parser.add_argument("--summary", metavar="FILE", help="where the result goes as markdown")
    parser.add_argument("--folder", metavar="DIR", help="where runs, logs and diaries stay")
    args = parser.parse_args(arguments)
    if args.faults < 1:
        parser.error("--faults must be at least 1")
    return args


def main(arguments=None) -> int:
    args = parse_args(arguments)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chaos-") as own:
        chaos = Chaos(pathlib.Path(args.folder or own), args.seed)
        runs: list[Ended] = []
        left = args.faults
        while left > 0:
            kind = list(TOPOLOGIES)[len(runs) % len(TOPOLOGIES)]
            runs.append(chaos.run(kind, len(runs), min(left, FAULTS[kind])))
            left -= len(runs[-1].outcomes)
            print(f"{args.faults - left} of {args.faults} faults; {kind}: run complete", flush=True)
    command = f"make chaos FAULTS={args.faults} SEED={args.seed}"
    text = summary(runs, command, time.monotonic() - began)
    print(f"\n{text}")
    if args.summary:
        pathlib.Path(args.summary).write_text(text)
    wrong = sum(run.lost + run.twice + len(run.seen.changed) for run in runs)
    if wrong:
        print(f"chaos: {wrong} examples or steps are wrong", file=sys.stderr)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
