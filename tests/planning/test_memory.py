# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What a program takes, and the search for settings that take less."""

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vit_jax import config as config_lib
from vit_jax.layers.stack import REMAT_POLICIES
from vit_jax.parallel.mesh import create_mesh
from vit_jax.planning import memory
from vit_jax.planning.memory import Settings, Trial, Usage

SETTINGS = st.builds(
    lambda rows, accumulation, remat, data, fsdp, open_data: Settings(
        batch_size=rows * accumulation * data * fsdp,
        accumulation=accumulation,
        remat=remat,
        data=data,
        fsdp=fsdp,
        open_data=open_data,
        evaluation_batch_size=rows * accumulation * data * fsdp,
    ),
    st.sampled_from([1, 6, 8, 64]),
    st.sampled_from([1, 2, 3]),
    st.sampled_from(sorted(memory.REMAT_COST)),
    st.sampled_from([1, 2, 4, 8]),
    st.sampled_from([1, 2]),
    st.booleans(),
)
PLAIN = Settings(64, 1, "none", 4, 1, True, 64)


@pytest.mark.parametrize("parts", [1, 8])
def test_usage_is_what_each_device_holds(parts):
    """4 MiB of state, donated, and 1 MiB of input, spread over the devices; the output aliases."""
    mesh = create_mesh({"data": parts}, jax.devices()[:parts])
    place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    state = jax.ShapeDtypeStruct((1024, 1024), jnp.float32, sharding=place)
    row = jax.ShapeDtypeStruct((1024, 256), jnp.float32, sharding=place)
    step = jax.jit(lambda x, y: x + jnp.tile(y, (1, 4)), donate_argnums=0, out_shardings=place)
    found = memory.usage(step.lower(state, row).compile(), waiting=7)
    assert found.held == 5 * 2**20 // parts + 7
    assert 0 <= found.working <= 5 * 2**20 // parts
    assert found.total == found.held + found.working


def test_what_is_not_donated_counts_twice():
    x = jax.ShapeDtypeStruct((1024, 1024), jnp.float32)
    found = memory.usage(jax.jit(lambda x: x + 1).lower(x).compile())
    assert found.held == 4 * 2**20
    assert found.working >= 4 * 2**20


def test_every_policy_of_a_stack_has_a_cost():
    assert memory.REMAT_COST.keys() == REMAT_POLICIES.keys()


@given(SETTINGS)
def test_changes_keep_the_batch_and_the_devices(settings):
    found = memory.changes(settings)
    costs = [change.cost for change in found]
    assert costs == sorted(costs)
    assert len({change.overrides() for change in found}) == len(found)
    for change in found:
        accumulation = change.fields.get(memory.ACCUMULATION, settings.accumulation)
        fsdp = change.fields.get(memory.FSDP, settings.fsdp)
        devices = settings.data * settings.fsdp
        assert (memory.DATA in change.fields) == (fsdp > settings.fsdp and not settings.open_data)
        data = change.fields.get(memory.DATA, devices // fsdp)
        assert data * fsdp == devices
        assert settings.batch_size % (accumulation * devices) == 0
        assert accumulation % settings.accumulation == 0
        assert change.cost >= 1
        assert change.kinds
        assert change.kinds <= {memory.ACCUMULATION, memory.REMAT, memory.FSDP}


def test_changes_can_be_written_on_the_command_line():
    config = config_lib.default_config()
    for change in memory.changes(PLAIN):
        text = change.overrides().split()
        changed = config_lib.load(_recipe(), text)
        for field, value in change.fields.items():
            section, name = field.split(".")
            assert changed[section][name] == value
        config_lib.validate(changed)
        assert len(config_lib.diff(config, changed)) >= len(change.fields)


def _recipe():
    import tiny_runs

    return tiny_runs.RECIPE


def modelled(change, held, working, saved):
    """A world in which what is held is spread and what is worked with is cut, by its policy."""
    return Usage(held // change.fsdp, working * saved[change.remat] / change.accumulation)


@given(
    SETTINGS,
    st.integers(100, 10_000),
    st.integers(100, 10_000),
    st.floats(0.02, 0.99),
    st.permutations([Fraction(9, 10), Fraction(6, 10), Fraction(3, 10)]),
)
def test_the_first_that_fits_is_the_cheapest_there_is(settings, held, working, share, kept):
    saved = {"none": Fraction(1)} | dict(zip(("dots", "dots_no_batch", "full"), kept, strict=True))
    candidates, unchanged = memory.changes(settings), settings.unchanged()
    taken = {c.overrides(): modelled(c, held, working, saved) for c in (unchanged, *candidates)}
    before = taken[unchanged.overrides()]
    limit = int(before.total * share)
    assume(limit > 0)
    compiled = []

    def measure(change):
        compiled.append(change)
        return taken[change.overrides()]

    start = Trial(unchanged, before)
    spread = lambda change: held // change.fsdp  # noqa: E731
    found = list(memory.search(candidates, start, limit, measure, spread, thorough=False))
    assert [trial.change for trial in found] == compiled
    assert len(compiled) <= memory.MOST_COMPILATIONS
    possible = [c for c in candidates if taken[c.overrides()].total <= limit]
    if len(compiled) < memory.MOST_COMPILATIONS:
        assert bool(possible) == any(trial.fits(limit) for trial in found)
    if found and found[-1].fits(limit):
        assert found[-1].change.cost == min(change.cost for change in possible)
        assert not any(trial.fits(limit) for trial in found[:-1])


def test_a_thorough_search_tries_each_kind_alone():
    """All three would do: 4 parts, the fullest policy, or two devices for the state."""
    saved = {"none": 1, "dots": 0.9, "dots_no_batch": 0.8, "full": 0.3}

    def measure(change):
        return modelled(change, 600, 600, saved)

    start = Trial(PLAIN.unchanged(), measure(PLAIN.unchanged()))
    found = list(
        memory.search(
            memory.changes(PLAIN), start, 900, measure, lambda c: 600 // c.fsdp, thorough=True
        )
    )
    fitting = [dict(trial.change.fields) for trial in found if trial.fits(900)]
    assert {memory.ACCUMULATION: 2} in fitting
    assert {memory.REMAT: "full"} in fitting
    assert {memory.FSDP: 2} in fitting


def test_what_cannot_fit_is_not_compiled():
    """Half of what is worked with is 500: only an eighth, or less, can fit beside what is held."""
    tried = []

    def measure(change):
        tried.append(change)
        return Usage(100, 1000 // change.accumulation)

    settings = Settings(64, 1, "full", 1, 1, True, 64)
    start = Trial(settings.unchanged(), Usage(100, 1000))
    candidates = memory.changes(settings)
    list(memory.search(candidates, start, 230, measure, lambda _: 100, thorough=True))
    assert [change.accumulation for change in tried] == [8]


def test_spreading_what_stays_whole_is_not_compiled():
    """As of a model whose arrays are too small to be split: the state is 100 over any devices."""
    tried = []

    def measure(change):
        tried.append(change)
        return Usage(100, 1000 // change.accumulation)

    start = Trial(PLAIN.unchanged(), Usage(100, 1000))
    search = memory.search(memory.changes(PLAIN), start, 700, measure, lambda _: 100, thorough=True)
    assert any(trial.fits(700) for trial in search)
    assert not [change for change in tried if change.fsdp > 1]


def test_a_program_that_does_not_compile_does_not_fit():
    trial = Trial(PLAIN.unchanged(), None)
    assert not trial.fits(2**60)
    answers = iter([None, Usage(1, 1)])
    candidates = memory.changes(PLAIN)
    found = list(
        memory.search(candidates, trial, 10, lambda _: next(answers), lambda _: 0, thorough=False)
    )
    assert [t.fits(10) for t in found] == [False, True]
    assert " -  " in memory.table([trial, *found], 10)


def test_smaller_batches_of_evaluation_divide_over_the_devices():
    settings = Settings(64, 1, "none", 4, 2, True, 96)
    sizes = [change.fields[memory.EVALUATION] for change in memory.evaluation_changes(settings)]
    assert sizes == [48, 32, 24, 16, 8]


def test_the_table_says_what_to_write():
    change = memory.changes(PLAIN)[0]
    text = memory.table(
        [
            Trial(PLAIN.unchanged(), Usage(3 * 2**30, 2**30)),
            Trial(change, Usage(2**30, 2**29)),
        ],
        2 * 2**30,
    )
    head, _, first, second = text.splitlines()
    assert "GiB a device" in head
    assert first.split()[:5] == ["as", "configured", "4", "200%", "does"]
    assert second.split()[:4] == [change.overrides(), "1.5", "75%", "fits"]


def test_costs_say_which_way_is_slower():
    """The order that a person would expect: dots before full; two parts before sixteen."""
    cost = {change.overrides(): change.cost for change in memory.changes(PLAIN)}

    def of(text):
        return cost["--config." + text]

    assert of("model.remat=dots") < of("model.remat=dots_no_batch") < of("model.remat=full")
    assert of("train.accumulation_steps=2") < of("train.accumulation_steps=16")
    assert of("mesh.fsdp=2") < of("mesh.fsdp=4") < of("model.remat=full")
    assert math.isclose(of("model.remat=full"), 4 / 3)
    assert np.isfinite(list(cost.values())).all()
