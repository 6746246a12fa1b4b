# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The contenders for models, on tiny ones, and what is reported of them."""

import dataclasses
import json
import os
from types import SimpleNamespace

import jax
import pytest

from vit_jax.benchmark import model, report
from vit_jax.benchmark.contenders import vit_jax_model
from vit_jax.benchmark.peers import PEERS, ModelJob, Whereabouts, big_vision_twin, launches
from vit_jax.benchmark.rounds import Timing
from vit_jax.cli import main
from vit_jax.errors import UserError

TINY = ModelJob(
    "vit_tiny_patch16_224",
    batch_size=2,
    image_size=32,
    num_classes=10,
    scan=True,
    cache_dir=os.environ["JAX_COMPILATION_CACHE_DIR"],
)


def namespace(job, **more):
    return SimpleNamespace(**dataclasses.asdict(job), **more)


@pytest.mark.parametrize("mode", ["train", "forward"])
def test_own_contender(mode):
    job = dataclasses.replace(TINY, mode=mode)
    contender = vit_jax_model.Contender(namespace(job))
    contender.run(2)
    facts = contender.facts()
    # 4 patches and a class token, width 192: kernels x tokens, and attention's two products.
    block = 12 * 192**2 * 5 + 2 * 5 * 5 * 192
    forward = 2 * 2 * (12 * block + 4 * 768 * 192 + 192 * 10)
    assert facts["flops"] == (3 * forward if mode == "train" else forward)
    assert facts["parameters"] == 12 * (12 * 192**2 + 13 * 192) + 769 * 192 + 8 * 192 + 193 * 10
    assert facts["peak_bytes"] > 4 * facts["parameters"]
    assert (facts["platform"], facts["peak_flops"]) == ("cpu", None)


def test_own_step_trains():
    contender = vit_jax_model.Contender(namespace(TINY))
    program = contender._program
    contender.run(3)
    assert int(program._state.step) == 3
    assert program._state.params["blocks"]["mlp"]["fc1"]["kernel"].dtype == "float32"


BIG_VISION = {
    "__init__.py": "",
    "utils.py": """
import jax, jax.numpy as jnp
def softmax_xent(*, logits, labels):
    return -jnp.mean(jnp.sum(labels * jax.nn.log_softmax(logits), -1))
""",
    "models/__init__.py": "",
    "models/vit.py": """
import flax.linen as nn
class _Model(nn.Module):
    classes: int
    @nn.compact
    def __call__(self, image, *, train=False):
        logits = nn.Dense(self.classes)(image.reshape(len(image), -1))
        return logits, {"logits": logits}
def Model(num_classes, *, variant, pool_type, posemb, head_zeroinit, dtype_mm, scan):
    assert (variant, pool_type, posemb, dtype_mm) == ("Ti/16", "tok", "learn", "float32")
    return _Model(num_classes)
""",
}


@pytest.mark.parametrize("mode", ["train", "forward"])
def test_big_vision_contender_with_a_stand_in(tmp_path, monkeypatch, mode):
    for name, text in BIG_VISION.items():
        path = tmp_path / "big_vision" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    from vit_jax.benchmark.contenders import big_vision_model

    job = dataclasses.replace(TINY, mode=mode)
    contender = big_vision_model.Contender(namespace(job, twin=big_vision_twin(job)))
    before = jax.device_get(contender._program._state[0])
    contender.run(2)
    after = contender._program._state[0]
    kernel = "Dense_0", "kernel"
    changed = (before[kernel[0]][kernel[1]] != after[kernel[0]][kernel[1]]).any()
    assert changed == (mode == "train")
    assert contender.facts()["parameters"] == (32 * 32 * 3 + 1) * 10


@pytest.mark.parametrize("mode", ["train", "forward"])
def test_timm_contender(mode):
    pytest.importorskip("timm")
    from vit_jax.benchmark.contenders import timm_model

    job = dataclasses.replace(TINY, mode=mode, scan=False)
    contender = timm_model.Contender(namespace(job, twin={"compile": False}))
    contender.run(1)
    own = vit_jax_model.Contender(namespace(job))
    assert contender.facts()["parameters"] == own.facts()["parameters"]


def test_twins():
    job = dataclasses.replace(TINY, model="vit_small_patch16_224")
    twin = big_vision_twin(job)
    assert (twin["module"], twin["variant"], twin["options"]["pool_type"]) == ("vit", "S/16", "tok")
    mixer = dataclasses.replace(job, model="mixer_b16_224", scan=False)
    assert big_vision_twin(mixer) == {"module": "mlp_mixer", "variant": "B/16", "options": {}}


@pytest.mark.parametrize(
    ("changes", "peers", "where", "message"),
    [
        ({}, ["timn"], Whereabouts(), "unknown contender 'timn'; did you mean 'timm'?"),
        ({"optimiser": "lion"}, ["timm"], Whereabouts(), "--against=timm needs --optimiser=adamw"),
        ({"optimiser": "sgd"}, ["big_vision"], Whereabouts(), "--against=big_vision needs"),
        ({}, ["big_vision"], Whereabouts(checkout="/no/where"), "--peer-path='/no/where' holds no"),
        (
            {"model": "swin_tiny_patch4_window7_224"},
            ["big_vision"],
            Whereabouts(),
            "--against=big_vision has no twin of 'swin_tiny_patch4_window7_224'",
        ),
    ],
)
def test_peers_that_cannot_run_are_refused(changes, peers, where, message):
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        launches(dataclasses.replace(TINY, **changes), peers, where)


def test_missing_peer_says_how_to_install_it(tmp_path):
    (tmp_path / "timm.py").write_text("import no_such_module")
    launch = PEERS.get("timm")(TINY, Whereabouts())
    launch = dataclasses.replace(launch, paths=(str(tmp_path),))
    from vit_jax.benchmark.process import Worker

    with pytest.raises(UserError, match=r"no_such_module.*pip install 'vit-jax\[torch\]'"):
        Worker(launch)


def timing(name, seconds, cpu_seconds=None, **facts):
    facts = {"device": "cpu", "peak_bytes": 2**30} | facts
    return Timing(name, 1, seconds, cpu_seconds or seconds, 9.0, facts)


def test_record():
    ours = timing("vit_jax", [0.5, 0.25], flops=10**9, peak_flops=4e9, compile_seconds=3.0)
    peer = timing("peer", [1.0, 1.0], [0.5, 0.5])
    own, other = model.record(TINY, ours, ours), model.record(TINY, peer, ours)
    assert own["step_ms"] == {"median": 375.0, "min": 250.0, "max": 500.0}
    assert own["images_per_second"] == pytest.approx(2 / 0.375)
    assert own["gflops_per_second"] == pytest.approx(1 / 0.375)
    assert own["mfu"] == pytest.approx(1 / 0.375 / 4)
    assert (own["speed_up"], own["cpu_speed_up"]) == (None, None)
    assert other["speed_up"] == {"median": 3.0, "min": 2.0, "max": 4.0}
    assert other["cpu_speed_up"] == {"median": 1.5, "min": 1.0, "max": 2.0}
    assert (other["gflops_per_second"], other["mfu"]) == (1.0, 0.25)
    table = report.model_table([own, other])
    assert "375.0 (250.0 to 500.0)" in table
    assert "3.00 (2.00 to 4.00) x" in table
    assert "25.0%" in table
    assert "peak 0 TFLOP/s" in report.describe_job(own)


def test_command(tmp_path, capsys):
    path = tmp_path / "bench.json"
    arguments = ["--image-size=32", "--batch-size=2", "--rounds=2", "--scan", f"--json={path}"]
    assert main(["bench", "ViT-Ti/16", *arguments]) == 0
    document = json.loads(path.read_text())
    assert document.keys() == {"kind", "arguments", "environment", "records"}
    (record,) = document["records"]
    assert record["job"]["model"] == "vit_tiny_patch16_224"
    assert len(record["step_seconds"]) == len(record["step_cpu_seconds"]) == 2
    assert record["first_step_seconds"] > record["compile_seconds"] > 0
    assert record["mfu"] is None
    assert "| vit_tiny_patch16_224 | 32 " in capsys.readouterr().out.replace("  ", " ")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["vit_tiny_patch16_224", "--input=digits"],
        ["vit_tiny_patch16_224", "--rounds=0"],
        ["vit_tiny_patch16_224", "--batch-size=-1"],
        ["vit_tiny_patch16_224", "--startup", "--against=timm"],
        ["vit_tiny_patch16"],
    ],
)
def test_wrong_arguments_are_refused(arguments, capsys):
    assert main(["bench", *arguments]) == 2
    assert capsys.readouterr().err.startswith("vit-jax: error: ")
