# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The data set as TFDS knows it: its builder, its metadata, and its own way of writing by Beam."""

import importlib
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from etils import epath

from vit_jax.data.preparation.imagenet import DataSet
from vit_jax.data.preparation.pictures import Treatment
from vit_jax.data.preparation.plan import Plan
from vit_jax.data.preparation.shards import Receipt, examples, features, receipt_path
from vit_jax.data.tensorflow import import_tensorflow, quiet
from vit_jax.errors import UserError

FORMAT = "array_record"


def make_builder(
    data_set: DataSet, plan: Plan, treatment: Treatment, data_dir: str | os.PathLike
) -> Any:
    """Returns a TFDS builder of a data set, whose examples are those of the plan.

    Its class is not registered: whoever reads the data needs none but the files.
    """
    import_tensorflow()
    import tensorflow_datasets as tfds

    with tfds.core.registered.skip_registration():

        class Pictures(tfds.core.GeneratorBasedBuilder):
            """ImageNet, from the archives it is handed out in."""

            name = data_set.name
            VERSION = tfds.core.Version(data_set.version)
            code_path = epath.Path(__file__)

            def _info(self) -> Any:
                return tfds.core.DatasetInfo(
                    builder=self,
                    description=data_set.description,
                    features=features(plan.class_names),
                    supervised_keys=("image", "label"),
                    homepage="https://image-net.org",
                )

            def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
                return {split: self._generate_examples(split) for split in plan.bounds}

            def _generate_examples(self, split: str) -> Any:
                return beam_examples(plan, split, treatment)

    return Pictures(data_dir=os.fspath(data_dir), file_format=FORMAT)


def beam_examples(plan: Plan, split: str, treatment: Treatment) -> Any:
    """Returns the transform of Beam that makes the (key, example) of a split.

    The workers need to see the archives and the folder of the plan, into which they write what
    they left out.
    """
    beam = _beam()

    def shard(number: int) -> Iterator[tuple[str, dict[str, Any]]]:
        receipt = Receipt()
        yield from examples(plan, split, number, treatment, receipt)
        receipt.write(receipt_path(plan.folder, split, number))

    num_shards = len(plan.bounds[split]) - 1
    return beam.Create(range(num_shards)) | beam.FlatMap(shard)


def _beam() -> Any:
    try:
        return importlib.import_module("apache_beam")
    except ImportError:
        raise UserError(
            "--beam-options needs Apache Beam: pip install 'vit-jax[beam]'; "
            "without --beam-options this machine's processes do the work"
        ) from None


def write_by_beam(
    data_set: DataSet, plan: Plan, treatment: Treatment, options: str, folder: pathlib.Path
) -> dict[str, list[pathlib.Path]]:
    """Writes all shards by a runner of Beam.

    Args:
        data_set, plan, treatment: what to write.
        options: of Beam, "runner=DirectRunner,direct_num_workers=4".
        folder: where TFDS may work.

    Returns:
        split -> its shards, in order.
    """
    _beam()
    import tensorflow_datasets as tfds
    from apache_beam.options.pipeline_options import PipelineOptions

    flags = [f"--{option}" for option in options.split(",")]
    config = tfds.download.DownloadConfig(beam_options=PipelineOptions(flags))
    builder = make_builder(data_set, plan, treatment, folder)
    with quiet():
        builder.download_and_prepare(download_config=config)
    return {
        split: [pathlib.Path(path) for path in info.filepaths]
        for split, info in builder.info.splits.items()
    }


class Split(Protocol):
    """The shards of a split as TFDS describes them."""

    lengths: list[int]
    example_bytes: int


def write_metadata(builder: Any, splits: Mapping[str, Split], folder: pathlib.Path) -> None:
    """Writes the files that make a folder of shards a data set of TFDS.

    Args:
        builder: of the data set.
        splits: split -> its shards, by the names of `file_name`.
        folder: where the shards are.
    """
    import tensorflow_datasets as tfds

    template = tfds.core.ShardedFileTemplate
    builder.info.set_splits(
        tfds.core.splits.SplitDict(
            [
                tfds.core.SplitInfo(
                    name=name,
                    shard_lengths=split.lengths,
                    num_bytes=split.example_bytes,
                    filename_template=template(
                        dataset_name=builder.name,
                        data_dir=builder.data_path,
                        split=name,
                        filetype_suffix=FORMAT,
                    ),
                )
                for name, split in splits.items()
            ]
        )
    )
    builder.info.write_to_directory(folder)


def file_name(data_set: DataSet, split: str, number: int, total: int) -> str:
    """Returns what TFDS calls a shard."""
    return f"{data_set.name}-{split}.{FORMAT}-{number:05d}-of-{total:05d}"
