# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What a run starts from: `model.init_from`, a checkpoint of ours or anyone's weights."""

import dataclasses
import importlib.util
import os
import pathlib
from typing import Any

from ml_collections import ConfigDict

from vit_jax.errors import UserError
from vit_jax.optim.parameters import check_pattern
from vit_jax.registry import near_misses
from vit_jax.weights import conversion, files, hub

_SOURCES = (
    "a workdir or a step of it, a file of weights, a folder of transformers, hf:ORG/NAME or "
    "timm:NAME"
)


@dataclasses.dataclass(frozen=True)
class Options:
    """`model.init_options`: what `load_weights` takes besides a source and a model.

    Attributes:
        layout: whose names the source has; "" finds out.
        initialise: patterns of parameters that start anew.
        ignore: patterns of what is left out of the source.
        grid: rows and columns of patches of the source's position table, where nothing says.
    """

    layout: str = ""
    initialise: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    grid: tuple[int, ...] = ()


def options(config: ConfigDict, spec: Any) -> Options:
    """Returns the options for a model of this spec.

    Raises:
        UserError: names the option that does not exist or cannot be meant.
    """
    field, given = "model.init_options", config.model.init_options.to_dict()
    known = [option.name for option in dataclasses.fields(Options)]
    for name in given.keys() - known:
        hint = near_misses(name, known) or f"; known: {', '.join(known)}"
        raise UserError(f"{field}: unknown option {name!r}{hint}")
    if given and not config.model.init_from:
        raise UserError(f"{field} has no effect without model.init_from; set that, or leave it out")
    for name in given.keys() - {"layout"}:
        value = given[name]
        given[name] = tuple(value) if isinstance(value, list | tuple) else (value,)
    chosen = Options(**given)
    if chosen.layout:
        conversion.name_map(spec, chosen.layout)
    for name in ("initialise", "ignore"):
        for pattern in given.get(name, ()):
            check_pattern(pattern, field=f"{field}.{name}")
    if len(chosen.grid) not in (0, 2) or not all(isinstance(n, int) for n in chosen.grid):
        raise UserError(f"{field}.grid={chosen.grid!r} is no grid; write (rows, columns)")
    return chosen


def check_source(source: str) -> None:
    """Refuses a source that is not there, as far as that is known without reading it.

    Raises:
        UserError: says what it may be.
    """
    if hub.is_name(source):
        if importlib.util.find_spec("huggingface_hub") is None:
            raise UserError(
                f"model.init_from={source!r} needs huggingface_hub; pip install 'vit-jax[hub]'"
            )
        return
    path = pathlib.Path(source)
    if not path.exists():
        raise UserError(f"model.init_from={source!r} does not exist; write {_SOURCES}")
    if not os.access(path, os.R_OK):
        raise UserError(f"model.init_from={source!r} cannot be read; allow it with chmod u+r")
    if path.is_file() and not path.name.endswith((*files.READERS, files.INDEX)):
        known = ", ".join((*files.READERS, files.INDEX))
        raise UserError(f"model.init_from={source!r} is no file of weights; known: {known}")


def load(config: ConfigDict, model: Any, channels: int) -> tuple[dict[str, Any], str]:
    """Returns the parameters a run starts from, numpy arrays, and what became of the source's.

    Args:
        config: names the source and how to read it.
        model: of the run.
        channels: of its images.

    Raises:
        UserError: the source cannot be read or does not fit the model.
    """
    chosen, said = options(config, model.spec), list[str]()
    source = conversion.open_source(config.model.init_from, said.append)
    loaded = conversion.load(
        source,
        model,
        layout=chosen.layout,
        allowances=conversion.Allowances(chosen.initialise, chosen.ignore, chosen.grid),
        channels=channels,
        seed=config.seed,
    )
    layout = [f"{loaded.layout} layout"] if loaded.layout else []
    return loaded.params, "; ".join([*said, *layout, str(loaded.report), *loaded.notes])
