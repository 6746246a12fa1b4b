# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""From the archives ImageNet is handed out in to shards that are read at random: archives -> plan
(which picture goes where) -> shards (by processes, or by Beam) -> a data set of TFDS."""
