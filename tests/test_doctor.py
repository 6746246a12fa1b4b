# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Each known conflict is found, with its remedy, and a sound machine is left in peace."""

import dataclasses

import pytest

from vit_jax import doctor

SOUND = doctor.Facts(
    python="3.11.7 on Linux",
    packages={"jax": "0.10.2", "jaxlib": "0.10.1", "tensorflow-cpu": "2.21.0"},
    environment={},
    devices=("cpu:0 cpu",),
    platform="cpu",
    device_error="",
    hardware=(),
    tensorflow_accelerators=(),
    free_memory_bytes=2**34,
    free_disk_bytes=2**36,
    data_dirs={"/data": False},
)


def with_packages(**packages):
    named = {name.replace("_", "-"): version for name, version in packages.items()}
    return dataclasses.replace(SOUND, packages=SOUND.packages | named)


def test_a_sound_machine_has_no_conflict():
    assert doctor.conflicts(SOUND) == []
    gpu = dataclasses.replace(SOUND, hardware=("gpu",), platform="gpu", devices=("gpu:0 H100",))
    assert doctor.conflicts(gpu) == []
    chosen = dataclasses.replace(SOUND, hardware=("gpu",), environment={"JAX_PLATFORMS": "cpu"})
    assert doctor.conflicts(chosen) == []


@pytest.mark.parametrize(
    ("facts", "found", "remedy"),
    [
        (with_packages(jaxlib="0.9.0"), "jax 0.10.2 does not go", "pip install -U jax jaxlib"),
        (with_packages(jax_cuda12_plugin="0.9.1"), "jax-cuda12-plugin 0.9.1", "pip install -U"),
        (with_packages(tensorflow="2.21.0"), "overwrite each other", "pip uninstall"),
        (
            dataclasses.replace(SOUND, hardware=("gpu",)),
            "has a GPU but JAX computes on the CPU",
            "pip install 'vit-jax[cuda]'",
        ),
        (
            dataclasses.replace(SOUND, hardware=("tpu",)),
            "has a TPU but JAX computes on the CPU",
            "pip install 'vit-jax[tpu]'",
        ),
        (
            dataclasses.replace(SOUND, tensorflow_accelerators=("/physical_device:GPU:0",)),
            "TensorFlow takes /physical_device:GPU:0",
            "pip install tensorflow-cpu",
        ),
        (
            dataclasses.replace(SOUND, devices=(), platform="", device_error="no CUDA driver"),
            "JAX finds no device",
            "no CUDA driver",
        ),
    ],
)
def test_conflicts_are_named_with_their_remedy(facts, found, remedy):
    (line,) = doctor.conflicts(facts)
    assert found in line
    assert remedy in line


def test_looks_at_this_machine():
    facts = doctor.gather()
    assert facts.platform == "cpu"
    assert len(facts.devices) == 8
    assert facts.tensorflow_accelerators == ()
    assert facts.packages["jax"]
    report = doctor.report(facts)
    assert facts.packages["jax"] in report
    assert "no accelerator" in report
