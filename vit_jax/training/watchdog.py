# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""A run that hangs holds its machines for nothing: the watchdog says where it hangs, and ends it.

A thread looks at the clock. It needs Python's global lock, which code in C++ may hold for ever, and
the workdir, which may be what hangs: so a timer of the kernel stands behind it, whose signal
(SIGALRM) writes the stacks and ends the process without either.
"""

import faulthandler
import os
import signal
import tempfile
import threading
import time
from typing import Any

from etils import epath

from vit_jax import exits

# From the stacks to the end: processes of one run hang together, and each gets to write its own.
GRACE_SECONDS = 10.0


class Watchdog:
    """Ends the process when there was no `beat` for so long; a context manager.

    Args:
        seconds: that is allowed between two beats; 0 for no watchdog.
        folder: the workdir, where `stacks-PROCESS.txt` goes.
        process: the number of this process in the run.
        grace: how long after writing the stacks the process ends, in seconds.
    """

    def __init__(
        self,
        seconds: float,
        folder: str | os.PathLike,
        process: int = 0,
        grace: float = GRACE_SECONDS,
    ):
        self.path = epath.Path(folder) / f"stacks-{process}.txt"
        self._seconds, self._grace = seconds, grace
        self._after, self._deadline = "the start", 0.0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> "Watchdog":
        if self._seconds:
            faulthandler.register(signal.SIGALRM, file=2, all_threads=True, chain=True)
            self.beat(self._after)
            self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        if self._seconds:
            self._closed.set()
            signal.setitimer(signal.ITIMER_REAL, 0)
            faulthandler.unregister(signal.SIGALRM)
            self._thread.join()

    def beat(self, after: str) -> None:
        """Says that something was finished: `after`, in a word or two."""
        if self._seconds:
            self._after, self._deadline = after, time.monotonic() + self._seconds
            signal.setitimer(signal.ITIMER_REAL, self._seconds + 2 * self._grace)

    def _watch(self) -> None:
        while not self._closed.wait(max(self._deadline - time.monotonic(), 0)):
            if time.monotonic() >= self._deadline:
                self._end()

    def _end(self) -> None:
        text = (
            f"vit-jax: error: nothing was finished for {self._seconds:g} s after {self._after} "
            "(train.watchdog_seconds): this is where all threads are; started again, the run goes "
            "on from its last checkpoint\n"
        )
        with tempfile.TemporaryFile() as file:
            faulthandler.dump_traceback(file, all_threads=True)
            file.seek(0)
            text += file.read().decode(errors="replace")
        os.write(2, text.encode())
        until = time.monotonic() + self._grace
        try:
            self.path.write_text(text)
        except OSError as error:
            os.write(2, f"vit-jax: the stacks are not in {self.path}: {error}\n".encode())
        time.sleep(max(until - time.monotonic(), 0))
        os._exit(exits.STALLED)
