# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The one exception for what a user can mend."""


class UserError(Exception):
    """A mistake the user can mend.

    The message is one line that names the field, the value and the fix. The command line prints it
    without a traceback and exits with code 2.
    """
