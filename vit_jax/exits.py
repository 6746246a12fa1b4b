# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Exit statuses: what ended a run, and whether the same command is to be started again.

Whoever starts runs (`launch/`, a scheduler, a person) decides by the status alone. A status that is
not in `TABLE` is a death nobody foresaw, and treated as `KILLED` is.
"""

from typing import NamedTuple

DONE = 0
FAILED = 1  # Python's own for an exception that nobody caught
USER_ERROR = 2  # argparse's own
PREEMPTED = 75  # EX_TEMPFAIL: try again later
LOST_PEER = 76
STALLED = 77
INTERRUPTED = 130
KILLED = (134, 137, 142, 143)  # of a shell: SIGABRT, SIGKILL, SIGALRM, SIGTERM

NO, YES, COUNTED = "no", "yes", "yes, so many times"


class Row(NamedTuple):
    """What some statuses mean.

    Attributes:
        statuses: of the process.
        again: NO, it would only happen again; YES; or COUNTED: yes, up to a limit.
        meaning: in a few words.
    """

    statuses: tuple[int, ...]
    again: str
    meaning: str


TABLE = (
    Row((DONE,), NO, "done"),
    Row((FAILED,), NO, "the run failed: it diverged, data cannot be read, a bug"),
    Row((USER_ERROR,), NO, "a mistake in the command or the configuration"),
    Row((PREEMPTED,), YES, "SIGTERM: it saved and stopped"),
    Row((LOST_PEER,), COUNTED, "another process of the run was lost"),
    Row((STALLED,), COUNTED, "no step finished for `train.watchdog_seconds`; the stacks were kept"),
    Row((INTERRUPTED,), NO, "interrupted from the keyboard"),
    Row(
        KILLED,
        COUNTED,
        "killed: the machine or its memory went, JAX missed a process, SIGTERM came too early",
    ),
)


def never_again() -> tuple[int, ...]:
    """Returns the statuses after which the same command would end the same way."""
    return tuple(status for row in TABLE if row.again == NO for status in row.statuses)


def markdown() -> str:
    """Returns the table as the documents show it."""
    rows = [f"| {', '.join(map(str, r.statuses))} | {r.again} | {r.meaning} |" for r in TABLE]
    head = ["| status | start it again? | what happened |", "|---|---|---|"]
    return "\n".join([*head, *rows])
