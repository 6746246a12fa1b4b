# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The end of a preparation: shards get their names, and the tables and metadata beside them."""

import collections
import csv
import dataclasses
import json
import pathlib
import shutil
from collections.abc import Mapping

from vit_jax.data.preparation import builder, shards
from vit_jax.data.preparation import plan as plans
from vit_jax.data.preparation.crew import Crew
from vit_jax.data.preparation.plan import Plan
from vit_jax.data.preparation.shards import Receipt
from vit_jax.data.preparation.workspace import REQUEST, Request
from vit_jax.data.tensorflow import quiet
from vit_jax.errors import UserError

CHECKSUMS, COUNTS, CORRUPT = "SHA256SUMS", "counts.csv", "corrupt.csv"


@dataclasses.dataclass
class Shards:
    """The shards of a split, as they are to be called.

    Attributes:
        sources: where they were written.
        lengths: examples in each.
        example_bytes: of all of them.
        sha256: of each file.
    """

    sources: list[pathlib.Path] = dataclasses.field(default_factory=list)
    lengths: list[int] = dataclasses.field(default_factory=list)
    example_bytes: int = 0
    sha256: list[str] = dataclasses.field(default_factory=list)


def finish(request: Request, crew: Crew) -> None:
    """Gives the shards their names, writes what describes them, and moves all to its place.

    May be stopped anywhere and done again.
    """
    plan = plans.load(request.work)
    assert plan is not None
    receipts = {
        shard: Receipt.read(shards.receipt_path(request.work, *shard)) for shard in plan.shards()
    }
    collect = _collect_from_beam if request.beam_options else _collect
    splits = collect(request, plan, receipts, crew)
    for split in plan.bounds:
        if split not in splits:
            reason = receipts[split, 0].rejects[0].reason
            raise UserError(f"--from: no picture of the split {split!r} can be decoded ({reason})")
    result = request.work / "result"
    result.mkdir(exist_ok=True)
    names = {
        split: [
            builder.file_name(request.data_set, split, number, len(found.sources))
            for number in range(len(found.sources))
        ]
        for split, found in splits.items()
    }
    for split, found in splits.items():
        for source, name in zip(found.sources, names[split], strict=True):
            if source.exists():
                source.rename(result / name)
    _write_tables(plan, list(receipts.values()), request.words, result)
    with (result / CHECKSUMS).open("w") as file:  # as `sha256sum --check` reads it
        for split, found in splits.items():
            for digest, name in zip(found.sha256, names[split], strict=True):
                file.write(f"{digest}  {name}\n")
    shutil.copy(request.work / REQUEST, result)
    with quiet():
        made = builder.make_builder(request.data_set, plan, request.treatment, request.data_dir)
        builder.write_metadata(made, splits, result)
    result.rename(request.place)
    shutil.rmtree(request.work)


def _collect(
    request: Request, plan: Plan, receipts: dict[tuple[str, int], Receipt], crew: Crew
) -> dict[str, Shards]:
    """Returns the shards that processes wrote, without those in which no picture was left."""
    splits: dict[str, Shards] = collections.defaultdict(Shards)
    for (split, number), receipt in receipts.items():
        if receipt.num_examples:
            found = splits[split]
            found.sources.append(shards.shard_path(request.work, split, number))
            found.lengths.append(receipt.num_examples)
            found.example_bytes += receipt.example_bytes
            found.sha256.append(receipt.sha256)
    return splits


def _collect_from_beam(
    request: Request, plan: Plan, receipts: dict[tuple[str, int], Receipt], crew: Crew
) -> dict[str, Shards]:
    """Returns the shards that TFDS wrote by Beam."""
    with quiet():
        made = builder.make_builder(
            request.data_set, plan, request.treatment, request.work / "beam"
        )
    sums = request.work / "beam_sha256.json"
    paths = [str(path) for info in made.info.splits.values() for path in info.filepaths]
    if not sums.exists():
        draft = sums.with_suffix(".part")
        draft.write_text(json.dumps(dict(zip(paths, crew.map(shards.sha256, paths), strict=True))))
        draft.rename(sums)
    digests = json.loads(sums.read_text())
    return {
        split: Shards(
            [pathlib.Path(path) for path in info.filepaths],
            list(info.shard_lengths),
            info.num_bytes,
            [digests[str(path)] for path in info.filepaths],
        )
        for split, info in made.info.splits.items()
    }


def _write_tables(
    plan: Plan, receipts: list[Receipt], words: Mapping[str, str], folder: pathlib.Path
) -> None:
    """Writes the pictures of each class, and which pictures were left out and why."""
    counts: dict[str, collections.Counter[int]] = {s: collections.Counter() for s in plan.bounds}
    for (split, _), receipt in zip(plan.shards(), receipts, strict=True):
        counts[split].update(receipt.counts)
    with (folder / COUNTS).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["label", "wordnet_id", "words", *counts])
        for label, wordnet_id in enumerate(plan.class_names):
            row = [counter[label] for counter in counts.values()]
            writer.writerow([label, wordnet_id, words.get(wordnet_id, ""), *row])
    rejects = [*plan.rejects, *(reject for receipt in receipts for reject in receipt.rejects)]
    with (folder / CORRUPT).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["split", "name", "reason"])
        writer.writerows(sorted(dataclasses.astuple(reject) for reject in rejects))
