# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The child process that holds one contender and runs it whenever the parent says so.

Run as a file (`python worker.py CONTENDER.py`), with nothing but the standard library, because a
peer may live in an environment that has no vit_jax. One JSON document a line:

    parent: the job                 child: {"ready": true}              built and run once
    parent: {"run": n}              child: {"seconds", "cpu_seconds"}   n steps, waited for
    parent: {"facts": true}         child: the contender's facts
    parent: end of file             child: exits

Anything that goes wrong is answered with {"error": one line}. What libraries print goes to stderr.
"""

import json
import os
import runpy
import sys
import time
import traceback
from types import SimpleNamespace
from typing import Any, TextIO


def timed_run(contender: Any, steps: int) -> dict[str, float]:
    """Runs `steps` steps; returns wall seconds and CPU seconds of all threads of this process.

    What `run` returns are seconds at its end in which nothing was done any more (None: 0).
    """
    wall, cpu = time.perf_counter(), time.process_time()
    idle = contender.run(steps) or 0.0
    return {
        "seconds": time.perf_counter() - wall - idle,
        "cpu_seconds": time.process_time() - cpu,
    }


def serve(script: str, requests: TextIO, replies: TextIO) -> None:
    """Builds the contender of `script` for the job on the first line, then answers requests."""

    def reply(answer: dict) -> None:
        replies.write(json.dumps(answer) + "\n")
        replies.flush()

    try:
        job = SimpleNamespace(**json.loads(requests.readline()))
        contender = runpy.run_path(script)["Contender"](job)
        contender.run(1)
        reply({"ready": True})
        for line in requests:
            request = json.loads(line)
            if "run" in request:
                reply(timed_run(contender, request["run"]))
            else:
                reply(contender.facts())
    except Exception as error:
        traceback.print_exc()
        kind = type(error).__name__
        # A UserError, which may not be importable here, says it all.
        text = str(error) if kind == "UserError" else f"{kind}: {error}"
        reply({"error": " ".join(text.split())})


if __name__ == "__main__":
    own_stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.path.pop(0)  # this file's folder: contenders shall not find its neighbours by short names
    serve(sys.argv[1], sys.stdin, own_stdout)
