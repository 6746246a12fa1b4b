# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The sub-commands of `vit-jax`, a module each.

A module has `DESCRIPTION`, `EXAMPLE` (or several, one a line), `add_arguments(parser)` and
`run(args, overrides) -> exit status or None`. It imports what is slow inside its functions, so that
help and mistakes come at once. `vit_jax.cli.COMMANDS` lists them.
"""
