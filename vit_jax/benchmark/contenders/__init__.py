# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What a benchmark times: one script each, with a class `Contender(job)`, `run` and `facts`."""
