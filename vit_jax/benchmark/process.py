# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The parent's side of a worker: start it, tell it to run, ask it for its facts, end it."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from vit_jax.errors import UserError

WORKER = Path(__file__).with_name("worker.py")
CONTENDERS = Path(__file__).with_name("contenders")


@dataclass(frozen=True)
class Launch:
    """How to start one contender.

    Attributes:
        name: what the tables call it.
        script: the file in `contenders/` (or any path) that defines `Contender`.
        job: what to build; sent as JSON.
        python: the interpreter, this one by default.
        paths: directories put on its PYTHONPATH.
        environment: variables it finds set, unless they are set here already.
        hint: how to install what it needs; ends the error message if it cannot be built.
    """

    name: str
    script: str | Path
    job: Mapping[str, Any]
    python: str = sys.executable
    paths: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    hint: str = ""


class Worker:
    """A contender in its own process, built and run once when the constructor returns.

    Attributes:
        first_step_seconds: from the start of the process to the end of its first step.

    Raises:
        UserError: the process could not be started, or the contender not be built.
    """

    def __init__(self, launch: Launch):
        self.launch = launch
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by `close`)
        start = time.perf_counter()
        try:
            self._process = subprocess.Popen(
                [launch.python, str(WORKER), str(CONTENDERS / launch.script)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
                env=child_environment(launch),
            )
        except OSError as error:
            self._log.close()
            raise UserError(f"{launch.name}: cannot start {launch.python!r}: {error}") from error
        try:
            self._ask(dict(launch.job))
        except BaseException:
            self.close()
            raise
        self.first_step_seconds = time.perf_counter() - start

    def run(self, steps: int) -> dict[str, float]:
        """Runs `steps` steps and returns {"seconds", "cpu_seconds"} of them together."""
        return self._ask({"run": steps})

    def facts(self) -> dict[str, Any]:
        """Returns what the contender tells of itself: versions, device, memory, compile seconds."""
        return self._ask({"facts": True})

    def close(self) -> None:
        """Ends the process: asks by end of file, and kills it if it has not gone in 10 seconds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()

    def _ask(self, request: dict) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # a child that died is told apart below
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": f"it ended: {self._last_words()}"}
        if "error" in answer:
            hint = f"; {self.launch.hint}" if self.launch.hint else ""
            raise UserError(f"{self.launch.name}: {answer['error'][:500]}{hint}")
        return answer

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = self._log.read().strip().splitlines()
        return lines[-1] if lines else "it printed nothing"

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def child_environment(launch: Launch) -> dict[str, str]:
    """Returns this process's environment with the paths of `launch`, and its variables if unset."""
    environment = {**dict(launch.environment), **os.environ}
    inherited = environment.get("PYTHONPATH")
    paths = [*launch.paths, *([inherited] if inherited else [])]
    if paths:
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    return environment
