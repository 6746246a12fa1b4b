# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The contenders for the input pipeline on a small folder, and the arithmetic of its stages."""

import dataclasses
import io
import time
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from vit_jax.benchmark import inputs, report
from vit_jax.benchmark.contenders import pil_input, vit_jax_input
from vit_jax.benchmark.rounds import Timing
from vit_jax.data import ops as ops_lib
from vit_jax.data.sources import create_source
from vit_jax.errors import UserError

OPS = "decode|inception_crop(16)|flip|normalise(imagenet)"


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for i in range(6):
        path = folder / "train" / f"class{i % 2}" / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (40 + i, 50, 3), np.uint8)).save(path)
    return inputs.InputJob(f"folder:{folder}", ops=OPS, batch_size=4)


def namespace(job, **more):
    return SimpleNamespace(**dataclasses.asdict(job), **more)


def test_stages():
    names, texts = zip(*inputs.stages(ops_lib.parse(OPS)), strict=True)
    assert names == ("read", "+ decode", "+ inception_crop", "+ flip", "+ batch")
    assert texts[0] == "read"
    assert ops_lib.parse(texts[3]) == ops_lib.parse(OPS.rpartition("|")[0])
    assert texts[4] == "whole"


@pytest.mark.parametrize("stage", ["read", "decode", "whole"])
@pytest.mark.parametrize("order", ["random", "sequential"])
def test_pipeline_contender_ends_at_rest(job, stage, order):
    contender = vit_jax_input.Contender(
        namespace(dataclasses.replace(job, stage=stage, order=order))
    )
    contender.run(2)
    batch = next(contender._batches)
    assert batch["image"].shape == ((4, 16, 16, 3) if stage == "whole" else (4, 1, 1, 1))
    if order == "sequential":
        np.testing.assert_array_equal(batch["index"], np.arange(8, 12) % 6)
    used = time.process_time()
    vit_jax_input.wait_for_rest()
    time.sleep(0.1)
    assert time.process_time() - used < 0.5


def test_pixel_of_a_stage_is_the_images_own(job):
    record = create_source(job.source, "train")[2]
    decoded = np.asarray(Image.open(io.BytesIO(record["image"])).convert("RGB"), int)
    ops = vit_jax_input.LeadingOps("decode", encoded=True)
    pixel = ops.host({"image": record["image"], "label": 0}, (0, 0))["image"]
    assert pixel.shape == (1, 1, 1)
    assert abs(int(pixel[0, 0, 0]) - decoded[0, 0, 0]) <= 3  # two decoders round differently


def test_pil_contender(job):
    contender = pil_input.Contender(namespace(job, image_size=16))
    contender.run(1)
    image = Image.new("RGB", (40, 30), (255, 0, 51))
    path = io.BytesIO()
    image.save(path, "PNG")
    pixels = pil_input.load(path.getvalue(), 16, np.random.default_rng(0))
    assert pixels.shape == (3, 16, 16)
    desired = (np.array([1.0, 0.0, 0.2]) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(pixels[:, 3, 5], desired, rtol=1e-5)


def test_pil_crops_stay_inside():
    random = np.random.default_rng(0)
    for width, height in [(40, 30), (1000, 2), (3, 500)]:
        for _ in range(50):
            left, top, right, bottom = pil_input.crop_box(random, width, height)
            assert 0 <= left < right <= width
            assert 0 <= top < bottom <= height


def test_records_and_increments(job, monkeypatch):
    costs = {"pil": 0.8, "read": 0.04, "whole": 0.4}

    def measure(launches, rounds, steps, progress):
        timings = []
        for i, launch in enumerate(launches):
            cost = costs.get(launch.name) or costs.get(launch.job["stage"], 0.1 * (i + 1))
            timings.append(Timing(launch.name, steps, [cost] * 2, [cost, 2 * cost], 1.0, {}))
        return timings

    monkeypatch.setattr(inputs, "measure", measure)
    found = inputs.benchmark(job, ["pil"], rounds=2, steps=1)
    random, sequential, pil = found["loaders"]
    assert (random["contender"], sequential["contender"]) == (
        "vit_jax, random",
        "vit_jax, sequential",
    )
    assert random["images_per_second"]["median"] == pytest.approx(10)
    assert random["images_per_cpu_second"] == pytest.approx({"median": 7.5, "min": 5, "max": 10})
    assert pil["speed_up"] == pytest.approx({"median": 2, "min": 2, "max": 2})
    stages = found["ops"]
    totals = [s["cpu_ms_per_image"] for s in stages]
    assert [s["added_ms"] for s in stages] == pytest.approx(np.diff([0, *totals]))
    assert "+ inception_crop" in report.op_table(stages)
    assert "2.00 (2.00 to 2.00) x" in report.input_table(found["loaders"])


def test_processes_that_share_a_batch(job, monkeypatch):
    """Two that load their halves in half the time are twice as fast as one."""
    groups = []

    def measure(launches, rounds, steps):
        groups.append([(launch.job["process"], launch.job["processes"]) for launch in launches])
        share = len(launches)
        return [
            Timing(launch.name, steps, [0.4 / share, 0.5 / share], [0.4 / share] * 2, 1.0, {})
            for launch in launches
        ]

    monkeypatch.setattr(inputs, "measure_at_once", measure)
    one, two, three = inputs.share(job, 3, rounds=2, steps=1)
    assert groups == [[(0, 1)], [(0, 2), (1, 2)], [(0, 3), (1, 3), (2, 3)]]
    assert one["images_per_second"] == pytest.approx({"median": 9, "min": 8, "max": 10})
    assert two["ratio"] == pytest.approx(2)
    assert one["images_per_cpu_second"]["median"] == pytest.approx(10)
    assert two["images_per_cpu_second"]["median"] == pytest.approx(10)
    assert two["each"] == pytest.approx([9, 9])
    assert three["each"] == pytest.approx([13.5, 6.75, 6.75])  # rows 2, 1, 1
    assert "2.00 x" in report.share_table([one, two])
    with pytest.raises(UserError, match="--processes=5 must be from 1 to the rows of a batch, 4"):
        inputs.share(job, 5, rounds=1, steps=1)


def test_the_processes_of_a_group_deliver_the_batch_between_them(job):
    parts = [
        vit_jax_input.Contender(namespace(dataclasses.replace(job, process=i, processes=2)))
        for i in range(2)
    ]
    whole = next(vit_jax_input.Contender(namespace(job))._batches)
    halves = [next(part._batches) for part in parts]
    for key, value in whole.items():
        np.testing.assert_array_equal(np.concatenate([half[key] for half in halves]), value)


@pytest.mark.parametrize(
    ("changes", "against", "message"),
    [
        ({}, ["pill"], "unknown loader 'pill' in --against; did you mean 'pil'"),
        ({"ops": "decode|flip"}, [], "leave images of varying size"),
    ],
)
def test_what_cannot_be_measured_is_refused(job, changes, against, message):
    with pytest.raises(UserError, match=message):
        inputs.benchmark(dataclasses.replace(job, **changes), against, rounds=1, steps=1)


def test_pil_needs_image_files(job, monkeypatch):
    monkeypatch.setattr(inputs, "create_source", lambda *_: SimpleNamespace(encoded=False))
    with pytest.raises(UserError, match="needs image files; 'tfds:arrays' holds arrays"):
        inputs.benchmark(dataclasses.replace(job, source="tfds:arrays"), ["pil"], rounds=1, steps=1)
