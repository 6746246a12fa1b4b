# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The pictures a run leaves in its workdir, where `log.pictures` asks for them."""

import os
from typing import Any

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from vit_jax.objectives import is_sigmoid
from vit_jax.training.program import Data, Program
from vit_jax.training.progress import Progress


class Drawing:
    """Draws and says where; one process does. What draws is imported when there is need for it.

    Args:
        config: of the run.
        folder: its workdir.
        progress: says where the pictures are.
    """

    def __init__(self, config: ConfigDict, folder: str | os.PathLike, progress: Progress):
        self._folder, self._say = folder, progress.say
        self._sigmoid = is_sigmoid(config)
        self._wanted = bool(config.log.pictures)
        self._here = self._wanted and jax.process_index() == 0

    def samples(self, batch: dict[str, jax.Array], data: Data) -> None:
        """Draws training examples as the model is about to see them."""
        if self._here:
            from vit_jax.evaluation import showcase

            path = showcase.draw_samples(self._folder, batch, data.class_names)
            self._say(f"training examples: {path}")

    def answers(
        self, program: Program, params: Any, model_state: Any, data: Data, mesh: Mesh
    ) -> None:
        """Draws what parameters say of the last split evaluated; every process calls it."""
        if not (self._wanted and data.evaluated):
            return
        from vit_jax.evaluation import answers, showcase

        split, pipeline = list(data.evaluated.items())[-1]
        model, ops = program.model, data.eval_ops
        found = answers.collect(
            model, params, model_state, pipeline, ops, mesh, sigmoid=self._sigmoid
        )
        if self._here:
            names = data.class_names
            paths = showcase.draw_answers(self._folder, split, found, pipeline, ops, names)
            self._say(f"what it says of {split}: {', '.join(map(str, paths))}")

    def course(self) -> None:
        """Draws the curves of a run, and where its time went."""
        if self._here:
            from vit_jax.evaluation import showcase

            self._say(f"how it went: {showcase.draw_curves(self._folder)}")
            self._say(f"where the time went: {showcase.draw_goodput(self._folder)}")
