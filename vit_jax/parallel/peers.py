# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The processes of a run end together: when one fails, the others do, at once and with its status.

Without this they would wait for it in a collective. One that fails tells the others why, through
JAX's coordination service, and all leave it together. One that was killed tells nothing: then a
collective breaks, or JAX misses its heartbeat, or the service itself is gone with process 0. In the
last two cases JAX ends the process (status 134) before Python has a say.
"""

import json
import logging
import os
import re
import sys
import threading
import time
from typing import Any

import jax

from vit_jax import exits
from vit_jax.errors import UserError
from vit_jax.parallel import distributed

log = logging.getLogger(__name__)

# Process 0 keeps the coordination service alive for so long, so that the others can hear of a loss.
LINGER_SECONDS = 2.0
# A checkpoint under way may take so long to finish before a process leaves without its peers.
SAVING_SECONDS = 10.0

_KEY = "vit_jax/last_words"
_FOREVER_MS = 2**31 - 1
_ECHO = re.compile(
    r"gloo|nccl|coordination ?service|socket closed|connection (closed|reset) by peer", re.I
)

saving = threading.Lock()  # held by whoever must not be cut off: the seal of a checkpoint


class Together:
    """Around what all processes do together; a context manager, without effect for one process.

    Args:
        agreed: exceptions that all raise at the same point, after which they wait for each other as
            they do at the end.
    """

    def __init__(self, agreed: tuple[type[Exception], ...] = ()):
        self._agreed = agreed
        self._ending = threading.Lock()  # taken once, by the thread that ends the process
        self._client: Any = None

    def __enter__(self) -> "Together":
        if jax.process_count() > 1:
            self._client = distributed.client()
            self._listener = threading.Thread(target=self._listen, name="peers", daemon=True)
            self._listener.start()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if self._client is None:
            return
        agreed = error is None or isinstance(error, self._agreed)
        if agreed:
            distributed.wait_for_all("end")  # the first process may still seal, draw or write
        if not self._ending.acquire(blocking=False):
            threading.Event().wait()  # the listener ends the process
        if not agreed:
            leave_if_lost(error)
        status = exits.USER_ERROR if isinstance(error, UserError) else exits.FAILED
        _tell(self._client, exits.DONE if agreed else status, str(error) or repr(error))
        self._listener.join()  # Python must not end under a thread that waits in C++

    def _listen(self) -> None:
        """Waits for another's last words; ends this process as it did."""
        try:
            words = json.loads(self._client.blocking_key_value_get(_KEY, _FOREVER_MS))
        except Exception:  # the run is over, or the service is gone and JAX ends this process
            return
        if words["status"] == exits.DONE or not self._ending.acquire(blocking=False):
            return
        _say(
            f"process {words['process']} of {jax.process_count()} ended with status "
            f"{words['status']} ({words['message']}), and so does process {jax.process_index()}"
        )
        if words["status"] == exits.LOST_PEER:
            _leave(exits.LOST_PEER)
        saving.acquire(timeout=SAVING_SECONDS)
        jax.distributed.shutdown()  # returns when all are there, the one that failed too
        os._exit(words["status"])


def lost(error: BaseException | None) -> str:
    """Returns what an error says of another process that is gone, "" if it has another cause."""
    while error is not None and not isinstance(error, UserError):
        if isinstance(error, Exception) and _ECHO.search(str(error)):
            return str(error).strip().splitlines()[0][:200]
        error = error.__cause__
    return ""


def leave_if_lost(error: BaseException | None) -> None:
    """Ends the process if the error comes of another one that is gone: there is no going on."""
    reason = lost(error) if jax.process_count() > 1 else ""
    if reason:
        _say(
            f"another process of this run is gone ({reason}); start all of them again, the run "
            "goes on from its last checkpoint"
        )
        _tell(distributed.client(), exits.LOST_PEER, "it lost another process")
        _leave(exits.LOST_PEER)


def _leave(status: int) -> None:
    saving.acquire(timeout=SAVING_SECONDS)
    if jax.process_index() == 0:
        time.sleep(LINGER_SECONDS)
    os._exit(status)


def _tell(client: Any, status: int, message: str) -> None:
    words = {"process": jax.process_index(), "status": status, "message": message}
    try:
        client.key_value_set(_KEY, json.dumps(words))
    except Exception as error:  # another one was faster, or nobody is there to hear
        log.debug("last words were not heard: %s", error)


def _say(text: str) -> None:
    sys.stdout.flush()
    print(f"vit-jax: error: {text}", file=sys.stderr, flush=True)
