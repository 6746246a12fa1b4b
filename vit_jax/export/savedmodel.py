# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""SavedModel for TensorFlow and TF Serving: the StableHLO program inside TensorFlow's own graph.

TensorFlow comes with a StableHLO of its own, older than JAX's at times. So the program is written
in the version that the installed TensorFlow reads, and its composite operations, such as erf, as
calls of what they are composed of: TensorFlow 2.21 does not find the shapes inside composites.
"""

import pathlib
from typing import Any

import jax
import numpy as np
from jax import export

from vit_jax.data.tensorflow import import_tensorflow
from vit_jax.errors import UserError
from vit_jax.export.program import Program, Request
from vit_jax.export.stablehlo import check as check  # the same platforms
from vit_jax.export.stablehlo import lower

_COMPOSITES_TO_CALLS = "builtin.module(func.func(stablehlo-legalize-composite-to-call))"


def write(program: Program, request: Request, path: pathlib.Path) -> None:
    """Writes a SavedModel folder whose `serving_default` takes images and gives logits.

    With preprocessing inside there is a second signature, `files`, which takes the bytes of image
    files of any size, and decodes, resizes and crops them as evaluation does.
    """
    tf = import_tensorflow()
    leaves, tree = jax.tree.flatten(program.variables)
    like = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]
    exported = lower(
        lambda leaves, images: program(jax.tree.unflatten(tree, leaves), images),
        program,
        request,
        like,
    )
    module = tf.Module()
    module.variables_list = [tf.Variable(leaf, trainable=False) for leaf in leaves]
    code = for_tensorflow(exported)
    batch = program.batch_size or None
    images = tf.TensorSpec([batch, *program.image_shape], program.image_dtype, name="images")

    def from_images(images):
        (logits,) = call(exported, code, [*module.variables_list, images])
        return {"logits": logits}

    module.from_images = _function(tf, from_images, images)
    signatures = {"serving_default": module.from_images}
    if program.preprocess:
        module.from_files = _from_files(tf, program, from_images)
        signatures["files"] = module.from_files
    tf.saved_model.save(module, str(path), signatures=signatures)


def _from_files(tf: Any, program: Program, from_images: Any) -> Any:
    """Returns a function of the bytes of image files `[B]`."""
    ops = program.run.ops
    if ops.random:
        raise UserError(
            f"the preprocessing {ops.spec!r} draws random numbers, so that what it would answer on "
            "a file is not defined; export without --preprocess"
        )
    image = tf.TensorSpec(program.image_shape, tf.uint8)

    def decode(content):
        return ops.host({"image": content})["image"]

    def from_files(files):
        return from_images(tf.map_fn(decode, files, fn_output_signature=image))

    files = tf.TensorSpec([program.batch_size or None], tf.string, name="files")
    return _function(tf, from_files, files)


def _function(tf: Any, function: Any, spec: Any) -> Any:
    return tf.function(function, autograph=False, input_signature=[spec])


def for_tensorflow(exported: export.Exported) -> bytes:
    """Returns an exported program as a StableHLO artefact that the installed TensorFlow reads."""
    try:
        from jax.extend import mlir
        from jax.extend.mlir import ir, passmanager
        from jax.extend.mlir.dialects import stablehlo
        from tensorflow.compiler.mlir.stablehlo import stablehlo as theirs
    except ImportError as error:
        raise _versions_do_not_fit(str(error)) from error
    context = ir.Context()
    stablehlo.register_dialect(context)
    stablehlo.register_stablehlo_passes()
    module = mlir.deserialize_portable_artifact(exported.mlir_module_serialized, context)
    with context:
        passmanager.PassManager.parse(_COMPOSITES_TO_CALLS).run(module.operation)
    ours = stablehlo.get_current_version()
    version = stablehlo.get_smaller_version(ours, theirs.get_current_version())
    return mlir.serialize_portable_artifact(module, version)


def call(exported: export.Exported, code: bytes, arguments: list[Any]) -> Any:
    """Returns the results of an exported program as tensors of the graph being built."""
    tf = import_tensorflow()
    from tensorflow.compiler.tf2xla.python import xla

    version = exported.calling_convention_version
    if version > xla.call_module_maximum_supported_version():
        raise _versions_do_not_fit(f"calling convention {version} is too new")
    kept = [arguments[i] for i in exported.module_kept_var_idx]
    shapes = [[d if isinstance(d, int) else None for d in out.shape] for out in exported.out_avals]
    return xla.call_module(
        kept,
        version=version,
        module=code,
        Tout=[tf.as_dtype(np.dtype(out.dtype)) for out in exported.out_avals],
        Sout=shapes,
        platforms=[platform.upper() for platform in exported.platforms],
    )


def _versions_do_not_fit(reason: str) -> UserError:
    tf = import_tensorflow()
    return UserError(
        f"TensorFlow {tf.__version__} cannot take programs of JAX {jax.__version__} ({reason}): "
        "install a newer TensorFlow, or use --format=stablehlo"
    )
