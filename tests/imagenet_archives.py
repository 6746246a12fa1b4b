# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Small archives in the layout in which ImageNet is handed out, with damage where it is wanted.

Also a command: python tests/imagenet_archives.py --to=DIR --pictures=1000 --size 375 500
"""

import argparse
import io
import pathlib
import tarfile

import numpy as np
import scipy.io
from PIL import Image

CLASSES = (
    "n01440764", "n01443537", "n01484850", "n01491361", "n01494475",
    "n01496331", "n01498041", "n01514668", "n01514859", "n01518878",
)  # fmt: skip
WINTER, FALL = "winter21_whole.tar.gz", "fall11_whole.tar"
TRAIN, VALIDATION = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
DEVKIT = "ILSVRC2012_devkit_t12.tar.gz"

DAMAGE = {
    "truncated": "a JPEG that ends in its middle",
    "empty": "no bytes at all",
    "text": "a text in a file called .JPEG",
    "png": "a PNG called .JPEG",
    "cmyk": "a JPEG in CMYK",
    "small": "a JPEG of 20 x 30 pixels",
}
LEFT_OUT = ("truncated", "empty", "text")


def picture(seed, size=None):
    """Returns a smooth PIL image in colours of its own."""
    random = np.random.default_rng(seed)
    height, width = size or random.integers(90, 160, 2)
    coarse = random.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((int(width), int(height)), Image.Resampling.BICUBIC)
    noisy = np.asarray(image, int) + random.integers(-12, 13, (int(height), int(width), 3))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def encode(image, kind="JPEG", **options):
    contents = io.BytesIO()
    image.save(contents, kind, **options)
    return contents.getvalue()


def damaged(kind, seed):
    """Returns the bytes of one of `DAMAGE`."""
    make = {
        "truncated": lambda: encode(picture(seed))[:700],
        "empty": lambda: b"",
        "text": lambda: b"this is no picture\n" * 9,
        "png": lambda: encode(picture(seed), "PNG"),
        "cmyk": lambda: encode(picture(seed).convert("CMYK")),
        "small": lambda: encode(picture(seed, (20, 30))),
    }
    return make[kind]()


def class_pictures(wordnet_id, number, seed, size=None):
    """Returns (file name, bytes) of the plain pictures of a class."""
    return [
        (f"{wordnet_id}_{i}.JPEG", encode(picture([seed, i], size), quality=90))
        for i in range(number)
    ]


def tar_of(files, compress=""):
    """Returns a tar of (name, bytes) pairs, in which one name may stand twice."""
    contents = io.BytesIO()
    with tarfile.open(fileobj=contents, mode=f"w:{compress}") as tar:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return contents.getvalue()


def class_tars(pictures, classes=CLASSES, damage=True, size=None):
    """Returns wordnet id -> (name, bytes) pairs, so many pictures in all; each kind of damage once,
    and a name that stands twice."""
    tars = {}
    share = np.diff(np.linspace(0, pictures, len(classes) + 1).astype(int))
    for label, wordnet_id in enumerate(classes):
        tars[wordnet_id] = class_pictures(wordnet_id, int(share[label]), label, size)
    if damage:
        for i, kind in enumerate(DAMAGE):
            wordnet_id, place = classes[i % len(classes)], i // len(classes)
            tars[wordnet_id][place] = (f"{wordnet_id}_{kind}.JPEG", damaged(kind, [99, i]))
        first, _ = tars[classes[-1]][2]
        tars[classes[-1]][-1] = (first, encode(picture([98, 0])))
    return tars


def write_21k(folder, tars, name=FALL):
    """Writes the archive of imagenet21k; compressed and in a folder if it is `WINTER`."""
    below, compress = ("winter21_whole/", "gz") if name == WINTER else ("", "")
    inner = [(f"{below}{wordnet_id}.tar", tar_of(files)) for wordnet_id, files in tars.items()]
    path = pathlib.Path(folder) / name
    path.write_bytes(tar_of(inner, compress))
    return path


def write_1k(folder, tars, validation, labels):
    """Writes the archives of imagenet1k and its development kit, in which classes have numbers of
    their own.

    Args:
        folder: where.
        tars: of the training pictures.
        validation: the bytes of the validation pictures.
        labels: the class of each.
    """
    folder = pathlib.Path(folder)
    inner = [(f"{wordnet_id}.tar", tar_of(files)) for wordnet_id, files in tars.items()]
    (folder / TRAIN).write_bytes(tar_of(inner))
    names = [f"ILSVRC2012_val_{i + 1:08d}.JPEG" for i in range(len(validation))]
    (folder / VALIDATION).write_bytes(tar_of(list(zip(names, validation, strict=True))[::-1]))
    order = sorted({*tars, *labels}, key=lambda wordnet_id: wordnet_id[::-1])
    synsets = np.array(
        [(i + 1, wordnet_id, "in words") for i, wordnet_id in enumerate(order)],
        [("ILSVRC2012_ID", "i4"), ("WNID", "O"), ("words", "O")],
    )
    meta = io.BytesIO()
    scipy.io.savemat(meta, {"synsets": synsets})
    truth = "".join(f"{order.index(label) + 1}\n" for label in labels).encode()
    kit = [("meta.mat", meta.getvalue()), ("ILSVRC2012_validation_ground_truth.txt", truth)]
    kit = [(f"ILSVRC2012_devkit_t12/data/{name}", data) for name, data in kit]
    (folder / DEVKIT).write_bytes(tar_of(kit, "gz"))
    return names


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", required=True)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--archive", default=FALL, choices=(WINTER, FALL, TRAIN))
    parser.add_argument("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"))
    args = parser.parse_args()
    folder = pathlib.Path(args.to)
    folder.mkdir(parents=True, exist_ok=True)
    tars = class_tars(args.pictures, size=args.size)
    if args.archive == TRAIN:
        labels = [CLASSES[i % len(CLASSES)] for i in range(args.pictures // 10)]
        write_1k(folder, tars, [encode(picture([7, i])) for i in range(len(labels))], labels)
    else:
        write_21k(folder, tars, args.archive)


if __name__ == "__main__":
    main()
