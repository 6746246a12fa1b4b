# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""A configuration as text, as JSON, and as the difference from another."""

import json
import os
from collections.abc import Mapping
from typing import Any

from etils import epath
from ml_collections import ConfigDict

from vit_jax.config.loading import check_structure
from vit_jax.config.schema import FIELDS, default_config, get_field, lock
from vit_jax.errors import UserError


def flatten(config: ConfigDict) -> dict[str, Any]:
    """Returns path -> value of every field in the order of the schema, open fields key by key."""
    flat: dict[str, Any] = {}
    for path in FIELDS:
        value = get_field(config, path)
        keys = value.to_dict() if isinstance(value, ConfigDict) else None
        flat.update({path: value} if keys is None else {f"{path}.{k}": v for k, v in keys.items()})
    return flat


def to_text(config: ConfigDict) -> str:
    """Returns one line `path = value` a field, in the order of the schema."""
    return "\n".join(f"{path} = {value!r}" for path, value in flatten(config).items())


def to_json(config: ConfigDict) -> str:
    """Returns the configuration as JSON; tuples become lists."""
    return json.dumps(config.to_dict(), indent=2)


def save(config: ConfigDict, path: str | os.PathLike) -> None:
    """Writes the configuration to a JSON file, at once or not at all."""
    partial = epath.Path(f"{os.fspath(path)}.partial")
    partial.write_text(to_json(config) + "\n")
    partial.replace(path)


def from_json(text: str) -> ConfigDict:
    """Reads what `to_json` wrote; fields that are not in it get their default.

    Raises:
        UserError: it is not JSON, or has fields or types that the schema does not know.
    """
    try:
        saved = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"the saved config is not JSON: {error}") from None
    if not isinstance(saved, dict):
        raise UserError(f"the saved config is a JSON {type(saved).__name__}, not an object")
    tree = _merge(default_config().to_dict(), _with_tuples(saved))
    return check_structure(ConfigDict(tree), where="saved config: ")


def _merge(defaults: dict[str, Any], saved: dict[str, Any]) -> dict[str, Any]:
    """Returns the saved tree with what it lacks from the defaults."""
    merged = defaults | saved
    for key, default in defaults.items():
        if isinstance(default, dict) and isinstance(merged[key], dict):
            merged[key] = _merge(default, merged[key])
    return merged


def _with_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_tuples(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(_with_tuples(item) for item in value)
    return value


def with_fields(config: ConfigDict, fields: Mapping[str, Any]) -> ConfigDict:
    """Returns a copy of the configuration with other values at some dotted paths."""
    changed = from_json(to_json(config))
    with changed.unlocked():
        for path, value in fields.items():
            section, _, name = path.rpartition(".")
            (get_field(changed, section) if section else changed)[name] = value
    return lock(changed)


def diff(before: ConfigDict, after: ConfigDict) -> list[tuple[str, Any, Any]]:
    """Returns (path, before, after) of every field that differs; None stands for an absent key."""
    a, b = flatten(before), flatten(after)
    paths = [*a, *(path for path in b if path not in a)]
    return [(path, a.get(path), b.get(path)) for path in paths if a.get(path) != b.get(path)]
