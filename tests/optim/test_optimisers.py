# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Optimisers against their papers' updates written in float64 numpy, over several steps."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vit_jax.config import default_config
from vit_jax.errors import UserError
from vit_jax.layers.stack import stack_layers, unstack_layers
from vit_jax.optim import OPTIMISERS, create_optimiser, create_schedule, parameters
from vit_jax.optim.optimisers import matrix_axes

STEPS = 3
RATE = 0.05


def block(rng):
    draw = lambda *shape: rng.normal(size=shape).astype(np.float32)  # noqa: E731
    return {
        "attn": {
            "qkv": {"kernel": draw(8, 3, 2, 4), "bias": draw(3, 2, 4)},
            "out": {"kernel": draw(2, 4, 8), "bias": draw(8)},
        },
        "mlp": {"fc1": {"kernel": draw(8, 12), "bias": draw(12)}},
        "norm": {"scale": draw(8)},
    }


def model(seed):
    rng = np.random.default_rng(seed)
    return {
        "patch_embed": {"kernel": rng.normal(size=(2, 2, 3, 8)).astype(np.float32)},
        "pos_embed": rng.normal(size=(1, 4, 8)).astype(np.float32),
        "block_00": block(rng),
        "block_01": block(rng),
        "head": {"kernel": rng.normal(size=(8, 5)).astype(np.float32)},
    }


PARAMS = model(0)
GRADS = [model(1 + step) for step in range(STEPS)]


def settings(name="sgd", **fields):
    """A configuration with a constant rate; fields are those of the section `optimiser`."""
    config = default_config()
    config.schedule.name = "constant"
    config.optimiser.name = name
    config.optimiser.learning_rate = RATE
    config.optimiser.clip_norm = 0.0
    for field, value in fields.items():
        config.optimiser[field] = value
    return config


def train(config, params=PARAMS, grads=GRADS, freeze_steps=0):
    """Returns the parameters after a step a gradient, and the optimiser's last state."""
    schedule = create_schedule(config, 100, 0, 0)
    optimiser = create_optimiser(config, schedule, jax.eval_shape(lambda: params), freeze_steps)
    state = jax.jit(optimiser.init)(params)

    @jax.jit
    def step(params, state, grad):
        updates, state = optimiser.update(grad, state, params)
        return optax.apply_updates(params, updates), state

    for grad in grads:
        params, state = step(params, state, grad)
    return params, state


def by_path(tree):
    names = jax.tree.leaves(parameters.paths(tree))
    return dict(zip(names, map(np.asarray, jax.tree.leaves(tree)), strict=True))


def check(config, update, *, rtol=3e-5, atol=3e-6):
    """Compares with `update(w, g, memory, t, decay) -> w` a parameter, in float64."""
    found = by_path(train(config)[0])
    grads = [by_path(grad) for grad in GRADS]
    for path, w in by_path(PARAMS).items():
        decay = config.optimiser.weight_decay if path.endswith("kernel") else 0.0
        w, memory = w.astype(np.float64), {}
        for t, grad in enumerate(grads, start=1):
            w = update(w, grad[path].astype(np.float64), memory, t, decay)
        np.testing.assert_allclose(found[path], w, rtol=rtol, atol=atol, err_msg=path)


def adam_direction(g, memory, t, b1=0.9, b2=0.999, eps=1e-8):
    memory["m"] = b1 * memory.get("m", 0) + (1 - b1) * g
    memory["v"] = b2 * memory.get("v", 0) + (1 - b2) * g * g
    return memory["m"] / (1 - b1**t) / (np.sqrt(memory["v"] / (1 - b2**t)) + eps)


def test_adamw_decays_kernels_only_and_apart_from_the_moments():
    config = settings("adamw", weight_decay=0.3, options={"b1": 0.8, "b2": 0.95, "eps": 1e-3})

    def update(w, g, memory, t, decay):
        return w - RATE * (adam_direction(g, memory, t, 0.8, 0.95, 1e-3) + decay * w)

    check(config, update)


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd(nesterov):
    options = {"momentum": 0.7, "nesterov": nesterov}

    def update(w, g, memory, t, decay):
        memory["m"] = 0.7 * memory.get("m", 0) + g
        direction = g + 0.7 * memory["m"] if nesterov else memory["m"]
        return w - RATE * (direction + decay * w)

    check(settings("sgd", weight_decay=0.1, options=options), update)


def test_sgd_without_momentum_has_no_memory():
    config = settings("sgd", options={"momentum": 0.0})
    check(config, lambda w, g, memory, t, decay: w - RATE * g)
    assert sum(leaf.size for leaf in jax.tree.leaves(train(config)[1])) == 1  # the step count


def test_lion():
    def update(w, g, memory, t, decay):
        m = memory.get("m", 0)
        memory["m"] = 0.98 * m + 0.02 * g
        return w - RATE * (np.sign(0.9 * m + 0.1 * g) + decay * w)

    check(settings("lion", weight_decay=0.5, options={"b2": 0.98}), update)


def test_lamb():
    def update(w, g, memory, t, decay):
        u = adam_direction(g, memory, t, eps=1e-6) + decay * w
        return w - RATE * u * np.linalg.norm(w) / np.linalg.norm(u)

    check(settings("lamb", weight_decay=0.2), update)


def test_adafactor_unfactored_is_a_capped_second_moment_with_momentum():
    options = {"mu_dtype": "float32", "b2_cap": 0.5}

    def update(w, g, memory, t, decay):
        b2 = min(0.5, 1 - t**-0.8)
        memory["v"] = b2 * memory.get("v", 0) + (1 - b2) * g * g
        memory["m"] = 0.9 * memory.get("m", 0) + 0.1 * g / np.sqrt(memory["v"])
        return w - RATE * (memory["m"] + decay * w)

    check(settings("adafactor", weight_decay=0.2, options=options), update)


def test_adafactor_factors_matrices_and_clips_their_updates():
    options = {"min_dim_size_to_factor": 8, "momentum": 0.0, "clipping_threshold": 0.5}
    config = settings("adafactor", options=options)
    params, *grads = [{"kernel": t["block_00"]["mlp"]["fc1"]["kernel"]} for t in (PARAMS, *GRADS)]
    found, state = train(config, params, grads)

    w = params["kernel"].astype(np.float64)
    rows, columns = 0, 0
    for t, grad in enumerate(grads, start=1):
        g = grad["kernel"].astype(np.float64)
        b2 = min(0.999, 1 - t**-0.8)
        rows = b2 * rows + (1 - b2) * (g * g).mean(1)
        columns = b2 * columns + (1 - b2) * (g * g).mean(0)
        u = g / np.sqrt(np.outer(rows, columns) / rows.mean())
        w = w - RATE * u / max(1, np.sqrt((u * u).mean()) / 0.5)
    np.testing.assert_allclose(found["kernel"], w, rtol=3e-5, atol=3e-6)
    assert max(leaf.size for leaf in jax.tree.leaves(state)) == 12


def newton_schulz(m):
    """Five quintic iterations on a matrix, as Jordan et al. 2024 state them."""
    x = m / np.linalg.norm(m)
    x = x.T if m.shape[0] > m.shape[1] else x
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.T if m.shape[0] > m.shape[1] else x


MATRICES = {  # module -> the matrices inside its kernel
    "qkv": lambda k: [k[:, i].reshape(8, 8) for i in range(3)],
    "out": lambda k: [k.reshape(8, 8)],
    "fc1": lambda k: [k],
}


def test_muon_orthogonalises_each_matrix_and_leaves_the_rest_to_adam():
    options = {"nesterov": False, "consistent_rms": 0.3, "beta": 0.9, "b2": 0.999}
    found = by_path(train(settings("muon", options=options), grads=GRADS[:2])[0])
    params, first, second = by_path(PARAMS), by_path(GRADS[0]), by_path(GRADS[1])
    for path, w in params.items():
        grads = [first[path].astype(np.float64), second[path].astype(np.float64)]
        module = path.split("/")[-2] if "/" in path else ""
        if path.startswith("block") and path.endswith("kernel"):
            momenta = [grads[0], (0.9 * 0.1 * grads[0] + 0.1 * grads[1]) / (1 - 0.9**2)]
            moved = MATRICES[module]((w - found[path]).astype(np.float64))
            for i, matrix in enumerate(moved):
                steps = [newton_schulz(MATRICES[module](m)[i]) for m in momenta]
                expected = RATE * 0.3 * np.sqrt(max(matrix.shape)) * sum(steps)
                np.testing.assert_allclose(matrix, expected, rtol=1e-3, atol=2e-5, err_msg=path)
        else:
            memory: dict = {}
            for t, g in enumerate(grads, start=1):
                w = w - RATE * adam_direction(g, memory, t)
            np.testing.assert_allclose(found[path], w, rtol=3e-5, atol=3e-6, err_msg=path)


def test_muon_knows_the_matrices_of_every_projection():
    shapes = {
        "block_00": {
            "attn": {"qkv": {"kernel": (8, 3, 2, 4)}, "out": {"kernel": (2, 4, 8)}},
            "mlp": {"fc1": {"kernel": (8, 12), "bias": (12,)}},
        },
        "stage_1": {"merge": {"reduction": {"kernel": (16, 8)}}},
        "pool": {"q": {"kernel": (8, 2, 4)}},
        "head": {"kernel": (8, 5)},
    }
    tree = jax.tree.map(
        lambda s: jax.ShapeDtypeStruct(s, jnp.float32),
        shapes,
        is_leaf=lambda x: isinstance(x, tuple),
    )
    axes = matrix_axes(tree)
    assert axes["block_00"]["attn"]["qkv"]["kernel"] == ((0,), (2, 3))
    assert axes["block_00"]["attn"]["out"]["kernel"] == ((0, 1), (2,))
    assert axes["block_00"]["mlp"]["fc1"] == {"kernel": ((0,), (1,)), "bias": None}
    assert axes["stage_1"]["merge"]["reduction"]["kernel"] == ((0,), (1,))
    assert axes["pool"]["q"]["kernel"] is None
    assert axes["head"]["kernel"] is None


def test_gradients_are_clipped_by_their_global_norm_first():
    clipped = train(settings(clip_norm=0.5, options={"momentum": 0.0}), grads=GRADS[:1])[0]
    moved = jax.tree.map(lambda a, b: (a - b) / RATE, PARAMS, clipped)
    norm = float(optax.tree.norm(GRADS[0]))
    assert norm > 0.5
    for path, direction in by_path(moved).items():
        expected = by_path(GRADS[0])[path] * 0.5 / norm
        np.testing.assert_allclose(direction, expected, rtol=1e-3, atol=1e-5)


def test_small_gradients_are_not_clipped():
    options = {"momentum": 0.0}
    clipped = train(settings(clip_norm=1e4, options=options))[0]
    plain = train(settings(options=options))[0]
    jax.tree.map(np.testing.assert_array_equal, clipped, plain)


@pytest.mark.parametrize("name", OPTIMISERS.names())
def test_frozen_parameters_stay_to_the_bit_and_keep_no_state(name):
    config = settings(name, weight_decay=0.1, clip_norm=1.0, freeze=("block_00/.*", "pos_embed"))
    params, state = train(config)
    frozen = by_path(parameters.match(PARAMS, config.optimiser.freeze))
    for path, value in by_path(params).items():
        assert (value == by_path(PARAMS)[path]).all() == frozen[path]
    named = jax.tree_util.tree_leaves_with_path(state)
    paths = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in named]
    assert not any("block_00" in path or "pos_embed" in path for path in paths)
    assert any("block_01" in path for path in paths)


def test_frozen_gradients_do_not_count_in_the_norm_that_clips():
    config = settings(clip_norm=1.0, freeze=("block.*", "p.*"), options={"momentum": 0.0})
    params, _ = train(config, grads=GRADS[:1])
    head = GRADS[0]["head"]["kernel"]
    expected = PARAMS["head"]["kernel"] - RATE * head / np.linalg.norm(head)
    np.testing.assert_allclose(params["head"]["kernel"], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("freeze_steps", [1, 2])
def test_what_is_frozen_for_a_while_starts_afresh_when_it_thaws(freeze_steps):
    """AdamW in float64: its moments, their bias correction and decay begin at the thaw; the norm
    that clips counts what trains."""
    config = settings(
        "adamw", weight_decay=0.3, clip_norm=1.0, options={"eps": 1e-3}, freeze=("block.*", "p.*")
    )
    found = by_path(train(config, freeze_steps=freeze_steps)[0])
    grads = [by_path(grad) for grad in GRADS]
    late = by_path(parameters.match(PARAMS, config.optimiser.freeze))
    memories = {path: {} for path in late}
    weights = {path: w.astype(np.float64) for path, w in by_path(PARAMS).items()}
    for step, grad in enumerate(grads):
        moving = [path for path in weights if step >= freeze_steps or not late[path]]
        norm = np.sqrt(sum(np.sum(grad[path].astype(np.float64) ** 2) for path in moving))
        for path in moving:
            w, t = weights[path], step + 1 - (freeze_steps if late[path] else 0)
            direction = adam_direction(grad[path] / norm, memories[path], t, eps=1e-3)
            decay = 0.3 if path.endswith("kernel") else 0.0
            weights[path] = w - RATE * (direction + decay * w)
    for path, expected in weights.items():
        np.testing.assert_allclose(found[path], expected, rtol=3e-5, atol=3e-6, err_msg=path)


@pytest.mark.parametrize("name", OPTIMISERS.names())
def test_while_frozen_neither_parameters_nor_their_moments_move(name):
    config = settings(name, weight_decay=0.1, clip_norm=1.0, freeze=("block.*",))
    shapes = jax.eval_shape(lambda: PARAMS)
    optimiser = create_optimiser(config, lambda step: RATE, shapes, STEPS)
    start = optimiser.init(PARAMS)
    params, state = train(config, freeze_steps=STEPS)
    for path, value in by_path(params).items():
        assert (value == by_path(PARAMS)[path]).all() == path.startswith("block")
    before, after = by_path(start), by_path(state)
    moments = [path for path in before if "block" in path]
    assert moments
    for path in moments:
        np.testing.assert_array_equal(after[path], before[path])
    thawed = by_path(train(config, freeze_steps=STEPS, grads=[*GRADS, GRADS[0]])[0])
    assert all((value != by_path(PARAMS)[path]).any() for path, value in thawed.items())


def test_layer_decay_and_multipliers_scale_the_whole_step():
    options = {"momentum": 0.0}
    config = settings(
        weight_decay=0.1, options=options, layer_decay=0.5, multipliers=((".*/bias", 3.0),)
    )
    scaled = by_path(train(config, grads=GRADS[:1])[0])
    plain = by_path(train(settings(weight_decay=0.1, options=options), grads=GRADS[:1])[0])
    layers = {"patch_embed": 0, "pos_embed": 0, "block_00": 1, "block_01": 2, "head": 3}
    for path, start in by_path(PARAMS).items():
        factor = 0.5 ** (3 - layers[path.split("/")[0]]) * (3.0 if path.endswith("bias") else 1.0)
        np.testing.assert_allclose(
            scaled[path] - start, factor * (plain[path] - start), rtol=1e-3, atol=1e-6
        )


@pytest.mark.parametrize("freeze_steps", [0, 1])
@pytest.mark.parametrize("name", OPTIMISERS.names())
def test_scanned_models_take_the_steps_of_unrolled_ones(name, freeze_steps):
    options = {"adafactor": {"min_dim_size_to_factor": 8, "clipping_threshold": 1.0}}.get(name, {})
    config = settings(
        name,
        weight_decay=0.1,
        clip_norm=1.0,
        layer_decay=0.6,
        freeze=("pos_embed", "block.*/bias"),
        options=options,
    )
    unrolled, _ = train(config, freeze_steps=freeze_steps)
    grads = [stack_layers(grad) for grad in GRADS]
    scanned, _ = train(config, stack_layers(PARAMS), grads, freeze_steps)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-6),
        unstack_layers(scanned),
        dict(unrolled),
    )


@pytest.mark.parametrize("name", OPTIMISERS.names())
def test_first_moments_in_half_precision(name):
    config = settings(name, options={"mu_dtype": "bfloat16"})
    optimiser = create_optimiser(config, lambda step: RATE, PARAMS)
    sizes = {jnp.dtype("float32"): 0, jnp.dtype("bfloat16"): 0}
    for leaf in jax.tree.leaves(jax.eval_shape(optimiser.init, PARAMS)):
        sizes[leaf.dtype] = sizes.get(leaf.dtype, 0) + leaf.size
    assert sizes[jnp.dtype("bfloat16")] == sum(leaf.size for leaf in jax.tree.leaves(PARAMS))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "adamw",
            {"nestrov": True},
            "unknown option 'optimiser.options.nestrov'; did you mean 'nesterov'",
        ),
        ("adamw", {"b2": 1.5}, r"optimiser.options.b2: 1.5 is outside \[0, 1\)"),
        ("adamw", {"b2": "high"}, "optimiser.options.b2: 'high' is not of type float"),
        ("adamw", {"mu_dtype": "float8"}, "'float8' is not one of float32, bfloat16"),
        ("sgd", {"nesterov": 1}, "optimiser.options.nesterov: 1 is not of type bool"),
        ("muon", {"ns_steps": True}, "optimiser.options.ns_steps: True is not of type int"),
        ("lion", {"eps": 1e-8}, "unknown option 'optimiser.options.eps'; known: b1, b2, mu_dtype"),
        ("adam", {}, "unknown optimiser 'adam'; did you mean 'adamw'"),
    ],
)
def test_refusals(name, options, message):
    with pytest.raises(UserError, match=message) as error:
        train(settings(name, options=options))
    assert "\n" not in str(error.value)


def test_a_decay_pattern_without_parameter_is_refused():
    with pytest.raises(UserError, match=r"optimiser.decay_patterns: 'kernel' matches no parameter"):
        train(settings(weight_decay=0.1, decay_patterns=("kernel",)))
