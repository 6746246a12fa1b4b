# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""TensorFlow, imported late and quietly, and never allowed to take an accelerator.

TensorFlow only reads and transforms examples here. Importing it costs seconds, so every module
asks for it inside the functions that need it.
"""

import contextlib
import functools
import io
import logging
import os
from collections.abc import Iterator
from types import ModuleType


@functools.cache
def import_tensorflow() -> ModuleType:
    """Returns the `tensorflow` module with every GPU and TPU hidden from it.

    Hiding is only possible before TensorFlow has initialised its devices; if someone else did so
    earlier in this process, it keeps what it has taken.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Its matrix products are not used here, and TensorFlow would announce them at every start.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    import tensorflow as tf

    for kind in ("GPU", "TPU"):
        try:
            tf.config.set_visible_devices([], kind)
        except RuntimeError:  # the devices are already in use: too late to hide them
            break
    return tf


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps progress bars, remarks and absl's warnings of TensorFlow Datasets from the terminal."""
    absl = logging.getLogger("absl")
    level, nowhere = absl.level, io.StringIO()
    absl.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            yield
    finally:
        absl.setLevel(level)
