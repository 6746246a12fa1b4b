# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Labels find the outputs they mean, whatever classes are called and in whatever order."""

import json

import numpy as np
import pytest
from small_models import Pixels, linear_run

from vit_jax.errors import UserError
from vit_jax.evaluation import classification, imagenet, labels
from vit_jax.evaluation.classification import Question

OPS = "decode(channels=1)|resize((6, 7))|normalise(half)"
IDS = imagenet.wordnet_ids()


def measure(monkeypatch, source, class_names, name=""):
    """Returns the evaluation of a random model, and its logits in float64."""
    monkeypatch.setattr(classification, "create_source", lambda *_: source)
    run, kernel, bias = linear_run(class_names, OPS, 42)
    logits = (source.images.reshape(len(source), -1) / 127.5 - 1) @ kernel + bias
    return classification.evaluate([run], Question(labels=name)), logits


def log_softmax(logits):
    return logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)


def test_classes_are_matched_by_name(monkeypatch):
    source = Pixels(40, ("d", "b", "a"))
    found, logits = measure(monkeypatch, source, "abcdef")
    wanted = np.array([3, 1, 0])[source.labels]
    assert found["accuracy"] == pytest.approx((logits.argmax(-1) == wanted).mean())
    loss = -log_softmax(logits)[np.arange(40), wanted].mean()
    assert found["loss"] == pytest.approx(loss, rel=1e-5)


def test_wordnet_ids_mean_the_classes_of_a_model_that_names_them_in_words(monkeypatch):
    rng = np.random.default_rng()
    order = rng.permutation(1000)
    model_names = [imagenet.class_names()[i] for i in order]
    source = Pixels(60, [IDS[i] for i in (7, 300, 999)])
    found, logits = measure(monkeypatch, source, model_names)
    again, _ = measure(monkeypatch, source, model_names, "imagenet_sketch")
    where = {int(index): output for output, index in enumerate(order)}
    wanted = np.array([where[i] for i in (7, 300, 999)])[source.labels]
    assert found["loss"] == pytest.approx(-log_softmax(logits)[np.arange(60), wanted].mean())
    assert again == pytest.approx(found, rel=1e-5)


@pytest.mark.parametrize("letter", ["a", "r"])
@pytest.mark.parametrize("folders", ["subset", "all", "numbers"])
def test_subsets_compare_their_classes_alone(monkeypatch, letter, folders):
    chosen = imagenet.subset(letter)
    numbers = {"subset": chosen[::-1], "all": range(1000), "numbers": range(1000)}[folders]
    names = [str(i) if folders == "numbers" else IDS[i] for i in numbers]
    source = Pixels(300, names)
    found, logits = measure(monkeypatch, source, map(str, range(1000)), f"imagenet_{letter}")
    meant = np.array(list(numbers))[source.labels]
    kept = np.isin(meant, chosen)
    inside, target = logits[kept][:, chosen], np.searchsorted(chosen, meant[kept])
    assert found["examples"] == kept.sum() > 30
    assert found["accuracy"] == pytest.approx((inside.argmax(-1) == target).mean())
    loss = -log_softmax(inside)[np.arange(len(target)), target].mean()
    assert found["loss"] == pytest.approx(loss, rel=1e-5)


def test_real_labels_are_several_or_none(monkeypatch, tmp_path):
    rng = np.random.default_rng()
    numbers = rng.choice(50_000, 80, replace=False)
    real = [[0]] * 50_000
    files = [f"val/n0/ILSVRC2012_val_{number + 1:08d}.JPEG" for number in numbers]
    source = Pixels(80, IDS, file_names=files)
    run, kernel, bias = linear_run(map(str, range(1000)), OPS, 42)
    logits = (source.images.reshape(80, -1) / 127.5 - 1) @ kernel + bias
    order = np.argsort(-logits, axis=-1)
    right = []
    for row, number in enumerate(numbers):  # none; one; several of which the best is or is not one
        ranks = [[], [0], [3, 0, 7], [4, 9], [700]][row % 5]
        real[number] = [int(order[row, rank]) for rank in ranks]
        right += [min(ranks)] if ranks else []
    path = tmp_path / "real.json"
    path.write_text(json.dumps(real))
    monkeypatch.setattr(classification, "create_source", lambda *_: source)
    found = classification.evaluate([run], Question(labels=f"imagenet_real:{path}"))
    assert found["examples"] == len(right) == 64
    assert found["accuracy"] == pytest.approx(np.mean(np.array(right) == 0))
    assert found["top5"] == pytest.approx(np.mean(np.array(right) < 5))
    assert "loss" not in found
    assert "mean_class_accuracy" not in found


@pytest.mark.parametrize(
    ("name", "data", "model", "message"),
    [
        ("", "abx", "abc", r"classes a, b, x, the model a, b, c; they must be the same"),
        ("", "01", IDS, "must be the same"),  # numbers may mean anything
        ("imagenet-a", IDS, IDS, "unknown name 'imagenet-a'; did you mean 'imagenet_a'"),
        ("imagenet_a", IDS, "abc", "needs a model of the 1,000 ImageNet classes; this one has 3"),
        ("imagenet_r", "abc", IDS, r"the data has the classes a, b, c, which should be WordNet"),
        ("imagenet_a:x.json", IDS, IDS, "takes no file"),
        ("imagenet_real", IDS, IDS, "get real.json from github.com/google-research/reassessed"),
        ("imagenet_real:/nowhere.json", IDS, IDS, "cannot be read"),
    ],
)
def test_refusals(name, data, model, message):
    with pytest.raises(UserError, match=message) as error:
        labels.resolve(name, Pixels(3, data), tuple(model))
    assert "\n" not in str(error.value)


def test_real_labels_of_other_pictures_are_refused(tmp_path):
    path = tmp_path / "real.json"
    path.write_text(json.dumps([[0]] * 50_000))
    with pytest.raises(UserError, match=r"record 0 is no ILSVRC2012_val_\*.JPEG"):
        labels.resolve(f"imagenet_real:{path}", Pixels(3, IDS), IDS)
    path.write_text(json.dumps([[0]] * 3))
    with pytest.raises(UserError, match="is no list of 50000 lists"):
        labels.resolve(f"imagenet_real:{path}", Pixels(3, IDS), IDS)
