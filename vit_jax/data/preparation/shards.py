# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""From rows of the plan to a file of records, and the receipt that says it is whole."""

import dataclasses
import errno
import functools
import hashlib
import io
import json
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

from etils import epath

from vit_jax.data.preparation.pictures import DamagedError, Treatment
from vit_jax.data.preparation.plan import Plan, Reject
from vit_jax.data.tensorflow import import_tensorflow

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CHUNK = 1 << 22


@dataclasses.dataclass
class Receipt:
    """What became of the rows of a shard.

    Attributes:
        counts: class -> pictures kept.
        rejects: the others.
        example_bytes: of the serialised examples, as TFDS counts them.
        file_bytes, sha256: of the file, where one was written.
    """

    counts: dict[int, int] = dataclasses.field(default_factory=dict)
    rejects: list[Reject] = dataclasses.field(default_factory=list)
    example_bytes: int = 0
    file_bytes: int = 0
    sha256: str = ""

    @property
    def num_examples(self) -> int:
        """Returns the number of pictures kept."""
        return sum(self.counts.values())

    def write(self, path: os.PathLike) -> None:
        """Writes the receipt; a cut short one is never there."""
        target = epath.Path(path)
        draft = target.with_name(f"{target.name}.part{os.getpid()}")
        draft.write_text(json.dumps(dataclasses.asdict(self)))
        draft.replace(target)

    @classmethod
    def read(cls, path: os.PathLike) -> "Receipt":
        """Returns a receipt written by `write`."""
        fields = json.loads(epath.Path(path).read_text())
        counts = {int(label): count for label, count in fields.pop("counts").items()}
        rejects = [Reject(**reject) for reject in fields.pop("rejects")]
        return cls(counts, rejects, **fields)


def examples(
    plan: Plan,
    split: str,
    number: int,
    treatment: Treatment,
    receipt: Receipt,
    progress: Callable[[], None] = lambda: None,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (key, example of TFDS) for the pictures of a shard that can be decoded.

    Args:
        plan, split, number: which shard.
        treatment: what is done to a picture.
        receipt: is filled in on the way.
        progress: is called after each picture.
    """
    for row in plan.rows(split, number):
        label, name = int(row["label"]), row["name"].decode()
        try:
            contents = treatment(read(plan.paths[row["path"]], row["offset"], row["size"]))
        except DamagedError as error:
            receipt.rejects.append(Reject(split, name, str(error)))
        else:
            receipt.counts[label] = receipt.counts.get(label, 0) + 1
            yield name, {"image": io.BytesIO(contents), "label": label, "file_name": name}
        progress()


def read(path: str, offset: int, size: int) -> bytes:
    """Returns `size` bytes of a file from `offset` on."""
    with epath.Path(path).open("rb") as file:
        file.seek(int(offset))
        return file.read(int(size))


def features(class_names: tuple[str, ...]) -> Any:
    """Returns the features of an example, those that TFDS gives ImageNet."""
    import_tensorflow()
    import tensorflow_datasets as tfds

    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(names=class_names),
            "file_name": tfds.features.Text(),
        }
    )


@functools.cache
def _serialiser(class_names: tuple[str, ...]) -> tuple[Any, Any]:
    from tensorflow_datasets.core import example_serializer

    connector = features(class_names)
    return connector, example_serializer.ExampleSerializer(connector.get_serialized_info())


def shard_path(folder: str | os.PathLike, split: str, number: int) -> pathlib.Path:
    """Returns where a shard is while its neighbours are not."""
    return pathlib.Path(folder) / f"{split}-{number:05d}.array_record"


def receipt_path(folder: str | os.PathLike, split: str, number: int) -> epath.Path:
    """Returns where the receipt of a shard is."""
    return epath.Path(folder) / f"{split}-{number:05d}.json"


def write_shard(
    plan: Plan,
    split: str,
    number: int,
    treatment: Treatment,
    progress: Callable[[], None] = lambda: None,
) -> None:
    """Writes a shard beside the plan, as TFDS would, and then its receipt.

    A shard without its receipt is none.
    """
    from tensorflow_datasets.core import file_adapters

    adapter = file_adapters.ADAPTER_FOR_FORMAT[file_adapters.FileFormat.ARRAY_RECORD]
    connector, serialiser = _serialiser(plan.class_names)
    receipt = Receipt()

    def serialised() -> Iterator[tuple[str, bytes]]:
        for key, example in examples(plan, split, number, treatment, receipt, progress):
            message = serialiser.get_tf_example(connector.encode_example(example))
            contents = message.SerializeToString(deterministic=True)  # in any process the same
            receipt.example_bytes += len(contents)
            yield key, contents

    target = shard_path(plan.folder, split, number)
    draft = target.with_name(f"{target.name}.part{os.getpid()}")
    try:
        adapter.write_examples(draft, serialised())
    except RuntimeError as error:
        draft.unlink(missing_ok=True)
        raise _as_os_error(error, draft) from None
    with draft.open("rb+") as file:
        os.fsync(file.fileno())
    receipt.file_bytes, receipt.sha256 = draft.stat().st_size, sha256(draft)
    draft.replace(target)
    receipt.write(receipt_path(plan.folder, split, number))


def _as_os_error(error: RuntimeError, path: pathlib.Path) -> Exception:
    """ArrayRecord tells of a full disk in words only."""
    for code in NO_ROOM:
        if os.strerror(code) in str(error):
            return OSError(code, os.strerror(code), os.fspath(path))
    return error


def is_written(plan: Plan, split: str, number: int) -> bool:
    """Returns whether a shard is there, whole."""
    path = receipt_path(plan.folder, split, number)
    target = shard_path(plan.folder, split, number)
    if not (path.exists() and target.exists()):
        return False
    return target.stat().st_size == Receipt.read(path).file_bytes


def sha256(path: str | os.PathLike) -> str:
    """Returns the SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with epath.Path(path).open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
