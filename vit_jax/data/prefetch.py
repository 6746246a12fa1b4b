# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Work ahead in a thread: the next batches are on the device before the step asks for them."""

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


def prefetch(
    iterator: Iterator[Any], transfer: Callable[[Any], T], depth: int
) -> Generator[T, None, None]:
    """Yields `transfer(item)` for every item, computed up to `depth` items ahead in a thread.

    The thread starts with the first `next` and ends with the iterator, with an error, or when the
    returned generator is closed or garbage collected (`contextlib.closing` makes that explicit).

    Args:
        iterator: whatever is worth waiting for elsewhere; only the thread touches it.
        transfer: called in the thread; usually puts a host batch on the devices.
        depth: how many results may wait; 0 works in the caller's thread.

    Raises:
        Exception: what `iterator` or `transfer` raised, after the items before it.
    """
    if depth == 0:
        yield from map(transfer, iterator)
        return

    results: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()
    places = threading.Semaphore(depth)
    stop = threading.Event()

    def work() -> None:
        try:
            while True:
                places.acquire()
                if stop.is_set():
                    break
                results.put((True, transfer(next(iterator))))
        except StopIteration:
            results.put((False, None))
        except BaseException as error:
            results.put((False, error))
        finally:
            if hasattr(iterator, "close"):
                iterator.close()

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            more, result = results.get()
            if not more:
                if result is not None:
                    raise result
                return
            places.release()
            yield result
    finally:
        stop.set()
        places.release()
        thread.join()
