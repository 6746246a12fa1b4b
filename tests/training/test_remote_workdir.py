# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""A workdir in an object store: a run there, cut and continued, is the run it is on disk."""

import json
import pathlib
import sys

import pytest
import tiny_runs as runs
from etils import epath

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import fake_bucket

from vit_jax.errors import UserError
from vit_jax.training import goodput, loop, progress, report, sinks, start, trained, workdir
from vit_jax.training.drawing import Drawing
from vit_jax.weights import sources

WORKDIR = "gs://bucket/runs/tiny"
SHORT = {
    "train__duration": "6 steps",
    "schedule__warmup": "2 steps",
    "evaluation__every": "3 steps",
    "checkpoint__every": "2 steps",
    "checkpoint__keep_last": 2,
    "log__every_steps": 1,
}


@pytest.fixture
def bucket(monkeypatch, tmp_path):
    """An object store behind gs://; whatever takes its names for files fails the test."""
    objects = fake_bucket.Objects()
    backend = fake_bucket.Bucket(objects)
    monkeypatch.setattr(epath.backend, "tf_backend", backend)
    monkeypatch.setattr(epath.backend, "fsspec_backend", backend)
    monkeypatch.setenv("GOOGLE_AUTH_TOKEN_FOR_TESTING", "token")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    with fake_bucket.serve(objects) as url:
        monkeypatch.setenv("TENSORSTORE_GCS_HTTP_URL", url)
        yield objects
    assert not list(here.iterdir()), "something took gs:// for a folder of this machine"


def record(folder):
    lines = sinks.read_lines(epath.Path(folder) / "metrics.jsonl")
    return [{k: v for k, v in line.items() if k not in runs.MEASUREMENTS} for line in lines]


def test_a_run_in_a_bucket_goes_on_and_is_used_there(bucket, monkeypatch):
    config = runs.tiny_config(**SHORT)
    take_step = loop._Run.take_step

    def take_and_stop(self):
        take_step(self)
        self.preemption._received = self.step == 3

    monkeypatch.setattr(loop._Run, "take_step", take_and_stop)
    with pytest.raises(loop.PreemptedError, match="after step 3 of 6"):
        loop.train(config, WORKDIR)
    monkeypatch.setattr(loop._Run, "take_step", take_step)
    assert [line["step"] for line in record(WORKDIR)] == [1, 2, 3]
    assert trained.load(WORKDIR).step == 3
    with pytest.raises(UserError, match=f"{WORKDIR} holds a run with seed=0, not 1"):
        workdir.check(WORKDIR, runs.tiny_config(**SHORT, seed=1))

    results = loop.train(config, WORKDIR)
    lines = record(WORKDIR)
    splits = {1: "t", 2: "t", 3: "tv", 4: "t", 5: "t", 6: "tvt"}
    assert [(x["step"], x["split"][0]) for x in lines] == [
        (n, c) for n in splits for c in splits[n]
    ]
    assert lines[-1]["loss"] == results["test"]["loss"]
    assert [(start.first, start.last) for start in goodput.read(WORKDIR)] == [(0, 3), (3, 6)]
    assert {path.name for path in epath.Path(WORKDIR, "checkpoints").iterdir()} == {
        "00000004",
        "00000006",
    }
    assert start.open_source(WORKDIR).trained.step == 6  # as model.init_from does
    said = report.commands(epath.Path(WORKDIR), {})
    assert f"export {WORKDIR} --format=stablehlo --to=tiny.stablehlo" in said
    drawn = Drawing(runs.tiny_config(log__pictures=True), WORKDIR, progress.Progress(active=False))
    drawn.course()
    names = {name.removeprefix("bucket/runs/tiny/").split("/")[0] for name in bucket.content}
    pictures = {"curves.png", "goodput.png"}
    assert names == pictures | {"config.json", "metrics.jsonl", "goodput.json", "checkpoints"}
    assert not [name for name in bucket.content if name.endswith((".partial", ".draft"))]


def test_other_peoples_weights_are_copied_first(bucket):
    epath.Path("gs://bucket/there/model.safetensors").write_bytes(b"")
    sources.check("gs://bucket/there/model.safetensors", "model.init_from")
    with pytest.raises(UserError, match=r"model.safetensors.*copy .* to a disk first"):
        start.open_source("gs://bucket/there/model.safetensors")
    with pytest.raises(UserError, match=r"init_from='gs://bucket/gone' does not exist"):
        sources.check("gs://bucket/gone", "model.init_from")


def test_lines_reach_the_bucket_now_and_then(bucket, monkeypatch):
    """Each writing is of the whole file: after 30 seconds, when asked to, and at the end."""
    moments = [0.0]
    monkeypatch.setattr(sinks.time, "monotonic", lambda: moments[0])
    lines = sinks.JsonLines(WORKDIR)
    lines.open(0)

    def there():
        text = bucket.content["bucket/runs/tiny/metrics.jsonl"][0].decode()
        return [json.loads(line)["step"] for line in text.splitlines()]

    for step, seconds in ((1, 1), (2, 28), (3, 31), (4, 40)):
        moments[0] = seconds
        lines.write({"step": step, "split": "train"})
        assert there() == ([1, 2, 3] if step >= 3 else [])
    lines.flush()
    assert there() == [1, 2, 3, 4]
    lines.write({"step": 5, "split": "train"})
    lines.close()
    assert there() == [1, 2, 3, 4, 5]
    lines.open(2)
    assert there() == [1, 2]


def test_events_are_written_by_tensorflow():
    """A file system that TensorFlow alone knows stands for the bucket."""
    sink = sinks.TensorBoard("ram://runs/tiny")
    sink.open(0)
    sink.write({"step": 1, "split": "train", "loss": 0.5})
    sink.close()
    from vit_jax.data.tensorflow import import_tensorflow

    tf = import_tensorflow()
    (path,) = tf.io.gfile.glob("ram://runs/tiny/tensorboard/events.*")
    events = [
        tf.compat.v1.Event.FromString(record)
        for record in tf.data.TFRecordDataset(path).as_numpy_iterator()
    ]
    assert [v.simple_value for event in events for v in event.summary.value] == [0.5]
