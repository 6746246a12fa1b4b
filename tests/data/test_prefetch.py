# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Prefetching keeps order, passes errors on in their place and leaves no thread behind."""

import contextlib
import gc
import threading
import time

import pytest

from vit_jax.data.prefetch import prefetch


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    gc.collect()
    assert set(threading.enumerate()) <= before


def square(x):
    return x * x


@pytest.mark.parametrize("depth", [0, 1, 2, 7])
def test_items_come_in_order_and_end(depth):
    assert list(prefetch(iter(range(20)), square, depth)) == [x * x for x in range(20)]
    assert list(prefetch(iter(()), square, depth)) == []
    assert list(prefetch(iter([None, 1]), lambda x: x, depth)) == [None, 1]


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_an_error_comes_after_the_items_before_it(depth):
    def items():
        yield from range(4)
        raise KeyError("lost")

    iterator = prefetch(items(), square, depth)
    assert [next(iterator) for _ in range(4)] == [0, 1, 4, 9]
    with pytest.raises(KeyError, match="lost"):
        next(iterator)


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_an_error_in_the_transfer_comes_in_its_place(depth):
    iterator = prefetch(iter([1, 2, 0, 3]), lambda x: 6 // x, depth)
    assert [next(iterator), next(iterator)] == [6, 3]
    with pytest.raises(ZeroDivisionError):
        next(iterator)
    with pytest.raises(StopIteration):
        next(iterator)


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_it_works_exactly_depth_items_ahead(depth):
    made = []

    def items():
        for i in range(100):
            made.append(i)
            yield i

    with contextlib.closing(prefetch(items(), square, depth)) as iterator:
        for taken in range(1, 4):
            next(iterator)
            deadline = time.monotonic() + 5
            while len(made) < taken + depth and time.monotonic() < deadline:
                time.sleep(0.001)
            time.sleep(0.02)
            assert len(made) == taken + depth


def test_transfer_runs_in_one_other_thread():
    threads = set(prefetch(iter(range(5)), lambda _: threading.current_thread(), 2))
    assert len(threads) == 1
    assert threading.current_thread() not in threads


def test_closing_early_ends_the_thread_and_the_source():
    closed = threading.Event()

    def endless():
        try:
            while True:
                yield 1
        finally:
            closed.set()

    iterator = prefetch(endless(), square, 2)
    assert next(iterator) == 1
    iterator.close()
    assert closed.is_set()


def test_dropping_the_iterator_ends_the_thread():
    def endless():
        while True:
            yield 1

    iterator = prefetch(endless(), square, 2)
    next(iterator)
    del iterator  # the fixture looks for the thread


def test_nothing_starts_before_the_first_item_is_asked_for():
    before = threading.active_count()
    iterator = prefetch(iter(range(3)), square, 2)
    assert threading.active_count() == before
    iterator.close()
