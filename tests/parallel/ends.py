# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What test_peers runs in each of two processes: sums over both, until process 1 meets its end."""

import os
import signal
import sys

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from vit_jax.errors import UserError
from vit_jax.parallel import distributed, peers
from vit_jax.parallel.mesh import create_mesh


class AgreedError(Exception):
    """What both raise together."""


def main(end):
    process = distributed.initialise(heartbeat_seconds=20)
    mesh = create_mesh({"data": -1})
    with peers.Together(agreed=(AgreedError,)):
        whole = NamedSharding(mesh, PartitionSpec("data"))
        ones = jax.make_array_from_process_local_data(whole, np.ones(1, np.float32))
        total = jax.jit(lambda x: x.sum())
        for step in range(1, 100_000):
            assert float(total(ones)) == 2
            if step == 20 and end == "agreed":
                raise AgreedError
            if step == 20 and process.index == 1:
                if end == "killed":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise UserError("there is no such thing")


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except AgreedError:
        sys.exit(75)
    except UserError as error:
        print(f"vit-jax: error: {error}", file=sys.stderr)
        sys.exit(2)
