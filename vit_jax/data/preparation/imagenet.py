# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""ImageNet as it is handed out: which archives, which classes, which labels."""

import dataclasses
import os
import tarfile
from typing import IO

from etils import epath

from vit_jax.data.preparation import archives
from vit_jax.data.preparation.archives import ArchiveError, ClassTar
from vit_jax.errors import UserError

TRAIN_TAR, VALIDATION_TAR = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
DEVKIT, DEVKIT_FOLDER = "ILSVRC2012_devkit_t12.tar.gz", "ILSVRC2012_devkit_t12/data"
GROUND_TRUTH, META = "ILSVRC2012_validation_ground_truth.txt", "meta.mat"


@dataclasses.dataclass(frozen=True)
class DataSet:
    """A data set that can be prepared.

    Attributes:
        name, version: what TFDS calls it. ImageNet-1k has the name and the features that TFDS gives
            it, so that everything written for those reads it.
        description: in a sentence.
        archives: the files looked for in a folder, the best first.
        labels: the file of TFDS with all classes, in order; "" for those found in the archive.
    """

    name: str
    version: str
    description: str
    archives: tuple[str, ...]
    labels: str = ""


DATA_SETS = {
    "imagenet1k": DataSet(
        "imagenet2012",
        "5.1.0",
        "ImageNet, ILSVRC 2012: 1,000 classes (arXiv 1409.0575).",
        (TRAIN_TAR,),
        "labels.txt",
    ),
    "imagenet21k": DataSet(
        "imagenet21k",
        "1.0.0",
        "ImageNet with all its classes (CVPR 2009, https://image-net.org).",
        ("winter21_whole.tar", "winter21_whole.tar.gz", "fall11_whole.tar"),
    ),
}


@dataclasses.dataclass(frozen=True)
class Archives:
    """What there is to read.

    Attributes:
        train: a tar of class tars, perhaps compressed, or a folder of class tars.
        validation: a tar of pictures; "" for none.
    """

    train: str
    validation: str = ""


def locate(data_set: DataSet, path: str) -> Archives:
    """Returns the archives at a path: the one it names, or those in the folder it names.

    Raises:
        UserError: there are none.
    """
    root = epath.Path(path).expanduser()
    if not root.exists():
        raise UserError(f"--from={path}: there is no such file or folder")
    train, folder = root, root.parent
    if root.is_dir():
        folder = root
        named = [root / name for name in data_set.archives if (root / name).exists()]
        train = named[0] if named else root
        if not named and not any(archives.CLASS_TAR.fullmatch(f.name) for f in root.iterdir()):
            wanted = " or ".join(data_set.archives)
            raise UserError(
                f"--from={path}: the folder holds neither {wanted} nor tars such as n01440764.tar"
            )
    validation = folder / VALIDATION_TAR
    if TRAIN_TAR in data_set.archives and validation.exists():
        return Archives(os.fspath(train), os.fspath(validation))
    return Archives(os.fspath(train))


def class_names(data_set: DataSet, tars: list[ClassTar]) -> tuple[str, ...]:
    """Returns the WordNet ids of the classes, in order.

    Raises:
        ArchiveError: the archive has a class that the data set has not.
    """
    found = tuple(tar.wordnet_id for tar in tars)
    if not data_set.labels:
        return found
    known = tuple(_list_of_tfds(data_set.labels))
    strange = sorted(set(found) - set(known))
    if strange:
        raise ArchiveError(
            f"--from: {strange[0]} and {len(strange) - 1} more are no classes of ImageNet-1k: "
            "for all of ImageNet take `vit-jax prepare imagenet21k`"
        )
    return known


def validation_labels(path: str, names: list[str]) -> dict[str, str]:
    """Returns file name -> WordNet id of the validation pictures.

    By the development kit, packed or unpacked, that lies beside the archive; else, for all 50,000
    pictures, by the list that TFDS carries.

    Args:
        path: of the validation archive.
        names: of the pictures in it.

    Raises:
        ArchiveError: there is no kit, and these are not the 50,000; or the kit is not of them.
    """
    folder = epath.Path(path).parent
    ids = _kit_labels(folder) or _list_of_tfds("validation_labels.txt")
    if len(ids) != len(names):
        raise ArchiveError(
            f"{VALIDATION_TAR} holds {len(names)} pictures and {len(ids)} labels are known: put "
            f"{DEVKIT} of the same pictures beside it, or take the archive away"
        )
    return dict(zip(sorted(names), ids, strict=True))


def _list_of_tfds(name: str) -> list[str]:
    """Returns the lines of a file that TFDS carries for its own builder of ImageNet-1k."""
    import tensorflow_datasets as tfds

    return tfds.core.tfds_path(f"datasets/imagenet2012/{name}").read_text().split()


def _kit_labels(folder: epath.Path) -> list[str]:
    """Returns the WordNet id of each validation picture, by name; none without a kit."""
    for place in (folder / DEVKIT_FOLDER, folder):
        if (place / GROUND_TRUTH).exists():
            if not (place / META).exists():
                raise ArchiveError(f"{place / GROUND_TRUTH} needs {META} of the kit beside it")
            with (place / META).open("rb") as meta:
                return _translate((place / GROUND_TRUTH).read_text(), meta)
    if not (folder / DEVKIT).exists():
        return []
    try:
        with (folder / DEVKIT).open("rb") as file, tarfile.open(fileobj=file, mode="r:gz") as kit:
            parts = {name.rpartition("/")[2]: name for name in kit.getnames()}
            truth, meta = (kit.extractfile(parts[name]) for name in (GROUND_TRUTH, META))
            assert truth is not None
            assert meta is not None
            return _translate(truth.read().decode(), meta)
    except (tarfile.TarError, EOFError, KeyError) as error:
        raise ArchiveError(f"{folder / DEVKIT} is damaged ({error}): download it again") from None


def _translate(truth: str, meta: IO[bytes]) -> list[str]:
    """The kit numbers its classes in an order of its own, which `meta.mat` tells."""
    import scipy.io

    synsets = scipy.io.loadmat(meta, squeeze_me=True)["synsets"]
    wordnet_ids = {int(synset["ILSVRC2012_ID"]): str(synset["WNID"]) for synset in synsets}
    return [wordnet_ids[int(number)] for number in truth.split()]
