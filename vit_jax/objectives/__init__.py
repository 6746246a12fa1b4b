# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What is minimised. A new objective is one file, imported here: a class with a `loss`, and

    @OBJECTIVES.register("my_objective")
    def create(config, num_classes) -> Objective: ...

It sees a model only through `apply`, which it may call as often as it likes, on any images and with
any parameters of the same shape; see `objective.Objective` for what it must keep to.
"""

from ml_collections import ConfigDict

from vit_jax.objectives import supervised as supervised
from vit_jax.objectives.objective import OBJECTIVES, Apply, Objective

__all__ = ["OBJECTIVES", "Apply", "Objective", "create_objective", "is_sigmoid"]


def create_objective(config: ConfigDict, num_classes: int) -> Objective:
    """Returns the objective that `config.objective` names, for outputs of `num_classes`.

    Raises:
        UserError: an unknown name, or settings that the objective refuses.
    """
    return OBJECTIVES.get(config.objective.name)(config, num_classes)


def is_sigmoid(config: ConfigDict) -> bool:
    """Whether logits become probabilities one by one (sigmoid), not together (softmax)."""
    return config.objective.name == "sigmoid_cross_entropy"
