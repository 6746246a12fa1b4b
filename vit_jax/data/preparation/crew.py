# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Processes that share out the work, and a line that says how fast they are."""

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import tqdm

from vit_jax.errors import UserError

_POLL_SECONDS, _LINE_SECONDS = 0.25, 20.0
_done: Any = None  # in a worker: how many pictures all of them have done


def count_picture() -> None:
    """Tells the meter, from any process of the crew, that a picture is done."""
    with _done.get_lock():
        _done.value += 1


def _join(counter: Any, parent: int | None) -> None:
    """Begins the life of a worker, which ends with its parent's, however that ends."""
    global _done
    _done = counter
    if parent is None:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class Crew:
    """So many processes, or this one if it is one; a context.

    Attributes:
        size: how many.
    """

    def __init__(self, workers: int = 0):
        affinity = getattr(os, "sched_getaffinity", None)
        cores = len(affinity(0)) if affinity else os.cpu_count() or 1
        self.size = workers or cores
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # damage is listed elsewhere; jax sets 1
        self._others = set(multiprocessing.active_children())
        # Spawned, since TensorFlow does not survive a fork.
        context = multiprocessing.get_context("spawn")
        self._counter = context.Value("q", 0)
        self._pool = None
        if self.size > 1:
            self._pool = concurrent.futures.ProcessPoolExecutor(
                self.size, context, _join, (self._counter, os.getpid())
            )
        else:
            _join(self._counter, None)

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        if self._pool is None:
            return
        if kind is not None:  # nobody waits for what is half done
            for process in set(multiprocessing.active_children()) - self._others:
                process.terminate()
        self._pool.shutdown(cancel_futures=True)

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        """Yields `function(item)` in order; both must be known to a new process."""
        if self._pool is None:
            yield from map(function, items)
            return
        with _mourned():
            yield from self._pool.map(function, items, chunksize=max(1, len(items) // 1000))

    def work(self, function: Callable[[Any], None], items: Sequence[Any], meter: "Meter") -> None:
        """Calls `function` on every item, in any order; it calls `count_picture`."""
        before = self._counter.value
        if self._pool is None:
            for item in items:
                function(item)
                meter.show(self._counter.value - before)
            return
        with _mourned():
            waiting = {self._pool.submit(function, item) for item in items}
            while waiting:
                ended, waiting = concurrent.futures.wait(waiting, timeout=_POLL_SECONDS)
                for future in ended:
                    future.result()
                meter.show(self._counter.value - before)


@contextlib.contextmanager
def _mourned() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool:
        raise UserError(
            "a worker was killed, perhaps for memory: run the same command again to go on, "
            "with fewer --workers if it happens again"
        ) from None


class Meter:
    """Says how far the work is: a bar on a terminal, a line now and then elsewhere.

    Args:
        total: pictures altogether.
        done: pictures that need no work any more.
        say: what lines are given to.
        unit: what is counted.
    """

    def __init__(self, total: int, done: int, say: Callable[[str], None], unit: str = "images"):
        self._total, self._before, self._say, self._unit = total, done, say, unit
        self._first: tuple[float, int] | None = None  # when the first were done, and how many
        self._said = time.perf_counter()
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm.tqdm(total=total, initial=done, unit=f" {unit}", dynamic_ncols=True)

    def show(self, done: int) -> None:
        """Takes the number of pictures done since the start."""
        if self._bar is not None:
            self._bar.update(self._before + done - self._bar.n)
            return
        now = time.perf_counter()
        if done and self._first is None:
            self._first = now, done  # workers take seconds to start
        if self._first and done > self._first[1] and now - self._said >= _LINE_SECONDS:
            self._said = now
            rate = (done - self._first[1]) / (now - self._first[0])
            left = (self._total - self._before - done) / rate
            self._say(
                f"{self._before + done:,} of {self._total:,} {self._unit}, "
                f"{rate:,.0f} {self._unit}/s, {_duration(left)} left"
            )

    def close(self) -> None:
        """Ends the bar."""
        if self._bar is not None:
            self._bar.close()


def _duration(seconds: float) -> str:
    hours, minutes = int(seconds) // 3600, int(seconds) % 3600 // 60
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {int(seconds) % 60:02d} s"
