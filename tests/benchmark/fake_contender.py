# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""A contender that obeys its job: it notes its runs in a file, chatters, fails or dies as told."""

import os
import time


class Contender:
    def __init__(self, job):
        print("this goes to stdout and must not disturb the protocol", flush=True)
        if job.fault == "raise":
            raise ValueError("no such\nmodel")
        if job.fault == "die":
            os.write(2, b"out of memory\n")
            os._exit(3)
        self._job = job

    def run(self, steps):
        with open(self._job.diary, "a") as diary:
            diary.write(f"{self._job.mark}{steps} ")
        time.sleep(self._job.seconds * steps)

    def facts(self):
        return {"framework": "fake", "mark": self._job.mark}
