# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What a machine offers and what is wrong with it: `gather` looks, `conflicts` judges."""

import dataclasses
import glob
import importlib.metadata
import os
import pathlib
import platform
import shutil

PACKAGES = (
    "jax",
    "jaxlib",
    "jax-cuda12-plugin",
    "jax-cuda13-plugin",
    "libtpu",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "tensorflow",
    "tensorflow-cpu",
    "tensorflow-datasets",
    "vit-jax",
)
VARIABLES = ("JAX_PLATFORMS", "XLA_FLAGS", "LIBTPU_INIT_ARGS", "JAX_COMPILATION_CACHE_DIR")


@dataclasses.dataclass(frozen=True)
class Facts:
    """What was found on this machine.

    Attributes:
        python: version of the interpreter, and the platform.
        packages: versions of the installed ones of `PACKAGES`.
        environment: the set ones of `VARIABLES`.
        devices: JAX's devices, as text.
        platform: what JAX computes on: "cpu", "gpu" or "tpu"; "" if it found nothing to compute on.
        device_error: why JAX found no device; "" if it did.
        hardware: accelerators the operating system shows: "gpu", "tpu".
        tensorflow_accelerators: accelerators TensorFlow would use.
        free_memory_bytes: of the host; None where it cannot be told.
        free_disk_bytes: in the current folder.
        data_dirs: folder of prepared data sets -> whether it exists.
    """

    python: str
    packages: dict[str, str]
    environment: dict[str, str]
    devices: tuple[str, ...]
    platform: str
    device_error: str
    hardware: tuple[str, ...]
    tensorflow_accelerators: tuple[str, ...]
    free_memory_bytes: int | None
    free_disk_bytes: int
    data_dirs: dict[str, bool]


def gather() -> Facts:
    """Looks at this machine; imports JAX and TensorFlow."""
    devices, platform_name, error = _devices()
    return Facts(
        python=f"{platform.python_version()} on {platform.platform()}",
        packages=_packages(),
        environment={name: os.environ[name] for name in VARIABLES if name in os.environ},
        devices=devices,
        platform=platform_name,
        device_error=error,
        hardware=_hardware(),
        tensorflow_accelerators=_tensorflow_accelerators(),
        free_memory_bytes=_free_memory_bytes(),
        free_disk_bytes=shutil.disk_usage(".").free,
        data_dirs=_data_dirs(),
    )


def _devices() -> tuple[tuple[str, ...], str, str]:
    import jax

    try:
        devices = jax.devices()
    except RuntimeError as error:
        return (), "", " ".join(str(error).split())
    kinds = [f"{device.platform}:{device.id} {device.device_kind}" for device in devices]
    return tuple(kinds), devices[0].platform, ""


def _packages() -> dict[str, str]:
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _hardware() -> tuple[str, ...]:
    patterns = {"gpu": ("/dev/nvidia[0-9]*",), "tpu": ("/dev/accel[0-9]*", "/dev/vfio/[0-9]*")}
    return tuple(kind for kind, paths in patterns.items() if any(glob.glob(p) for p in paths))


def _tensorflow_accelerators() -> tuple[str, ...]:
    from vit_jax.data.tensorflow import import_tensorflow

    config = import_tensorflow().config
    return tuple(d.name for kind in ("GPU", "TPU") for d in config.get_visible_devices(kind))


def _free_memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def _data_dirs() -> dict[str, bool]:
    default = pathlib.Path.home() / "tensorflow_datasets"
    folder = pathlib.Path(os.environ.get("TFDS_DATA_DIR", default)).expanduser()
    return {str(folder): folder.is_dir()}


def conflicts(facts: Facts) -> list[str]:
    """Returns what is wrong, one line with the remedy each; an empty list if nothing is."""
    checks = (_no_device, _jax_pair, _plugin, _idle_accelerator, _two_tensorflows, _greedy)
    return [line for check in checks if (line := check(facts))]


def _no_device(facts: Facts) -> str:
    return f"JAX finds no device: {facts.device_error}" if facts.device_error else ""


def _jax_pair(facts: Facts) -> str:
    jax, jaxlib = facts.packages.get("jax", ""), facts.packages.get("jaxlib", "")
    if jax.split(".")[:2] == jaxlib.split(".")[:2]:
        return ""
    return f"jax {jax} does not go with jaxlib {jaxlib}; run: pip install -U jax jaxlib"


def _plugin(facts: Facts) -> str:
    jaxlib = facts.packages.get("jaxlib", "")
    for name in ("jax-cuda12-plugin", "jax-cuda13-plugin"):
        version = facts.packages.get(name, jaxlib)
        if version.split(".")[:2] != jaxlib.split(".")[:2]:
            return f"{name} {version} does not go with jaxlib {jaxlib}; run: pip install -U {name}"
    return ""


def _idle_accelerator(facts: Facts) -> str:
    chosen = facts.environment.get("JAX_PLATFORMS", "")
    extras = {"gpu": "cuda", "tpu": "tpu"}
    if facts.platform != "cpu" or chosen or not facts.hardware:
        return ""
    kind = facts.hardware[0]
    return (
        f"this machine has a {kind.upper()} but JAX computes on the CPU; "
        f"run: pip install 'vit-jax[{extras[kind]}]'"
    )


def _two_tensorflows(facts: Facts) -> str:
    if not {"tensorflow", "tensorflow-cpu"} <= facts.packages.keys():
        return ""
    return (
        "tensorflow and tensorflow-cpu overwrite each other's files; run: "
        "pip uninstall -y tensorflow tensorflow-cpu && pip install tensorflow-cpu"
    )


def _greedy(facts: Facts) -> str:
    if not facts.tensorflow_accelerators:
        return ""
    devices = ", ".join(facts.tensorflow_accelerators)
    return (
        f"TensorFlow takes {devices}, which JAX needs; "
        "run: pip uninstall -y tensorflow && pip install tensorflow-cpu"
    )


def report(facts: Facts) -> str:
    """Returns the facts as text, one a line."""
    memory = facts.free_memory_bytes
    lines = [
        ("python", facts.python),
        *facts.packages.items(),
        *facts.environment.items(),
        ("devices", ", ".join(facts.devices) or "none"),
        ("tensorflow takes", ", ".join(facts.tensorflow_accelerators) or "no accelerator"),
        ("free memory", "not known" if memory is None else f"{memory / 2**30:.1f} GiB"),
        ("free disk", f"{facts.free_disk_bytes / 2**30:.1f} GiB in {os.getcwd()}"),
        *(
            ("data sets", path + ("" if exists else " (not there yet)"))
            for path, exists in facts.data_dirs.items()
        ),
    ]
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in lines)
