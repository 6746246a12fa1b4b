# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""`vit-jax prepare` from beginning to end.

Everything happens in a folder beside the data set's place, and that folder's result is renamed when
all of it is there. It keeps what was asked for, the plan, and each finished shard with its receipt;
so the same command goes on wherever the last one was stopped, and comes to the same bytes.
"""

import contextlib
import dataclasses
import functools
import pathlib
import shutil
from collections.abc import Callable

from vit_jax.data.preparation import archives, builder, imagenet, shards
from vit_jax.data.preparation import plan as plans
from vit_jax.data.preparation.archives import ArchiveError
from vit_jax.data.preparation.crew import Crew, Meter, count_picture
from vit_jax.data.preparation.finish import finish
from vit_jax.data.preparation.imagenet import Archives
from vit_jax.data.preparation.pictures import DamagedError, Treatment
from vit_jax.data.preparation.plan import Plan
from vit_jax.data.preparation.workspace import (
    Request,
    alone,
    check_request,
    require_room,
    room_for,
)
from vit_jax.data.tensorflow import quiet
from vit_jax.errors import UserError

Say = Callable[[str], None]

_FINISHING = "finishing"
_SAMPLE = 64  # pictures, to estimate how large resized ones are


def prepare(request: Request, say: Say) -> pathlib.Path:
    """Prepares a data set, or goes on with it, or finds it there.

    Args:
        request: what is asked for.
        say: is told what happens, a line at a time.

    Returns:
        The folder of the data set.

    Raises:
        UserError: the archives are not there or not what they should be, there is no room, or the
            place holds something else.
    """
    sources = imagenet.locate(request.data_set, request.source)
    if request.num_validation and sources.validation:
        raise UserError(
            f"--validation={request.num_validation}: {sources.validation} is the validation split"
        )
    if request.place.exists():
        check_request(request, sources, request.place)
        shutil.rmtree(request.work, ignore_errors=True)  # if the last run was stopped at its end
        say(f"{request.place} is prepared already")
        return request.place
    with room_for(request), alone(request.work):
        check_request(request, sources, request.work)
        with Crew(request.workers) as crew:
            if not (request.work / _FINISHING).exists():
                try:
                    plan = _plan(request, sources, crew, say)
                except ArchiveError:
                    shutil.rmtree(request.work)
                    raise
                _check_room(request, plan)
                write = _write_by_beam if request.beam_options else _write
                write(request, plan, crew, say)
                (request.work / _FINISHING).touch()
            finish(request, crew)
    return request.place


def _check_room(request: Request, plan: Plan) -> None:
    """Raises UserError unless what is not yet written will fit."""
    kept = 1.0
    if request.treatment.resize:
        split, number = next(plan.shards())
        before = after = 0
        for row in plan.rows(split, number)[:_SAMPLE]:
            contents = shards.read(plan.paths[row["path"]], row["offset"], row["size"])
            with contextlib.suppress(DamagedError):
                after += len(request.treatment(contents))
                before += len(contents)
        kept = 1.1 * after / before if before else 1.0
    written = sum(path.stat().st_size for path in request.work.glob("*.array_record"))
    require_room(request, int(kept * plan.picture_bytes) - written)


def _plan(request: Request, sources: Archives, crew: Crew, say: Say) -> Plan:
    """Returns the plan, made now or before."""
    found = plans.load(request.work)
    if found is not None:
        return found
    if not pathlib.Path(sources.train).is_dir() and archives.is_gzip(sources.train):
        sources = dataclasses.replace(sources, train=str(_unpack(request, sources.train, say)))
    say(f"looking through {sources.train}")
    with quiet():
        found = plans.make(
            request.data_set,
            sources,
            request.work,
            num_shards=request.num_shards,
            num_validation=request.num_validation,
            map_parts=crew.map,
        )
    counts = ", ".join(f"{split} {bounds[-1]:,}" for split, bounds in found.bounds.items())
    say(f"{found.num_pictures:,} images of {len(found.class_names):,} classes: {counts}")
    return found


def _unpack(request: Request, path: str, say: Say) -> pathlib.Path:
    """Returns the folder of the class tars of a compressed archive."""
    folder, done = request.work / "unpacked", request.work / "unpacked.done"
    if done.exists():
        return folder
    folder.mkdir(exist_ok=True)
    there = sum(file.stat().st_size for file in folder.glob("*.tar"))
    copies = 1 if request.treatment.resize else 2
    require_room(request, copies * archives.size_of(path) - there)
    say(f"unpacking {path}, which is compressed, into {folder}")
    meter = Meter(archives.size_of(path) >> 20, 0, say, unit="MiB")
    total = 0

    def progress(size: int) -> None:
        nonlocal total
        total += size
        meter.show(total >> 20)

    archives.unpack_gzip(path, folder, progress)
    meter.close()
    done.touch()
    return folder


def _write(request: Request, plan: Plan, crew: Crew, say: Say) -> None:
    """Writes the shards that are not there yet."""
    there = {shard for shard in plan.shards() if shards.is_written(plan, *shard)}
    missing = [shard for shard in plan.shards() if shard not in there]
    done = sum(_length(plan, *shard) for shard in there)
    if done:
        say(f"going on: {len(there)} of {len(there) + len(missing)} shards are there")
    meter = Meter(plan.num_pictures, done, say)
    crew.work(functools.partial(_write_shard, plan, request.treatment), missing, meter)
    meter.close()


def _write_shard(plan: Plan, treatment: Treatment, shard: tuple[str, int]) -> None:
    shards.write_shard(plan, *shard, treatment, count_picture)


def _length(plan: Plan, split: str, number: int) -> int:
    start, stop = plan.bounds[split][number : number + 2]
    return stop - start


def _write_by_beam(request: Request, plan: Plan, crew: Crew, say: Say) -> None:
    say(f"Apache Beam writes ({request.beam_options})")
    builder.write_by_beam(
        request.data_set, plan, request.treatment, request.beam_options, request.work / "beam"
    )
