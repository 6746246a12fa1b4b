# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What a condition is worth in data: known factors are found, bounds are called bounds."""

import json
import math

import numpy as np
import pytest

from vit_jax import cli
from vit_jax.errors import UserError
from vit_jax.scaling import multiplier, published, table
from vit_jax.scaling.multiplier import Factor, Question

AUGMENTED = Question("augmentation=on", "augmentation=off")
SIZES = (1000, 2000, 5000, 10000, 20000)


def rows(seeds=(0,)):
    """Accuracy linear in log(data); augmentation is worth a known factor of data."""
    for family, factor in {"ViT": 4.0, "ResNet": 2.0}.items():
        for seed in seeds:
            for label, times in (("off", 1.0), ("on", factor + 0.5 * seed)):
                for size in SIZES:
                    yield {
                        "family": family, "model": f"{family}-small", "augmentation": label,
                        "data": f"{size / 200:g}%", "examples": size, "seed": seed,
                        "accuracy": 0.1 * math.log10(size * times),
                    }  # fmt: skip


def factors(found, family):
    return {m.amount: m.factor for m in found if m.common == {"family": family}}


def test_known_factors_are_found_and_ends_are_bounds():
    found = multiplier.ask(table.from_rows(list(rows())), AUGMENTED)
    vit = factors(found, "ViT")
    assert [vit[size].value for size in SIZES[:3]] == pytest.approx([4, 4, 4])
    assert (vit[10000], vit[20000]) == (Factor(2.0, ">"), Factor(1.0, ">"))
    resnet = factors(found, "ResNet")
    assert [resnet[size].value for size in SIZES[:4]] == pytest.approx([2, 2, 2, 2])
    assert len(found) == 2 * len(SIZES)


def test_asked_the_other_way_round_it_is_the_inverse():
    question = Question("augmentation=off", "augmentation=on")
    vit = factors(multiplier.ask(table.from_rows(list(rows())), question), "ViT")
    assert [vit[size].value for size in SIZES[2:]] == pytest.approx([0.25, 0.25, 0.25])
    assert vit[1000] == Factor(1.0, "<")
    assert str(vit[2000]) == "<0.5x"


def test_falling_quantities_count_the_less_the_better():
    falling = [row | {"error": 1 - row["accuracy"]} for row in rows()]
    question = Question("augmentation=on", "augmentation=off", value="error")
    assert multiplier.ask(table.from_rows(falling), question)[0].factor.value == pytest.approx(4)


def test_of_several_amounts_the_least_counts():
    curve = {"off": (0.2, 0.4, 0.3, 0.4, 0.5), "on": (0.3, 0.4, 0.4, 0.45, 0.5)}
    several = [
        {"augmentation": label, "examples": size, "accuracy": accuracy, "seed": 0}
        for label, values in curve.items()
        for size, accuracy in zip(SIZES, values, strict=True)
    ]
    found = multiplier.ask(table.from_rows(several), AUGMENTED)
    at = [m.factor.value for m in found]
    assert at == pytest.approx([2**0.5, 1, 0.4, 2**0.5, 1])
    assert found[0].common == {}


def test_seeds_are_averaged_and_shown_alone():
    found = multiplier.ask(table.from_rows(list(rows(seeds=(0, 1)))), AUGMENTED)
    at = next(m for m in found if m.common == {"family": "ViT"} and m.amount == 1000)
    assert [factor.value for factor in at.seeds] == pytest.approx([4, 4.5])
    assert at.factor.value == pytest.approx((4 * 4.5) ** 0.5)
    assert at.reached == pytest.approx(0.1 * (3 + np.log10([4, 4.5]).mean()))


@pytest.mark.parametrize("amount", ["flops", "seconds"])
def test_of_compute_the_durations_are_the_curve(amount):
    """Accuracy linear in log(steps), which the wide model turns into FLOPs at twice the price."""
    trained = [
        {
            "width": label, "duration": f"{steps} steps", "steps": steps, "seed": seed,
            "flops": price * steps, "seconds": price * steps * (1 + 0.01 * seed), "examples": 1000,
            "accuracy": 0.1 * math.log10(gain * steps),
        }
        for label, price, gain in (("16", 1, 1), ("64", 2, 6))
        for steps in (100, 300, 900, 2700)
        for seed in (0, 1)
    ]  # fmt: skip
    found = multiplier.ask(
        table.from_rows(trained), Question("width=64", "width=16", amount=amount)
    )
    assert [each.common for each in found] == [{}] * 4
    assert [each.factor.value for each in found[:2]] == pytest.approx([3, 3], rel=1e-3)
    assert [len(each.seeds) for each in found] == [2] * 4
    assert [each.factor.bound for each in found] == ["", "", ">", ">"]


def test_published_prices_are_not_conditions():
    (found, *_) = multiplier.ask(
        published.read("vit_compute"),
        Question("model=ViT-L/16", "model=ViT-B/16", amount="flops"),
    )
    assert found.common == {}


def test_runs_that_have_not_finished_do_not_count():
    unfinished = [row | {"accuracy": None} for row in rows(seeds=(1,))]
    found = multiplier.ask(table.from_rows([*rows(), *unfinished]), AUGMENTED)
    assert found[0].factor.value == pytest.approx(4)
    assert found[0].seeds == ()


def test_a_seed_that_both_lack_leaves_the_means():
    half = [
        row for row in rows(seeds=(1,)) if (row["family"] == "ViT") == (row["augmentation"] == "on")
    ]
    found = multiplier.ask(table.from_rows([*rows(), *half]), AUGMENTED)
    assert len(found) == 10
    assert not any(each.seeds for each in found)


def test_the_command_prints_a_table_and_json(tmp_path, capsys):
    table.write(list(rows(seeds=(0, 1))), tmp_path)
    command = ["scaling", "multiplier", str(tmp_path), f"--of={AUGMENTED.of}"]
    assert cli.main([*command, f"--over={AUGMENTED.over}"]) == 0
    printed = capsys.readouterr().out
    assert "4.2x (4x, 4.5x)" in printed
    assert ">1x (>1x, >1x)" in printed
    assert cli.main([*command, f"--over={AUGMENTED.over}", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["amount"], len(found["multipliers"])) == ("examples", 10)
    assert found["multipliers"][4]["factor"] == {"value": 1.0, "bound": ">"}


@pytest.mark.parametrize(
    ("of", "over", "changes", "message"),
    [
        ("augmentation", "augmentation=off", {}, "write COLUMN=VALUE"),
        ("augmentation=on", "family=ViT", {}, "different columns"),
        ("augmentation=on", "augmentation=on", {}, "another value"),
        ("augmentation=on", "augmentation=of", {}, "nowhere 'of'; did you mean 'off'"),
        ("augmentation=on", "augmentation=off", {"examples": 0}, "positive amounts"),
        ("augmentation=on", "augmentation=off", {"accuracy": None}, "no row has a number"),
    ],
)
def test_what_cannot_be_compared_is_refused(of, over, changes, message):
    found = table.from_rows([row | changes for row in rows()])
    with pytest.raises(UserError, match=message):
        multiplier.ask(found, Question(of, over))


def test_conditions_that_share_nothing_are_refused():
    apart = [row for row in rows() if (row["family"] == "ViT") == (row["augmentation"] == "on")]
    with pytest.raises(UserError, match="no point of augmentation=on shares family"):
        multiplier.ask(table.from_rows(apart), AUGMENTED)


def test_several_points_for_one_place_are_refused():
    wider = [row | {"model": "wide", "accuracy": 0.5} for row in rows()]
    question = Question("family=ResNet", "family=ViT")
    message = "several points with the same examples and augmentation=off; choose some with"
    with pytest.raises(UserError, match=message):
        multiplier.ask(table.from_rows([*rows(), *wider]), question)
