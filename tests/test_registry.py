# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Registries: names, aliases and near misses."""

import pytest

from vit_jax.errors import UserError
from vit_jax.registry import Registry, listing, near_misses


@pytest.fixture
def registry():
    registry = Registry("animal")
    registry.register("house_cat", aliases=("cat", "Felis/catus"))(object())
    registry.register("dog")(object())
    return registry


def test_aliases_are_other_names_of_the_same_object(registry):
    assert registry.get("cat") is registry.get("house_cat") is registry.get("Felis/catus")
    assert registry.canonical("cat") == "house_cat"
    assert registry.aliases() == {"cat": "house_cat", "Felis/catus": "house_cat"}
    assert "cat" in registry
    assert "cow" not in registry


def test_register_returns_what_it_files():
    registry = Registry("function")

    @registry.register("f")
    def f():
        return 3

    assert f() == 3
    assert registry.get("f") is f


def test_names_match_by_name_or_alias(registry):
    assert registry.names() == ["dog", "house_cat"]
    assert registry.names("Felis/*") == ["house_cat"]
    assert registry.names("d*") == ["dog"]
    assert registry.names("x*") == []


@pytest.mark.parametrize("name", ["dog", "cat", "house_cat"])
def test_a_name_is_given_once(registry, name):
    with pytest.raises(ValueError, match="is registered twice"):
        registry.register("new", aliases=(name,))(object())
    assert "new" not in registry


def test_unknown_names_list_the_near_misses(registry):
    with pytest.raises(UserError, match=r"unknown animal 'house_cta'; did you mean 'house_cat'\?"):
        registry.get("house_cta")
    with pytest.raises(UserError, match="unknown animal 'zebra'; known: dog, house_cat"):
        registry.get("zebra")


def test_near_misses_are_at_most_three_and_none_for_strangers():
    known = [f"vit_{size}" for size in ("small", "base", "large", "huge", "giant")]
    assert near_misses("qqqqqq", known) == ""
    assert 1 <= near_misses("vit_bas", known).count("'") // 2 <= 3


def test_a_name_cut_short_is_completed():
    known = ["vit_small_patch16_224", "vit_base_patch16_224"]
    assert near_misses("vit_smal", known) == "; did you mean 'vit_small_patch16_224'?"


def test_a_long_listing_says_how_many_it_leaves_out():
    assert listing("cab") == "a, b, c"
    assert listing("cab", most=2) == "a, b and 1 more"
