# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Where the programs beside the pages put what they have made."""

import pathlib
import re


def put(page: str, name: str, text: str) -> None:
    """Puts text between `<!-- name -->` and `<!-- end of name -->` of a page of docs/."""
    path = pathlib.Path(__file__).with_name(page)
    marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    found, times = marked.subn(lambda match: f"{match[1]}{text}\n{match[2]}", path.read_text())
    if times != 1:
        raise SystemExit(f"{path} has {times} places for {name}")
    path.write_text(found)
