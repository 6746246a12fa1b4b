# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""One table of exit statuses: complete, free of contradictions, and the same in every document."""

import pathlib
import re
import signal

from vit_jax import exits

ROOT = pathlib.Path(__file__).parents[1]


def test_every_status_has_one_row():
    named = [v for k, v in vars(exits).items() if k.isupper() and isinstance(v, int)]
    listed = [status for row in exits.TABLE for status in row.statuses]
    assert sorted(listed) == sorted([*named, *exits.KILLED])
    assert {row.again for row in exits.TABLE} == {exits.NO, exits.YES, exits.COUNTED}
    assert exits.never_again() == (exits.DONE, exits.FAILED, exits.USER_ERROR, exits.INTERRUPTED)
    signals = ("SIGABRT", "SIGKILL", "SIGALRM", "SIGTERM")
    assert tuple(128 + getattr(signal, name) for name in signals) == exits.KILLED


def test_documents_show_the_table():
    shown = 0
    for path in [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("launch/*.md")]:
        tables = re.findall(r"^\| status \|.*\n(?:\|.*\n)+", path.read_text(), re.MULTILINE)
        shown += len(tables)
        for table in tables:
            assert table == exits.markdown() + "\n", path
    assert shown >= 2
