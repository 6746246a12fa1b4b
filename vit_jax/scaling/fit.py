# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Fitting a law to points: robustly, from many starts, with intervals, or not at all.

Errors are taken as relative: residuals are differences of logarithms, under Huber's loss, as in
arXiv 2203.15556 (section 3.3). Intervals come from two bootstraps, the wider end of each counts:
residuals dealt anew among the points, right where all points are equally noisy, and each point's
own residual with a random sign (Wu 1986's wild bootstrap), right where they are not.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import special, stats

from vit_jax.errors import UserError
from vit_jax.scaling.laws import LAWS, LETTERS, Columns, Law

# A parameter counts as determined when the ends of its interval are not further apart than this.
UNDETERMINED = 50.0

_HUBER = 1.345  # times the standard deviation: 95 % of the efficiency of least squares (Huber 1981)
_ITERATIONS = 60
_SETTLED = 1e-12  # relative gain of an iteration that is the last
_LEAST_SPREAD = 1e-9  # of the residuals: points that lie on the curve need some scale


@dataclasses.dataclass(frozen=True)
class Fit:
    """A fitted law.

    Attributes:
        law: its name.
        parameters: name -> value.
        intervals: name -> (low, high), 95 %.
        resampled: name -> value of every resampling, `[2, resamplings]`; see `interval`.
        spread: standard deviation of the relative residuals, robust.
        points: how many were fitted.
    """

    law: str
    parameters: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    resampled: dict[str, np.ndarray]
    spread: float
    points: int

    def predict(self, columns: Columns) -> np.ndarray:
        """Returns the curve's values `[points]`."""
        return LAWS.get(self.law)(columns, self.parameters)

    def predict_interval(self, columns: Columns) -> tuple[np.ndarray, np.ndarray]:
        """Returns (low, high) `[points]` of the curve itself, 95 %, without the noise of points."""
        draws = {name: draw[..., None] for name, draw in self.resampled.items()}
        return interval(LAWS.get(self.law)(columns, draws))


def interval(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns (low, high) `[...]`, 95 %, of a quantity `[2, resamplings, ...]`.

    The wider of the two bootstraps at either end.
    """
    low, high = np.percentile(draws, (2.5, 97.5), axis=1)
    return low.min(0), high.max(0)


def fit(
    name: str, columns: Columns, values: np.ndarray, *, resamplings: int = 200, seed: int = 0
) -> Fit:
    """Fits a law.

    Args:
        name: of the law, see `LAWS`.
        columns: the law's columns, positive, `[points]` each.
        values: what it explains (an error, a loss), positive, `[points]`.
        resamplings: of each bootstrap.
        seed: of the resampling.

    Raises:
        UserError: values that are not positive, too few points, or points that do not determine
            a parameter; it says which and what would.
    """
    law = LAWS.get(name)
    columns = {column: np.asarray(columns[column], float) for column in law.columns}
    values = np.asarray(values, float)
    _check(name, law, columns, values)
    units = {column: math.exp(np.log(x).mean()) for column, x in columns.items()}
    scaled = {column: x / units[column] for column, x in columns.items()}

    log_values = np.log(values)
    best, residuals, jacobian = _search(law, scaled, values)
    spread = _spread(residuals, len(best))
    errors = _errors(residuals, jacobian)
    rng, shape = np.random.default_rng(seed), (resamplings, len(errors))
    noise = np.concatenate([rng.choice(errors, shape), errors * rng.choice([-1.0, 1.0], shape)])
    draws = _minimise(law, scaled, log_values + residuals + noise, best[None], _HUBER * spread)[0]
    draws = draws.reshape(2, resamplings, -1)
    _check_determined(law, columns, draws, spread)

    def named(logs: np.ndarray) -> dict[str, Any]:
        """Returns parameters `[...]`, in the units given, of logarithms `[..., parameters]`."""
        split = zip(law.parameters, np.moveaxis(np.exp(logs), -1, 0), strict=True)
        return law.in_units(dict(split), units)

    resampled = named(draws)
    ends = {name: interval(draw) for name, draw in resampled.items()}
    intervals = {name: (float(low), float(high)) for name, (low, high) in ends.items()}
    parameters = {name: float(value) for name, value in named(best).items()}
    return Fit(LAWS.canonical(name), parameters, intervals, resampled, spread, len(values))


def _log_curve(law: Law, columns: Columns, logs: np.ndarray) -> np.ndarray:
    """Returns log(curve) `[n, points]` of n parameter vectors in logarithms, `[n, parameters]`."""
    split = np.exp(logs).T[:, :, None]
    return np.log(law(columns, dict(zip(law.parameters, split, strict=True))))


def _jacobian(law: Law, columns: Columns, logs: np.ndarray) -> np.ndarray:
    """Returns the derivatives of the residuals `[n, points, parameters]`, by the complex step."""
    steps = 1e-20j * np.eye(logs.shape[1])
    return np.stack([_log_curve(law, columns, logs + s).imag for s in steps], -1) * 1e20


def _minimise(
    law: Law, columns: Columns, log_values: np.ndarray, starts: np.ndarray, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """Minimises Huber's loss by Levenberg-Marquardt, all starts or all resamplings side by side.

    Args:
        log_values: `[points]` or `[n, points]`.
        starts: `[n or 1, parameters]`, logarithms.
        scale: residuals above it count linearly.

    Returns:
        The minima `[n, parameters]` and their losses `[n]`.
    """
    n = max(len(starts), len(np.atleast_2d(log_values)))
    logs = np.array(np.broadcast_to(starts, (n, starts.shape[1])))
    targets = np.broadcast_to(log_values, (n, np.shape(log_values)[-1]))
    damping, going = np.full(n, 1e-3), np.arange(n)

    def loss(logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        r = _log_curve(law, columns, logs) - targets[going]
        return r, np.nan_to_num(special.huber(scale, r).sum(1), nan=np.inf)

    residuals, cost = loss(logs)
    for _ in range(_ITERATIONS):
        step = _step(_jacobian(law, columns, logs[going]), residuals[going], damping[going], scale)
        moved = logs[going] - np.clip(step, -1, 1)
        new_residuals, new_cost = loss(moved)
        better = new_cost < cost[going]
        kept, gain = going[better], cost[going][better] - new_cost[better]
        logs[kept], residuals[kept] = moved[better], new_residuals[better]
        cost[kept] = new_cost[better]
        damping[going] = np.clip(damping[going] * np.where(better, 0.2, 5), 1e-9, 1e9)
        settled = damping[going] >= 1e9
        settled[better] = gain <= _SETTLED * new_cost[better]
        going = going[~settled]
        if not len(going):
            break
    return logs, cost


def _step(
    slopes: np.ndarray, residuals: np.ndarray, damping: np.ndarray, scale: float
) -> np.ndarray:
    """Returns the damped Gauss-Newton step `[n, parameters]` of Huber's loss."""
    weights = np.minimum(1, scale / np.maximum(np.abs(residuals), 1e-300))
    weighted = slopes * weights[..., None]
    curvature = np.einsum("nip,niq->npq", weighted, slopes)
    ridge = np.maximum(np.einsum("npp->np", curvature), 1e-12) * damping[:, None]
    gradient = np.einsum("nip,ni->np", weighted, residuals)
    ridged = curvature + ridge[..., None] * np.eye(slopes.shape[-1])
    return np.linalg.solve(ridged, gradient[..., None])[..., 0]


def _search(
    law: Law, columns: Columns, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Minimises from all starts, then once more with Huber's threshold at the noise found.

    Returns:
        The logarithms of the parameters `[p]`, the residuals `[points]` and their derivatives.
    """
    grid = law.starts(columns, values)
    starts = np.log(list(itertools.product(*(grid[name] for name in law.parameters))))
    log_values = np.log(values)
    ends, costs = _minimise(law, columns, log_values, starts, 0.01)
    best = ends[[np.argmin(costs)]]
    spread = _spread((_log_curve(law, columns, best) - log_values)[0], best.shape[1])
    best, _ = _minimise(law, columns, log_values, best, _HUBER * spread)
    residuals = _log_curve(law, columns, best) - log_values
    return best[0], residuals[0], _jacobian(law, columns, best)[0]


def _spread(residuals: np.ndarray, num_parameters: int) -> float:
    """Returns the standard deviation by the median, corrected for the parameters fitted."""
    by_median = np.median(np.abs(residuals)) * 1.4826
    correction = math.sqrt(len(residuals) / (len(residuals) - num_parameters))
    return max(float(by_median * correction), _LEAST_SPREAD)


def _errors(residuals: np.ndarray, jacobian: np.ndarray) -> np.ndarray:
    """Returns the residuals made as large as the errors behind them.

    A fit follows its points, the more so where a point has leverage: `r / (1 - leverage)`, as the
    jackknife has it. What few degrees of freedom then still lack is Student's factor.
    """
    basis = np.linalg.qr(jacobian)[0]
    leverage = np.minimum((basis**2).sum(1), 0.99)
    errors = residuals / (1 - leverage)
    freedom = len(residuals) - jacobian.shape[1]
    return (errors - errors.mean()) * stats.t.ppf(0.975, freedom) / stats.norm.ppf(0.975)


def _check(name: str, law: Law, columns: Columns, values: np.ndarray) -> None:
    for column, numbers in {**columns, "values": values}.items():
        if not (np.isfinite(numbers) & (numbers > 0)).all():
            raise UserError(f"{name} fits positive numbers; {column} has others")
    distinct = {column: len(np.unique(numbers)) for column, numbers in columns.items()}
    if len(values) < len(law.parameters) + 2:
        raise UserError(
            f"{len(values)} points cannot determine the {len(law.parameters)} parameters of "
            f"{law.formula} and their error; measure at least {len(law.parameters) + 2}"
        )
    for column, count in distinct.items():
        if count < 3:
            raise UserError(
                f"{column} takes {count} values, too few for a curve; measure at least 3"
            )


def _check_determined(law: Law, columns: Columns, draws: np.ndarray, spread: float) -> None:
    """Refuses parameters that the points leave open: resampled, they are all over the place."""
    low, high = interval(draws)
    widths = zip(law.parameters, np.exp(high - low), strict=True)
    open_ones = [name for name, width in widths if width > UNDETERMINED]
    if open_ones:
        spans = [
            f"{LETTERS[c]} over a factor of {x.max() / x.min():.3g}" for c, x in columns.items()
        ]
        meanings = "; ".join(f"{p} ({law.parameters[p]})" for p in open_ones)
        raise UserError(
            f"the points do not determine {meanings} of {law.formula}: they span "
            f"{', '.join(spans)} with a noise of {spread:.2g}; widen the range, add seeds, or fit "
            "a law with fewer parameters"
        )


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """What a fit to the smaller points says of the largest.

    Attributes:
        fit: to the others.
        predicted, observed: `[held out]`.
        low, high: 95 % of what the curve may be there, `[held out]`.
    """

    fit: Fit
    predicted: np.ndarray
    observed: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def relative_errors(self) -> np.ndarray:
        """`predicted / observed - 1`."""
        return self.predicted / self.observed - 1


def hold_out(
    name: str, columns: Columns, values: np.ndarray, largest: np.ndarray, **options: int
) -> HeldOut:
    """Fits without the points where `largest` (bool `[points]`) holds, and predicts these."""
    law = LAWS.get(name)
    columns = {column: np.asarray(columns[column], float) for column in law.columns}
    values, largest = np.asarray(values, float), np.asarray(largest, bool)
    rest = {column: x[~largest] for column, x in columns.items()}
    fitted = fit(name, rest, values[~largest], **options)
    beyond = {column: x[largest] for column, x in columns.items()}
    ends = fitted.predict_interval(beyond)
    return HeldOut(fitted, fitted.predict(beyond), values[largest], *ends)


def compute_optimal(
    parameters: Mapping[str, float], compute: np.ndarray, flops_per_parameter: float = 6.0
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the (size, examples) that a law `E + A / N^alpha + B / D^beta` wants of a compute.

    The minimum under `compute = flops_per_parameter N D`, arXiv 2203.15556, equation 4.

    Args:
        parameters: of the law.
        compute: FLOPs of the training, `[n]`.
        flops_per_parameter: FLOPs a parameter and example; for a ViT 6 times its tokens an image.
    """
    alpha, beta = parameters["alpha"], parameters["beta"]
    ratio = (alpha * parameters["A"] / (beta * parameters["B"])) ** (1 / (alpha + beta))
    product = np.asarray(compute, float) / flops_per_parameter
    size = ratio * product ** (beta / (alpha + beta))
    return size, product / size
