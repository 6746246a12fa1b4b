# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""From archives in ImageNet's layout to a data set of TFDS: whole, in order, even after a kill."""

import csv
import hashlib
import io
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import imagenet_archives as made
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from vit_jax import cli
from vit_jax.data.preparation import run, shards, workspace
from vit_jax.data.preparation.imagenet import DATA_SETS
from vit_jax.data.preparation.pictures import DamagedError, Treatment
from vit_jax.data.preparation.verify import verify
from vit_jax.data.sources import create_source
from vit_jax.errors import UserError

PICTURES, CLASSES, VALIDATION = 24, made.CLASSES[:3], 5
AS_IT_IS = Treatment()
WORDS = dict(zip(CLASSES, ("tench", "goldfish"), strict=False))


def prepare(source, data_dir, kind="imagenet21k", treatment=AS_IT_IS, **options):
    """Prepares in this process, into two shards and a validation split."""
    request = workspace.Request(
        DATA_SETS[kind], str(source), pathlib.Path(data_dir), treatment, words=WORDS,
        **{"workers": 1, "num_shards": 2, **options},
    )  # fmt: skip
    return run.prepare(request, lambda line: None)


def read(place):
    """Returns split -> [(file name, label, bytes)], by TFDS alone."""
    builder = tfds.builder_from_directory(place)
    raw = {"image": tfds.decode.SkipDecoding()}
    return {
        split: [
            (e["file_name"].decode(), int(e["label"]), e["image"])
            for e in builder.as_data_source(split, decoders=raw)
        ]
        for split in builder.info.splits
    }


def table(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def sums(place):
    return (place / "SHA256SUMS").read_text()


@pytest.fixture(scope="module")
def tars():
    return made.class_tars(PICTURES, CLASSES)


@pytest.fixture(scope="module")
def archive(tars, tmp_path_factory):
    return made.write_21k(tmp_path_factory.mktemp("archive"), tars)


@pytest.fixture(scope="module")
def place(archive, tmp_path_factory):
    return prepare(archive, tmp_path_factory.mktemp("data"), num_validation=VALIDATION)


# --- what comes out --------------------------------------------------------------------------


def test_every_picture_is_there_once_in_the_order_of_tfds_and_as_it_was(place, tars):
    found = read(place)
    expected = {}
    for label, wordnet_id in enumerate(CLASSES):
        for name, contents in tars[wordnet_id]:
            expected.setdefault(name, (label, contents))  # the first of a name
    for name in [n for n in expected if any(f"_{kind}." in n for kind in made.LEFT_OUT)]:
        del expected[name]
    in_order = sorted(expected, key=lambda name: hashlib.md5(f"train{name}".encode()).digest())
    together = [*found["validation"], *found["train"]]
    aside = sum(r["split"] == "validation" for r in table(place / "corrupt.csv"))
    assert len(found["validation"]) == VALIDATION - aside
    assert [name for name, _, _ in together] == in_order
    for name, label, contents in together:
        assert (label, contents) == expected[name]


def test_what_is_left_out_is_listed_with_the_reason_and_classes_are_counted(place):
    rejects = {r["name"]: r["reason"] for r in table(place / "corrupt.csv")}
    reasons = [
        (r"n01440764_truncated\.JPEG", "Invalid JPEG data"),
        (r"n01443537_empty\.JPEG", "an empty file"),
        (r"n01484850_text\.JPEG", "Unknown image file format"),
        (r"n01484850_2\.JPEG", "the second picture of this name"),
    ]
    assert len(rejects) == len(reasons)
    for pattern, reason in reasons:
        (name,) = [name for name in rejects if re.fullmatch(pattern, name)]
        assert reason in rejects[name]
    counts = table(place / "counts.csv")
    assert [row["wordnet_id"] for row in counts] == list(CLASSES)
    assert [row["words"] for row in counts] == ["tench", "goldfish", ""]
    for split, part in read(place).items():
        labels = np.bincount([label for _, label, _ in part], minlength=len(CLASSES))
        assert [int(row[split]) for row in counts] == labels.tolist()


def test_our_source_reads_it_by_name(place):
    source = create_source("tfds:imagenet21k", "train", str(place.parents[1]))
    assert source.class_names == CLASSES
    expected = read(place)["train"]
    assert len(source) == len(expected)
    for i in (0, len(expected) - 1):
        name, label, contents = expected[i]
        assert (source[i]["image"], source[i]["label"]) == (contents, label)
        assert source.file_name(i) == name


@pytest.mark.parametrize(
    ("name", "data_set"), [("imagenet2012", "imagenet1k"), ("imagenet21k", "imagenet21k")]
)
def test_without_it_our_source_says_how_to_prepare_it(name, data_set, tmp_path):
    command = f"run `vit-jax prepare {data_set} --from=ARCHIVE --to={tmp_path}`"
    with pytest.raises(UserError, match=re.escape(command)):
        create_source(f"tfds:{name}", "train", str(tmp_path))


def test_checksums_are_those_of_the_shards_and_damage_is_found(place, tmp_path, capsys):
    copy = tmp_path / "imagenet21k" / "1.0.0"
    shutil.copytree(place, copy)
    files = sorted(copy.glob("*.array_record*"))
    assert sorted(sums(copy).splitlines()) == sorted(
        f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.name}" for f in files
    )
    assert cli.main(["prepare", f"--verify={tmp_path}"]) == 0
    contents = bytearray(files[0].read_bytes())
    contents[len(contents) // 2] ^= 1
    files[0].write_bytes(contents)
    files[1].unlink()
    assert {c.path: c.problem for c in verify(str(copy)) if c.problem} == {
        str(files[0]): "its bytes have changed",
        str(files[1]): "it is missing",
    }
    assert cli.main(["prepare", f"--verify={tmp_path}"]) == 1
    assert "1 of 3 shards are what they were" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["compressed", "folder"])
def test_other_forms_of_the_archive_come_to_the_same(form, place, tars, tmp_path):
    if form == "compressed":
        source = made.write_21k(tmp_path, tars, made.WINTER).parent
    else:
        source = tmp_path / "tars"
        source.mkdir()
        for wordnet_id, files in tars.items():
            (source / f"{wordnet_id}.tar").write_bytes(made.tar_of(files))
    other = prepare(source, tmp_path / "data", num_validation=VALIDATION)
    assert sums(other) == sums(place)
    assert (other / "corrupt.csv").read_bytes() == (place / "corrupt.csv").read_bytes()
    assert sorted(p.name for p in other.parent.iterdir()) == ["1.0.0"]


def test_imagenet1k_is_what_the_builder_of_tfds_makes_of_the_same_archives(tmp_path):
    tars = made.class_tars(12, CLASSES, damage=False)
    lists = tfds.core.tfds_path("datasets/imagenet2012/validation_labels.txt").read_text().split()
    pictures = [made.encode(made.picture([5, i])) for i in range(7)]
    source = tmp_path / "archives"
    source.mkdir()
    made.write_1k(source, tars, pictures, lists[:7])
    ours = read(prepare(source, tmp_path / "ours", "imagenet1k", num_shards=0))
    theirs = tfds.builder("imagenet2012", data_dir=tmp_path / "theirs", file_format="array_record")
    config = tfds.download.DownloadConfig(manual_dir=source)
    theirs.download_and_prepare(download_config=config)
    assert ours == read(theirs.data_path)
    assert {split: len(part) for split, part in ours.items()} == {"train": 12, "validation": 7}
    source = create_source("tfds:imagenet2012", "validation", str(tmp_path / "ours"))
    assert (len(source), len(source.class_names)) == (7, 1000)


def test_validation_labels_come_from_the_kit_packed_or_not(tmp_path):
    tars = made.class_tars(9, CLASSES, damage=False)
    labels = [CLASSES[i] for i in (2, 0, 1, 1)]
    names = made.write_1k(tmp_path, tars, [made.encode(made.picture(i)) for i in range(4)], labels)
    found = {
        n: i for n, i, _ in read(prepare(tmp_path, tmp_path / "a", "imagenet1k"))["validation"]
    }
    assert {name: CLASSES[found[name]] for name in names} == dict(zip(names, labels, strict=True))
    shutil.unpack_archive(tmp_path / made.DEVKIT, tmp_path)
    (tmp_path / made.DEVKIT).unlink()
    again = prepare(tmp_path, tmp_path / "b", "imagenet1k")
    assert {n: i for n, i, _ in read(again)["validation"]} == found
    shutil.rmtree(tmp_path / "ILSVRC2012_devkit_t12")
    with pytest.raises(UserError, match=r"holds 4 pictures and 50000 labels are known: put ILSVRC"):
        prepare(tmp_path, tmp_path / "c", "imagenet1k")


# --- pictures --------------------------------------------------------------------------------


def test_resizing_shrinks_the_shorter_side_as_pil_does_and_never_enlarges():
    random = np.random.default_rng(3)
    for _ in range(5):
        height, width = (int(n) for n in random.integers(40, 200, 2))
        original = made.encode(made.picture(random.integers(1000), (height, width)), quality=95)
        resized = Image.open(io.BytesIO(Treatment(resize=32)(original)))
        scale = 32 / min(height, width)
        size = (round(width * scale), round(height * scale))
        expected = Image.open(io.BytesIO(original)).resize(size, Image.Resampling.BICUBIC)
        assert (resized.format, resized.mode, resized.size) == ("JPEG", "RGB", size)
        assert min(resized.size) == 32
        difference = np.asarray(resized, float) - np.asarray(expected, float)
        assert np.abs(difference).mean() < 3  # of 255: what the JPEG at quality 95 costs
        worse = Treatment(resize=32, quality=30)(original)
        assert len(worse) < len(Treatment(resize=32)(original))
    small = made.damaged("small", 1)
    assert Treatment(resize=32)(small) == small
    assert Treatment(resize=20)(small) == small


@pytest.mark.parametrize("kind", ["png", "cmyk"])
@pytest.mark.parametrize("size", [32, 1000])
def test_odd_pictures_are_kept_as_they_are_or_become_plain_jpegs(kind, size):
    odd = made.damaged(kind, 4)
    assert Treatment()(odd) == odd
    image = Image.open(io.BytesIO(Treatment(resize=size)(odd)))
    assert (image.format, image.mode) == ("JPEG", "RGB")
    original = made.picture(4)
    assert min(image.size) == min(size, *original.size)
    plain = made.encode(original.resize(image.size, Image.Resampling.BICUBIC), quality=95)
    expected = np.asarray(Image.open(io.BytesIO(plain)), float)
    assert np.abs(np.asarray(image, float) - expected).mean() < 4  # one is a JPEG twice


@pytest.mark.parametrize("kind", made.LEFT_OUT)
def test_damaged_pictures_are_refused(kind):
    for treatment in (Treatment(), Treatment(resize=32)):
        with pytest.raises(DamagedError):
            treatment(made.damaged(kind, 2))


# --- by Beam ---------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:label.. is deprecated:DeprecationWarning")  # protobuf 6
def test_beam_comes_to_the_same_pictures_in_the_same_order(place, archive, tmp_path):
    pytest.importorskip("apache_beam", reason="needs the extra `beam`")
    by_beam = prepare(
        archive, tmp_path, num_validation=VALIDATION, beam_options="runner=DirectRunner"
    )
    expected, found = read(place), read(by_beam)
    assert found["train"] == expected["train"]
    assert sorted(found["validation"]) == sorted(expected["validation"])  # in an order of its own
    for name in ("counts.csv", "corrupt.csv"):
        assert (by_beam / name).read_bytes() == (place / name).read_bytes()
    assert not [checked for checked in verify(str(by_beam)) if checked.problem]


def test_without_beam_its_option_says_how_to_install_it(archive, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(UserError, match=r"needs Apache Beam: pip install 'vit-jax\[beam\]'"):
        prepare(archive, tmp_path, beam_options="runner=DirectRunner")


# --- stopping and going on -------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_killed_preparation_goes_on_and_comes_to_the_same_bytes(
    workers, place, archive, tmp_path
):
    command = ["prepare", "imagenet21k", f"--from={archive}", f"--to={tmp_path}", "--shards=2"]
    command += [f"--validation={VALIDATION}", f"--workers={workers}"]
    script = f"import sys; from vit_jax.cli import main; sys.exit(main({command!r}))"
    work = tmp_path / "imagenet21k" / "preparing-1.0.0"
    deadline = time.monotonic() + 300
    with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE) as process:
        while not list(work.glob("train-*.json")) and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        process.stderr.read()  # ends when its workers have ended too: they hold the other end
    if not place_of(tmp_path).exists():  # it may have come to its end within the signal's way
        (work / "train-00001.array_record.part7").write_bytes(b"cut short")
    assert sums(prepare(archive, tmp_path, num_validation=VALIDATION)) == sums(place)


def test_finished_shards_are_not_written_again(place, archive, tmp_path, monkeypatch):
    written, real = [], shards.write_shard

    def write(plan, split, number, *rest):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append((split, number))
        real(plan, split, number, *rest)

    monkeypatch.setattr(shards, "write_shard", write)
    with pytest.raises(KeyboardInterrupt):
        prepare(archive, tmp_path, num_validation=VALIDATION)
    first = written[:]
    written.clear()
    assert sums(prepare(archive, tmp_path, num_validation=VALIDATION)) == sums(place)
    assert not set(first) & set(written)
    assert len(first + written) == 3


def place_of(data_dir):
    return data_dir / "imagenet21k" / "1.0.0"


@pytest.mark.parametrize("step", [1, 2, 4, 7, 10, 12])
def test_stopped_anywhere_it_goes_on(step, place, archive, tmp_path, monkeypatch):
    """Every renaming is a step: the request, the plan, three shards with their receipts, the names
    of three shards, the whole. The run dies before one of them."""
    count = 0

    def dying(real):
        def rename(*args, **options):
            nonlocal count
            count += 1
            if count == step:
                raise KeyboardInterrupt
            return real(*args, **options)

        return rename

    monkeypatch.setattr(os, "rename", dying(os.rename))
    monkeypatch.setattr(os, "replace", dying(os.replace))
    with pytest.raises(KeyboardInterrupt):
        prepare(archive, tmp_path, num_validation=VALIDATION)
    assert not place_of(tmp_path).exists()
    with pytest.raises(tfds.core.DatasetNotFoundError):
        tfds.builder("imagenet21k", data_dir=tmp_path)
    assert sums(prepare(archive, tmp_path, num_validation=VALIDATION)) == sums(place)


def test_a_shard_that_is_lost_is_written_again(place, archive, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run, "finish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            prepare(archive, tmp_path, num_validation=VALIDATION)
    work = tmp_path / "imagenet21k" / "preparing-1.0.0"
    (work / "finishing").unlink()
    (work / "train-00000.array_record").unlink()
    with (work / "train-00001.array_record").open("r+b") as file:
        file.truncate(100)
    assert sums(prepare(archive, tmp_path, num_validation=VALIDATION)) == sums(place)


def test_a_full_disk_is_told_and_the_run_goes_on_when_there_is_room(
    place, archive, tmp_path, monkeypatch
):
    from tensorflow_datasets.core import file_adapters

    adapter = file_adapters.ArrayRecordFileAdapter
    real, count = adapter.write_examples, 0

    def full(path, iterator):
        nonlocal count
        count += 1
        if count == 2:
            path.write_bytes(b"begun")
            raise RuntimeError(f"write() failed: No space left on device; writing {path}")
        return real(path, iterator)

    monkeypatch.setattr(adapter, "write_examples", full)
    with pytest.raises(UserError, match=r"No space left on device: make room and run the same"):
        prepare(archive, tmp_path, num_validation=VALIDATION)
    assert not list(tmp_path.rglob("*.part*"))
    assert sums(prepare(archive, tmp_path, num_validation=VALIDATION)) == sums(place)
    assert count == 4  # three shards, one of them tried twice


def test_room_is_looked_for_before_anything_is_written(archive, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UserError, match=r"GiB more are needed and 0.0 GiB are free: make room"):
        prepare(archive, tmp_path)
    assert not list(tmp_path.rglob("*.array_record*"))


def test_asking_again_and_asking_for_something_else(place, archive):
    before = {path: path.stat().st_mtime_ns for path in place.iterdir()}
    data_dir = place.parents[1]
    assert prepare(archive, data_dir, num_validation=VALIDATION) == place
    assert {path: path.stat().st_mtime_ns for path in place.iterdir()} == before
    with pytest.raises(UserError, match=r"was made with validation=5, now validation=6: ask for"):
        prepare(archive, data_dir, num_validation=6)
    with pytest.raises(UserError, match=r"was made with resize=0, now resize=64"):
        prepare(archive, data_dir, treatment=Treatment(64), num_validation=VALIDATION)


def test_two_at_once_are_refused(archive, tmp_path):
    work = tmp_path / "imagenet21k" / "preparing-1.0.0"
    with (
        workspace.alone(work),
        pytest.raises(UserError, match=r"another `vit-jax prepare` is at work in"),
    ):
        prepare(archive, tmp_path)


# --- archives that are not what they should be -----------------------------------------------


def test_an_archive_that_is_not_there_or_not_one(tmp_path, tars):
    with pytest.raises(UserError, match=r"--from=.*none\.tar: there is no such file or folder"):
        prepare(tmp_path / "none.tar", tmp_path / "to")
    with pytest.raises(UserError, match=r"holds neither winter21_whole.tar or .* nor tars such as"):
        prepare(tmp_path, tmp_path / "to")
    path = tmp_path / "flat.tar"
    path.write_bytes(made.tar_of(tars[CLASSES[0]]))
    with pytest.raises(UserError, match=r"must hold one tar a class, .*; it begins with 'n0144"):
        prepare(path, tmp_path / "to")
    path.write_bytes(b"no tar" * 500)
    with pytest.raises(UserError, match=r"is not a whole tar: .*: download it again"):
        prepare(path, tmp_path / "to")
    other = made.write_21k(tmp_path, {"n00000001": tars[CLASSES[0]]})
    with pytest.raises(UserError, match=r"n00000001 and 0 more are no classes of ImageNet-1k: for"):
        prepare(other, tmp_path / "to", "imagenet1k")
    assert not list(tmp_path.rglob("dataset_info.json"))


@pytest.mark.parametrize("name", [made.FALL, made.WINTER])
def test_an_archive_cut_short_is_refused(tmp_path, tars, name):
    path = made.write_21k(tmp_path, tars, name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(UserError, match=r"(cut short within|is damaged).*: download it again"):
        prepare(path, tmp_path / "to")
    assert not place_of(tmp_path / "to").exists()


def test_a_damaged_class_tar_loses_what_follows_and_says_so(tmp_path, tars):
    inner = [(f"{i}.tar", bytearray(made.tar_of(files))) for i, files in tars.items()]
    contents = inner[1][1]
    header = contents.index(f"{CLASSES[1]}_3.JPEG".encode())
    contents[header : header + 512] = b"\xa5" * 512
    path = tmp_path / made.FALL
    path.write_bytes(made.tar_of([(n, bytes(c)) for n, c in inner]))
    place = prepare(path, tmp_path / "to")
    (reject,) = [r for r in table(place / "corrupt.csv") if r["name"] == CLASSES[1]]
    assert reject["reason"] == f"the tar is damaged at byte {reject['reason'].split()[6]}" + (
        " what follows is lost"
    )
    names = {name for part in read(place).values() for name, _, _ in part}
    assert {n for n in names if n.startswith(CLASSES[1])} == {
        name for name, _ in tars[CLASSES[1]][:3] if "empty" not in name
    }


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["imagenet22k", "--from=a", "--to=b"], "unknown data set 'imagenet22k'; did you mean"),
        (["imagenet21k", "--to=b"], "--from is missing"),
        (["imagenet21k", "--from=a", "--to=gs://b/c"], "gcloud storage cp --recursive FOLDER gs"),
        (["imagenet21k", "--from=a", "--to=b", "--resize=3"], "--resize=3 must be 0 (off) or"),
        (["imagenet21k", "--from=a", "--to=b", "--quality=0"], "--quality=0 must be within 1"),
        (["imagenet21k", "--from=a", "--to=b", "--workers=-1"], "--workers=-1 must be at least 0"),
        (["imagenet21k", "--from=a", "--to=b", "--shards=2", "--beam-options=a=b"], "--shards is"),
        (["--verify=nowhere"], "there is no data set that `vit-jax prepare` made"),
        (["imagenet21k", "--verify=nowhere"], "--verify=DIR stands alone"),
    ],
)
def test_mistakes_on_the_command_line(arguments, complaint, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["prepare", *arguments]) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
