# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Which settings a search judges, and which it keeps."""

import dataclasses

import pytest
import small_plan

from vit_jax.errors import UserError
from vit_jax.planning import report, search, topology
from vit_jax.planning.estimate import Floor, Memory, Work
from vit_jax.planning.plan import Plan
from vit_jax.planning.study import Study

GIB = 2**30
MACHINE = topology.parse("v5e:2x4")


def made(gib, ms, batch_size=64, compiled=False, **fields):
    """Returns a plan that takes so much memory and time."""
    return Plan(
        machine=MACHINE,
        config=small_plan.config(train__batch_size=batch_size, **fields),
        sizes={"data": 2, "fsdp": 4, "sequence": 1, "tensor": 1},
        compiled=compiled,
        memory=Memory(GIB // 4, GIB // 4, 0, round((gib - 0.5) * GIB), 0),
        limit=15 * GIB,
        work=Work(1e12, 1e9, (), ms / 1e3),
        floor=Floor(0.005, 0.004, 0.001),
        flops_per_image=1e10,
        total_steps=1000,
    )


def test_candidates_fill_the_machine_and_keep_what_is_learnt():
    config = small_plan.config(train__batch_size=48)
    found = list(search.candidates(config, 8))
    seen = {
        (c.mesh.data, c.mesh.fsdp, c.mesh.tensor, c.train.accumulation_steps, c.model.remat)
        for c in found
    }
    assert len(seen) == len(found) > 50
    for candidate in found:
        mesh = candidate.mesh
        assert mesh.data * mesh.fsdp * mesh.tensor == 8
        assert candidate.train.batch_size == 48
        assert 48 % (mesh.data * mesh.fsdp * candidate.train.accumulation_steps) == 0
    assert {c.train.accumulation_steps for c in found if c.mesh.tensor == 1} == {1, 2, 6}
    both = search.candidates(config, 8, batches=(64, 128))
    assert {c.train.batch_size for c in both} == {64, 128}
    assert all(
        c.mesh.data * c.mesh.fsdp * c.mesh.tensor == 4
        for c in search.candidates(small_plan.config(mesh__sequence=2), 8)
    )


def test_judges_what_the_model_takes():
    study = Study(small_plan.facts(), MACHINE, print)
    fine, odd = small_plan.config(), small_plan.config(train__batch_size=31)
    assert len(search.judge(study, [odd, fine])) == 1
    with pytest.raises(UserError, match="batch_size=31 cannot be split"):
        search.judge(study, [odd])
    with pytest.raises(UserError, match="does not divide over the chips in any way"):
        search.judge(study, [])


def test_the_frontier_has_what_nothing_beats():
    plans = [made(4, 10), made(3, 10), made(2, 15), made(2.5, 16), made(1, 19), made(0.6, 30)]
    # Twice the images in twice the time is no slower.
    plans.append(made(1.5, 34, batch_size=128))
    kept = search.frontier(plans)
    assert [(p.memory.total / GIB, round(p.seconds * 1e3)) for p in kept] == [
        (3, 10),
        (2, 15),
        (1.5, 34),
        (1, 19),
    ]


def test_a_traced_plan_that_computes_again_is_expected_to_be_slower():
    plain, again = made(4, 10), made(3, 10, model__remat="dots")
    assert search.frontier([again, plain]) == [plain, again]
    compiled = [dataclasses.replace(plan, compiled=True) for plan in (plain, again)]
    assert search.frontier(compiled) == compiled[1:]


def test_compiles_the_frontier_alone():
    compiled = []

    class Recorder:
        def compiled(self, config):
            compiled.append((config.model.remat, config.model.scan))
            return made(1, 10)

    plans = [
        made(4, 10, model__remat="none"),
        made(2, 12, model__remat="full"),
        made(5, 20, model__remat="dots"),
        made(40, 1, model__remat="dots_no_batch"),  # hopeless
    ]
    assert len(search.compile_best(Recorder(), plans, 3)) == 3
    assert compiled == [("none", False), ("none", True), ("full", False)]


def test_table_and_verdict():
    fast, slow = made(3, 10, compiled=True, model__scan=True), made(2, 15)
    large = dataclasses.replace(made(20, 5), work=Work(1.0, 0.0, ()), compiled=True)
    lines = report.search_table([large, slow, fast], [fast, slow]).splitlines()
    columns = [line.split() for line in lines[2:]]
    assert columns[0][0] == columns[1][0] == "*"
    assert columns[0][1:3] == ["data=2", "fsdp=4"]
    assert columns[0][-4:] == ["10.0", "6,400", "4.1%", "compiler"]
    assert columns[2][-4:] == ["-", "-", "-", "compiler"]
    assert "20.00 (too much)" in lines[4]
    assert "--config.mesh.fsdp=4" in report.verdict([fast, slow])
    assert "--config.model.scan=true" in report.verdict([fast, slow])
    assert report.verdict([]) == "nothing of this fits; take more chips, or a smaller model"
