# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Lines are exact means, a resumed record is the record of an uninterrupted run, sinks agree."""

import json
import sys
import time
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax.errors import UserError
from vit_jax.training import goodput, metrics, progress, sinks

WORK = metrics.Work(images=8, flops_per_image=3e9, peak_flops=None)


def test_the_last_lines_are_those_of_the_whole_file(tmp_path):
    """Of every split, whole ones alone: a killed process may have torn the last."""
    lines = [{"step": step, "split": split} for step in (1, 2) for split in ("train", "validation")]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "metrics.jsonl").write_text(text + '{"step": 3, "split": "train", "loss')
    path = tmp_path / "metrics.jsonl"
    assert sinks.read_lines(path) == lines
    assert sinks.last_lines(path) == {"train": lines[2], "validation": lines[3]}
    assert sinks.read_lines(path, "validation") == lines[1::2]


def step_metrics(rng):
    return {
        "loss": jnp.float32(rng.normal()),
        "accuracy": jnp.float32(rng.uniform()),
        "nonfinite_steps": jnp.float32(rng.integers(5)),
    }


def finish_all(meter):
    steps = []
    while (step := meter.finish(0)) is not None:
        steps.append(step)
    return steps


def test_line_is_the_mean_of_its_steps_and_the_last_of_counters():
    rng = np.random.default_rng(7)
    meter = metrics.Meter(WORK, goodput.Clock())
    for _ in range(2):  # the second line must know nothing of the first
        pushed = [step_metrics(rng) for _ in range(5)]
        for step, values in enumerate(pushed):
            meter.push(step, values)
        assert finish_all(meter) == [0, 1, 2, 3, 4]
        line = meter.line()
        for name in ("loss", "accuracy"):
            expected = np.mean([np.float64(m[name]) for m in pushed])
            assert line[name] == pytest.approx(expected, rel=1e-14)
        assert line["nonfinite_steps"] == float(pushed[-1]["nonfinite_steps"])


def test_newest_steps_stay_in_flight():
    meter = metrics.Meter(WORK, goodput.Clock())
    finished = []
    for step in range(10):
        meter.push(step, {"loss": jnp.float32(step)})
        finished.append(meter.finish())
    depth = metrics.STEPS_IN_FLIGHT
    assert finished == [None] * depth + list(range(10 - depth))


@pytest.mark.parametrize("cut", [0, 1, 3, 6])
def test_partial_sums_restore_to_the_same_bits(cut):
    rng = np.random.default_rng(cut)
    pushed = [step_metrics(rng) for _ in range(7)]

    def deterministic(meter):
        return {k: v for k, v in meter.line().items() if k not in metrics.MEASUREMENTS}

    def feed(meter, values):
        for step, value in enumerate(values):
            meter.push(step, value)
        finish_all(meter)
        return meter

    whole = deterministic(feed(metrics.Meter(WORK, goodput.Clock()), pushed))
    stored = json.loads(
        json.dumps(feed(metrics.Meter(WORK, goodput.Clock()), pushed[:cut]).partial())
    )
    resumed = metrics.Meter(WORK, goodput.Clock())
    resumed.restore(stored)
    assert deterministic(feed(resumed, pushed[cut:])) == whole


def test_measurements_leave_pauses_out_and_count_waits():
    moments = [0.0]
    clock = goodput.Clock(lambda: moments[0])

    def take(seconds):
        moments[0] += seconds

    work = metrics.Work(images=100, flops_per_image=1e6, peak_flops=1e9)
    meter = metrics.Meter(work, clock)
    with clock.during("step"):
        for _ in range(2):  # the second line must know nothing of the first
            with clock.during("data_wait"):
                take(1)
            take(1)
            with clock.during("evaluation"):
                take(5)
            meter.push(1, {"loss": jnp.float32(1)})
            finish_all(meter)
            line = meter.line()
            assert line["step_seconds"] == 2
            assert line["images_per_second"] == 50
            assert line["mfu"] == pytest.approx(50 * 1e6 / 1e9)
            assert line["data_wait_percent"] == 50
            assert "flops_per_second" not in line
        take(4)
        meter.push(2, {"loss": jnp.float32(1)})
        finish_all(meter)
        take(3)  # after the end of the step: the next line's
        assert meter.line()["step_seconds"] == 4
        take(2)
        meter.push(3, {"loss": jnp.float32(1)})
        finish_all(meter)
        assert meter.line()["step_seconds"] == 5


def test_flops_are_given_where_the_peak_is_unknown():
    meter = metrics.Meter(WORK, goodput.Clock())
    meter.push(1, {"loss": jnp.float32(1)})
    finish_all(meter)
    line = meter.line()
    assert line["flops_per_second"] == pytest.approx(line["images_per_second"] * 3e9)
    assert "mfu" not in line
    assert "no MFU" in WORK.formula()


def test_peak_memory_is_that_of_the_fullest_device(monkeypatch):
    assert metrics.peak_memory_bytes() is None  # the CPU does not tell
    fake = [
        types.SimpleNamespace(memory_stats=lambda b=b: {"peak_bytes_in_use": b}) for b in (3, 9)
    ]
    monkeypatch.setattr(jax, "local_devices", lambda: fake)
    assert metrics.peak_memory_bytes() == 9


def write_run(workdir, first, last, start_step):
    writer = metrics.MetricWriter(workdir, start_step=start_step)
    for step in range(first, last + 1):
        writer.write(step, "train", {"loss": 1 / step})
        if step % 3 == 0:
            writer.write(step, "validation", {"accuracy": step / 10})
    writer.flush()
    return writer


@pytest.mark.parametrize(
    ("died_at", "restored"), [(died, to) for died in range(1, 10) for to in (0, 3, 6) if to <= died]
)
def test_resumed_record_equals_uninterrupted(tmp_path, died_at, restored):
    write_run(tmp_path / "whole", 1, 9, 0).close()
    write_run(tmp_path / "cut", 1, died_at, 0).close()
    with (tmp_path / "cut" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "spl')  # the torn line of a killed process
    write_run(tmp_path / "cut", restored + 1, 9, restored).close()
    whole, cut = (tmp_path / name / "metrics.jsonl" for name in ("whole", "cut"))
    assert cut.read_text() == whole.read_text()


def test_a_line_written_before_the_restart_is_not_written_again(tmp_path):
    write_run(tmp_path, 1, 9, 0).close()
    before = (tmp_path / "metrics.jsonl").read_text()
    writer = metrics.MetricWriter(tmp_path, start_step=9)
    writer.write(9, "validation", {"accuracy": 0.9})
    writer.close()
    assert (tmp_path / "metrics.jsonl").read_text() == before


def test_only_the_active_process_writes(tmp_path):
    writer = metrics.MetricWriter(tmp_path / "run", active=False)
    writer.write(1, "train", {"loss": 1.0})
    writer.close()
    assert not (tmp_path / "run").exists()


def test_numbers_that_are_not_finite_stay_valid_json(tmp_path):
    writer = metrics.MetricWriter(tmp_path)
    writer.write(1, "train", {"loss": float("nan"), "grad_norm": float("inf"), "accuracy": 0.5})
    writer.close()

    def refuse(name):
        raise AssertionError(name)

    line = json.loads((tmp_path / "metrics.jsonl").read_text(), parse_constant=refuse)
    assert line["loss"] is None
    assert line["grad_norm"] is None
    assert line["accuracy"] == 0.5


def test_tensorboard_holds_the_numbers_and_forgets_beyond_a_restart(tmp_path):
    writer = metrics.MetricWriter(tmp_path, [sinks.TensorBoard(tmp_path)])
    for step in range(1, 6):
        writer.write(step, "train", {"loss": float(step), "note": "text"})
    writer.close()
    time.sleep(1.1)  # event files are named, and so read, by the second
    writer = metrics.MetricWriter(tmp_path, [sinks.TensorBoard(tmp_path)], start_step=3)
    writer.write(4, "train", {"loss": 40.0})
    writer.close()
    assert read_events(tmp_path / "tensorboard") == {
        ("train/loss", step): value for step, value in ((1, 1.0), (2, 2.0), (3, 3.0), (4, 40.0))
    }


def read_events(folder):
    """Reads event files as TensorBoard does: a start record purges its step and later ones."""
    from vit_jax.data.tensorflow import import_tensorflow

    tf = import_tensorflow()
    found = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            if event.session_log.status == tf.compat.v1.SessionLog.START:
                found = {key: value for key, value in found.items() if key[1] < event.step}
            for value in event.summary.value:
                found[value.tag, event.step] = value.simple_value
    return found


def test_wandb_continues_one_run(tmp_path, monkeypatch):
    calls = []

    class Run:
        def define_metric(self, name, step_metric):
            calls.append(("axis", name, step_metric))

        def log(self, values):
            calls.append(("log", values))

        def finish(self):
            calls.append(("finish",))

    def init(**kwargs):
        calls.append(("init", kwargs["id"], kwargs["resume"], kwargs["config"]))
        return Run()

    ids = iter(["first", "second"])
    util = types.SimpleNamespace(generate_id=lambda: next(ids))
    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init, util=util))
    for start in (0, 1):
        sink = sinks.WeightsAndBiases(tmp_path, {"seed": 3})
        writer = metrics.MetricWriter(tmp_path, [sink], start_step=start)
        writer.write(start + 1, "train", {"loss": 0.5})
        writer.close()
    inits = [call for call in calls if call[0] == "init"]
    assert inits == [("init", "first", "allow", {"seed": 3})] * 2
    logs = [call[1] for call in calls if call[0] == "log"]
    assert logs == [{"step": 1, "train/loss": 0.5}, {"step": 2, "train/loss": 0.5}]


def test_wandb_missing_names_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r"pip install 'vit-jax\[wandb\]'"):
        sinks.WeightsAndBiases(tmp_path, {})


def test_progress_prints_plain_lines_and_silence(capsys):
    for active in (True, False):
        shown = progress.Progress(active)
        shown.start(0, 10)
        shown.advance()
        line = {"mfu": 0.4321, "images_per_second": 1234.5, "loss": 0.123456, "new": 2 / 3}
        shown.line(3, "train", line)
        shown.close()
    out = capsys.readouterr()
    assert (
        out.out == "step      3 | train | loss 0.1235 | images/s 1,234 | MFU 43.2% | new 0.6667\n"
    )
    assert out.err == ""


def test_progress_shows_a_bar_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    shown = progress.Progress()
    shown.start(4, 10)
    shown.advance()
    shown.say("a line")
    shown.close()
    out = capsys.readouterr()
    assert "5/10" in out.err
    assert "a line\n" in out.out
