# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Few-shot regression, nearest neighbours and the linear probe against independent solutions."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from vit_jax.evaluation import features, few_shot, knn, linear_probe
from vit_jax.evaluation.features import Features, linear_accuracy

CLASSES = 5


def draw(count, dim=12, seed=0, noise=2.0):
    """Returns features around a centre a class, on different scales and far from the origin."""
    centres = np.random.default_rng(123).normal(size=(CLASSES, dim))
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    values = centres[labels] + noise * rng.normal(size=(count, dim))
    values = values * np.linspace(0.1, 10, dim) + np.linspace(-50, 50, dim)
    return Features(values.astype(np.float32), labels, CLASSES)


def standardised(train, values):
    exact = train.values.astype(np.float64)
    return (values - exact.mean(0)) / (exact.std(0) + 1e-5)


@pytest.mark.parametrize("count", [7, 60])  # fewer examples than features, and more
@pytest.mark.parametrize("l2", [2.0**-10, 1.0, 2.0**10])
def test_ridge_is_scikit_learns(count, l2):
    train, test = draw(count), draw(40, seed=1)
    kernel, bias = few_shot.Ridge.fit(train).solve(l2)
    reference = Ridge(alpha=l2, solver="svd")
    reference.fit(standardised(train, train.values), np.eye(CLASSES)[train.labels])
    wanted = reference.predict(standardised(train, test.values))
    np.testing.assert_allclose(test.values @ kernel + bias, wanted, rtol=1e-6, atol=1e-8)


def test_ridge_is_the_solution_of_the_normal_equations_in_big_visions_form():
    """Its bias is a feature of 100, regularised by so little that the classes are the same."""
    train, test = draw(80), draw(200, seed=1)
    kernel, bias = few_shot.Ridge.fit(train).solve(2.0**10)
    x, z = (np.pad(standardised(train, f.values), ((0, 0), (0, 1)), constant_values=100.0)
            for f in (train, test))  # fmt: skip
    y = 2 * np.eye(CLASSES)[train.labels] - 1
    scores = z @ np.linalg.solve(x.T @ x + 2.0**10 * np.eye(x.shape[1]), x.T @ y)
    np.testing.assert_allclose(2 * (test.values @ kernel + bias) - 1, scores, atol=2e-3)


def test_shots_are_as_many_of_each_class_as_there_are():
    train = draw(60)
    rare = train.take(np.flatnonzero((train.labels != 3) | (np.cumsum(train.labels == 3) <= 2)))
    for shots, wanted in ((1, 1), (4, 4)):
        chosen = few_shot.choose(rare, shots, seed=0)
        counts = np.bincount(chosen.labels, minlength=CLASSES)
        assert counts.tolist() == [wanted, wanted, wanted, min(wanted, 2), wanted]
        known = {row.tobytes(): label for row, label in zip(rare.values, rare.labels, strict=True)}
        assert [known[row.tobytes()] for row in chosen.values] == chosen.labels.tolist()
        assert len({row.tobytes() for row in chosen.values}) == len(chosen)
    one, same, other = (few_shot.choose(train, 3, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.values, same.values)
    assert not np.array_equal(one.values, other.values)


def test_few_shot_chooses_on_validation_and_averages_over_seeds():
    train, validation, test = draw(200), draw(90, seed=1), draw(120, seed=2)
    rows = few_shot.evaluate(train, validation, test, shots=(2, 10), seeds=(0, 1, 2))
    for row, shots in zip(rows, (2, 10), strict=True):
        found = []
        for seed, chosen in zip((0, 1, 2), row["l2"], strict=True):
            examples = few_shot.choose(train, shots, seed)
            accuracies = {}
            for l2 in few_shot.L2:
                model = Ridge(alpha=l2, solver="svd")
                model.fit(standardised(examples, examples.values), np.eye(CLASSES)[examples.labels])
                guess = [
                    model.predict(standardised(examples, part.values)).argmax(-1) == part.labels
                    for part in (validation, test)
                ]
                accuracies[l2] = [right.mean() for right in guess]
            best = max(accuracies, key=lambda l2: (accuracies[l2][0], l2))
            assert chosen == best
            found.append(accuracies[best][1])
        assert row["accuracy"] == pytest.approx(np.mean(found), abs=1e-6)
        assert row["spread"] == pytest.approx(np.std(found, ddof=1), abs=1e-6)
        assert (row["shots"], row["learnt_from"]) == (shots, shots * CLASSES)
    assert rows[0]["accuracy"] < rows[1]["accuracy"] < 1


def nearest(train, query, k):
    """Returns the classes by votes, most first: one query at a time, in float64."""
    unit = lambda x: x / np.linalg.norm(x)  # noqa: E731
    similarity = [
        unit(row.astype(np.float64)) @ unit(query.astype(np.float64)) for row in train.values
    ]
    votes = np.zeros(train.num_classes)
    for index in np.argsort(-np.array(similarity))[:k]:
        votes[train.labels[index]] += np.exp(similarity[index] / 0.07)
    return np.argsort(-votes, kind="stable")


def test_neighbours_vote_as_spelt_out(monkeypatch):
    rng = np.random.default_rng()
    train, test = (
        Features(rng.normal(size=(n, 6)).astype(np.float32), rng.integers(0, 8, n), 8)
        for n in (150, 37)
    )
    monkeypatch.setattr(knn, "_SIMILARITIES", 150 * 16)  # three batches, the last one padded
    rows = knn.evaluate(train, test, (1, 10, 20, 149, 500))
    assert [row["k"] for row in rows] == [1, 10, 20, 149]
    for row in rows:
        ranked = [nearest(train, query, row["k"]) for query in test.values]
        top1 = np.mean([r[0] == label for r, label in zip(ranked, test.labels, strict=True)])
        assert row["accuracy"] == pytest.approx(top1)
        if row["k"] > 10:  # where five classes have votes
            top5 = [label in r[:5] for r, label in zip(ranked, test.labels, strict=True)]
            assert row["top5"] == pytest.approx(np.mean(top5))


def test_fewer_examples_than_neighbours_all_vote():
    assert [row["k"] for row in knn.evaluate(draw(6), draw(3, seed=1))] == [6]


@pytest.mark.parametrize("chunk", [2**25, 3 * CLASSES * 17])
def test_probe_is_scikit_learns_logistic_regression(chunk, monkeypatch):
    """At every strength, and in chunks of the examples as all at once."""
    monkeypatch.setattr(linear_probe, "_LOGITS", chunk)
    train, test = draw(120, dim=6), draw(50, dim=6, seed=1)
    strengths = (1e-3, 1e-2, 1.0)
    kernels, biases = linear_probe.fit(train, strengths)
    for l2, kernel, bias in zip(strengths, kernels, biases, strict=True):
        reference = LogisticRegression(C=1 / (l2 * len(train)), tol=1e-10, max_iter=10_000)
        reference.fit(standardised(train, train.values), train.labels)
        wanted = reference.predict_log_proba(standardised(train, test.values))
        scores = test.values @ kernel + bias
        found = scores - np.logaddexp.reduce(scores, axis=-1, keepdims=True)
        np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=2e-3)


def test_probe_takes_the_strength_that_is_best_on_validation():
    train, validation, test = (
        draw(60, noise=4),
        draw(90, seed=1, noise=4),
        draw(80, seed=2, noise=4),
    )
    strengths = (1e-4, 1e-1, 1e2)
    row = linear_probe.evaluate(train, validation, test, strengths)
    kernels, biases = linear_probe.fit(train, strengths)
    accuracy = lambda part, i: (  # noqa: E731
        ((part.values @ kernels[i] + biases[i]).argmax(-1) == part.labels).mean()
    )
    best = max(range(3), key=lambda i: (accuracy(validation, i), strengths[i]))
    assert row["l2"] == strengths[best]
    assert row["accuracy"] == pytest.approx(accuracy(test, best))
    assert row["validation_accuracy"] == pytest.approx(accuracy(validation, best))
    assert len({accuracy(validation, i) for i in range(3)}) > 1


def test_linear_accuracy_in_parts(monkeypatch):
    monkeypatch.setattr(features, "_SCORES", 30 * CLASSES)
    data = draw(101)
    rng = np.random.default_rng()
    kernel, bias = rng.normal(size=(12, CLASSES)), rng.normal(size=CLASSES)
    scores = data.values @ kernel + bias
    top1, top5 = linear_accuracy(data.values, data.labels, kernel, bias)
    assert top1 == pytest.approx((scores.argmax(-1) == data.labels).mean())
    assert top5 == 1
