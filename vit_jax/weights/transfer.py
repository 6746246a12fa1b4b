# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""From the parameters of a trained model to those another one starts from.

The other one may see images of another size, in other patches or windows, in one channel, and tell
other classes apart. Every array is loaded, resized, made anew or left out, and the report says
which; what is none of these is an error, so that nothing is lost in silence.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from vit_jax.errors import UserError
from vit_jax.layers.stack import stack_layers, unstack_layers
from vit_jax.weights.resize import Methods, Pair
from vit_jax.weights.sizing import Facts, fit

HEADS = ("head", "head_dist")
TAIL = ("pre_logits", *HEADS)  # belongs to the task: made anew where it differs
DEFAULT_METHODS = Methods()


@dataclasses.dataclass(frozen=True)
class Report:
    """What became of every parameter, by path (of unrolled blocks).

    Attributes:
        loaded: taken over as they are.
        resized: taken over in another size, from which to which.
        initialised: the new model's own: the tail that differs, what was asked for.
        ignored: of the trained model, left out: likewise.
    """

    loaded: tuple[str, ...]
    resized: dict[str, str]
    initialised: tuple[str, ...]
    ignored: tuple[str, ...]

    def __str__(self) -> str:
        lists = {
            "resized": self.resized,
            "initialised": dict.fromkeys(self.initialised, ""),
            "ignored": dict.fromkeys(self.ignored, ""),
        }
        parts = [f"{name}: {', '.join(listed(texts))}" for name, texts in lists.items() if texts]
        return "; ".join([f"{len(self.loaded)} arrays loaded", *parts])


def transfer(
    trained: Mapping[str, Any],
    fresh: Mapping[str, Any],
    spec: Any,
    *,
    trained_spec: Any = None,
    grid: Sequence[int] = (),
    initialise: Iterable[str] = (),
    ignore: Iterable[str] = (),
    methods: Methods = DEFAULT_METHODS,
) -> tuple[dict[str, Any], Report]:
    """Returns `fresh` with the parameters of `trained` in its sizes, and the report.

    Resized are the position table, Swin's tables of relative positions and the kernel of the
    patches, which is also summed for images of one channel. A head of another shape starts at zero
    (its bias at the spec's `head_bias`); so does every head where `pre_logits` differs, the layer
    it reads. Position rows go with their tokens; a row for a token that `trained` lacks is zero.

    Args:
        trained: parameters as arrays, scanned or unrolled.
        fresh: parameters of the new model, just initialised, scanned or unrolled; or their shapes
            and dtypes, of which those that nothing fills are returned.
        spec: of the new model.
        trained_spec: of the trained model, where it is known.
        grid: rows and columns of the patches that the trained position table covers (Swin: of its
            window), where `trained_spec` is not known. Without either, a table is taken for that
            of a square, and refused if it is none.
        initialise: patterns of whole paths of `fresh` that start as they are.
        ignore: patterns of whole paths of `trained` that are left out.
        methods: how arrays are resized.

    Raises:
        UserError: something else is missing, left over or does not fit; all of it is listed.
    """
    if trained_spec is not None and type(trained_spec) is not type(spec):
        names = [type(s).__name__.removesuffix("Spec") for s in (trained_spec, spec)]
        raise UserError(f"the trained parameters are a {names[0]}'s and the model is a {names[1]}")
    ours = flatten_dict(unstack_layers(fresh), sep="/")
    theirs = flatten_dict(unstack_layers(trained), sep="/")
    differing = _differing_tail(ours, theirs)
    anew = _matching(initialise, ours, field="initialise") | _under(differing, ours)
    out = (anew & theirs.keys()) | _matching(ignore, theirs) | _under(differing, theirs)
    facts = Facts(spec, trained_spec, _checked(grid), methods, ours, theirs)
    moved, resized = _fit_all(facts, anew, out)
    params = dict(ours) | _new_heads(ours, anew, spec) | moved
    merged = unflatten_dict(params, sep="/")
    scanned = ours.keys() != flatten_dict(fresh, sep="/").keys()
    report = Report(
        loaded=tuple(path for path in ours if path not in anew and path not in resized),
        resized={path: resized[path] for path in ours if path in resized},
        initialised=tuple(path for path in ours if path in anew),
        ignored=tuple(path for path in theirs if path in out),
    )
    return (stack_layers(merged) if scanned else merged), report


def _fit_all(facts: Facts, anew: set[str], out: set[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns the trained arrays in our sizes, and how those that had others were resized.

    Args:
        facts: about both models.
        anew: our paths that are not filled.
        out: their paths that are left out.

    Raises:
        UserError: some do not fit, are missing or left over.
    """
    moved, resized = dict[str, Any](), dict[str, str]()
    problems = dict.fromkeys(facts.theirs.keys() - facts.ours.keys() - out, "has no place here")
    for path in facts.ours.keys() - anew:
        if path not in facts.theirs or path in out:
            problems[path] = "absent there"
            continue
        try:
            moved[path], how = fit(path, facts)
        except UserError as error:
            problems[path] = str(error)
        else:
            resized |= {path: how} if how else {}
    if problems:
        raise UserError(
            f"the trained parameters do not fit the model: {'; '.join(listed(problems))}. Make "
            "the model as the trained one was, or allow it by patterns: initialise=... for what "
            "may start anew, ignore=... for what may be left out"
        )
    return moved, resized


def _checked(grid: Sequence[int]) -> Pair | tuple[()]:
    match grid:
        case ():
            return ()
        case (int() as rows, int() as columns) if min(rows, columns) > 0:
            return rows, columns
    raise UserError(f"grid={grid!r} is no grid; write (rows, columns)")


def _differing_tail(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> set[str]:
    """Returns the parts of the tail that do not have the same shapes on both sides."""

    def shapes(flat: Mapping[str, Any], part: str) -> dict[str, Any]:
        return {path: flat[path].shape for path in _under({part}, flat)}

    different = {part for part in TAIL if shapes(ours, part) != shapes(theirs, part)}
    return different | set(HEADS) if "pre_logits" in different else different


def _new_heads(ours: Mapping[str, Any], anew: set[str], spec: Any) -> dict[str, np.ndarray]:
    """Returns heads that say nothing yet: kernels are zero, biases the initial bias."""
    values = {path: spec.head_bias * path.endswith("/bias") for path in _under(set(HEADS), anew)}
    return {p: np.full(ours[p].shape, value, ours[p].dtype) for p, value in values.items()}


def _under(parts: set[str], paths: Iterable[str]) -> set[str]:
    return {path for path in paths if path.partition("/")[0] in parts}


def _matching(patterns: Iterable[str], flat: Mapping[str, Any], field: str = "") -> set[str]:
    """Returns the paths that a pattern matches whole; with `field`, every pattern must match."""
    found: set[str] = set()
    for pattern in patterns:
        matches = {path for path in flat if re.fullmatch(pattern, path)}
        if field and not matches:
            known = f"parameters are called like {next(iter(flat))!r}"
            raise UserError(f"{field}: {pattern!r} matches no parameter's whole path; {known}")
        found |= matches
    return found


def listed(texts: Mapping[str, str]) -> list[str]:
    """Returns "path (text)" of all; what is alike in several blocks is one "block_{00,01}/..."."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for path, text in sorted(texts.items()):
        block, number, rest = re.match(r"(.*?\bblock_)?(\d*)(.*)", path).groups("")  # type: ignore[union-attr]
        groups.setdefault((block, rest, text), []).append(number)
    lines = []
    for (block, rest, text), numbers in groups.items():
        number = f"{{{','.join(numbers)}}}" if len(numbers) > 1 else numbers[0]
        lines.append(f"{block}{number}{rest}" + (f" ({text})" if text else ""))
    return lines
