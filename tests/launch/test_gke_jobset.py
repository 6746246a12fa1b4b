# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Manifests: what Kubernetes would accept, with the right numbers of pods and chips."""

import copy
import itertools
import pathlib
import sys

import pytest
import yaml

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from kubernetes_fields import problems
from scripts import COMMAND, LAUNCH, NEVER_AGAIN, run

from vit_jax.parallel.distributed import Plan, plan

FULL = ("--spot", "--queue=team", "--service-account=trainer", "--namespace=ml", "--restarts=7")
MACHINES = {
    # chips of a topology, and what a machine of its kind holds, by the makers' tables
    "v5p:2x2x1": (1, 4),
    "v5p:2x2x4": (4, 4),
    "v4:2x2x2": (2, 4),
    "v5e:1x1": (1, 1),
    "v5e:2x4": (1, 8),
    "v5e:4x4": (4, 4),
    "v6e:16x16": (64, 4),
}


def manifests(*arguments):
    result = run("gke_jobset.py", "--name=d", "--image=IMAGE", "--dry-run", *arguments, *COMMAND)
    assert result.returncode == 0, result.stderr
    return list(yaml.safe_load_all(result.stdout))


def job_of(manifest):
    if manifest["kind"] == "JobSet":
        return manifest["spec"]["replicatedJobs"][0]["template"]["spec"]
    return manifest["spec"]


@pytest.mark.parametrize("topology", MACHINES)
def test_tpus(topology):
    (jobset,) = manifests(f"--tpu={topology}", "--slices=3", *FULL)
    assert problems(jobset) == []
    nodes, chips = MACHINES[topology]
    job = job_of(jobset)
    assert jobset["spec"]["replicatedJobs"][0]["replicas"] == 3
    assert (job["parallelism"], job["completions"], job["backoffLimit"]) == (nodes, nodes, 0)
    pod = job["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"] == {"google.com/tpu": chips}
    assert pod["nodeSelector"]["cloud.google.com/gke-spot"] == "true"
    assert jobset["metadata"]["labels"] == {"kueue.x-k8s.io/queue-name": "team"}


@pytest.mark.parametrize("job", [False, True])
def test_gpu_pods_know_who_they_are(job):
    """By the variables that our own table reads."""
    *_, manifest = manifests("--gpu=a100:16", "--nodes=3", *(["--job"] if job else []))
    assert problems(manifest) == []
    pod = job_of(manifest)["template"]["spec"]
    environ = {v["name"]: v.get("value", "2") for v in pod["containers"][0]["env"]}
    first = "d-0.d" if job else "d-train-0-0.d"
    assert plan(environ) == Plan("JAX_* variables", 3, 2, f"{first}:8476")
    field = pod["containers"][0]["env"][2]["valueFrom"]["fieldRef"]["fieldPath"]
    assert field == "metadata.annotations['batch.kubernetes.io/job-completion-index']"


def test_a_job_has_a_service_that_names_its_pods():
    service, job = manifests("--gpu=h100:8", "--nodes=2", "--job")
    assert problems(service) == problems(job) == []
    assert service["metadata"]["name"] == job["spec"]["template"]["spec"]["subdomain"] == "d"
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}


@pytest.mark.parametrize("how", [("--tpu=v5p:2x2x1",), ("--gpu=h100:8", "--job")])
def test_what_would_come_again_is_not_tried_again(how):
    *_, manifest = manifests(*how)
    rule = job_of(manifest)["podFailurePolicy"]["rules"][0]
    assert rule["action"] == "FailJob"
    assert tuple(rule["onExitCodes"]["values"]) == NEVER_AGAIN[1:]  # 0 is no failure


def test_the_example_is_what_the_script_writes():
    text = (LAUNCH / "gke_jobset.yaml").read_text()
    arguments = ("--name=s16", "--image=IMAGE", "--tpu=v5p:2x2x4", "--slices=2", "--dry-run", "--")
    command = ("vit-jax", "train", "--config=configs/vit_i1k.py", "--workdir=gs://BUCKET/runs/s16")
    assert run("gke_jobset.py", *arguments, *command).stdout == text


def test_kubectl_gets_the_manifest(tmp_path):
    from scripts import program, with_programs

    program(tmp_path, "kubectl", f'echo "$@" > {tmp_path}/how; cat > {tmp_path}/what; exit 3')
    arguments = ("--name=d", "--image=IMAGE", "--tpu=v5p:2x2x1", *COMMAND)
    result = run("gke_jobset.py", *arguments, env=with_programs(tmp_path))
    assert result.returncode == 3
    assert (tmp_path / "how").read_text() == "apply --filename=-\n"
    assert problems(yaml.safe_load((tmp_path / "what").read_text())) == []


def leaves(tree, path=()):
    """Yields the path of every field."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from leaves(value, (*path, key))


def test_the_schema_sees_every_misspelt_or_mistyped_field():
    for manifest in manifests("--gpu=h100:8", "--nodes=2", "--job"):
        for path, damage in itertools.product(leaves(manifest), ("misspelt", "mistyped")):
            broken = copy.deepcopy(manifest)
            inner = broken
            for key in path[:-1]:
                inner = inner[key]
            labels = path[-2:-1] in [("selector",), ("nodeSelector",), ("labels",)]
            if damage == "mistyped":
                inner[path[-1]] = 1.5
            elif isinstance(path[-1], str) and not labels:
                inner[path[-1] + "x"] = inner.pop(path[-1])
            else:
                continue
            assert problems(broken), (path, damage)
