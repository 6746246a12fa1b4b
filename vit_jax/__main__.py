# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""`python -m vit_jax` is `vit-jax`."""

import sys

from vit_jax.cli import main

if __name__ == "__main__":
    sys.exit(main())
