# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""One process of a run under observation: `vit-jax ARGUMENTS`, and a diary of what it does.

    PYTHONPATH=tests python -m chaos.worker DIARY SKEW_SECONDS train --config=... --workdir=...

The diary has a line for each phase that begins, and one for each step that was taken: which
pictures lay on this process's devices. Nothing else differs from `vit-jax`, but that phases which
a tiny run would pass in no time last long enough to be hit, and that the clock may be wrong.
"""

import json
import sys
import time

import numpy as np
from chaos import pictures

from vit_jax import cli
from vit_jax.parallel import distributed
from vit_jax.training import checkpoint, fitting, integrity, loop

# How much longer phases last, in seconds.
STEP, OTHERS = 0.02, 0.3


class Diary:
    """Lines of JSON; each is on its way to the file when `write` returns."""

    def __init__(self, path: str):
        self._file = open(path, "a", buffering=1)  # noqa: SIM115

    def write(self, **line) -> None:
        self._file.write(json.dumps(line) + "\n")


def pictures_on(batch) -> dict[int, int]:
    """Returns row -> picture, of the rows of a global batch that this process has."""
    found = {}
    for shard in batch["image"].addressable_shards:
        start = shard.index[0].start or 0
        for offset, number in enumerate(pictures.numbers(np.asarray(shard.data))):
            assert found.setdefault(start + offset, number) == number
    return found


def observe(diary: Diary) -> None:
    """Wraps what the loop calls so that the diary is written."""
    initialise, compile_step, seal = distributed.initialise, fitting.compile_step, integrity.seal
    take_step, evaluate = loop._Run.take_step, loop._Run.evaluate
    finish = checkpoint.Checkpointer._finish
    seen: dict[int, int] = {}

    def begin(phase):
        diary.write(phase=phase)
        if phase != "checkpoint":
            time.sleep(OTHERS)

    def join(*args):
        process = initialise(*args)
        diary.write(phase="joined")
        return process

    def compile_and_wrap(*args):
        begin("compilation")
        step, usage = compile_step(*args)

        def wrapped(state, batch):
            seen.clear()
            seen.update(pictures_on(batch))
            return step(state, batch)

        return wrapped, usage

    def take_a_step(run):
        diary.write(phase="step")
        time.sleep(STEP)
        take_step(run)
        diary.write(step=run.step, rows=dict(seen))

    def evaluate_slowly(run, split):
        begin("evaluation")
        evaluate(run, split)

    def finish_visibly(self, target, record):
        begin("checkpoint")
        finish(self, target, record)

    def seal_slowly(directory):
        time.sleep(OTHERS)
        seal(directory)

    distributed.initialise = join
    fitting.compile_step = compile_and_wrap
    loop._Run.take_step, loop._Run.evaluate = take_a_step, evaluate_slowly
    checkpoint.Checkpointer._finish, integrity.seal = finish_visibly, seal_slowly


def skew_clock(seconds: float) -> None:
    """Sets this process's clock wrong, as far as Python is concerned."""
    right = time.time
    time.time = lambda: right() + seconds


def main(path: str, skew: str, *arguments: str) -> int:
    """Returns the status of the command."""
    diary = Diary(path)
    diary.write(phase="start")
    if float(skew):
        skew_clock(float(skew))
    observe(diary)
    return cli.main(arguments)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
