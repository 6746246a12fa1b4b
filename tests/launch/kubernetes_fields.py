# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The part of Kubernetes' and JobSet's schemas that our manifests use, small enough to be here.

A dict is an object with these fields and no others ("!" marks one that must be there), a list of
one is a list of such, a type is a value of it, a tuple one of these values, `LABELS` is strings by
name. Made from the JobSet resource definition jobset.x-k8s.io/v1alpha2, which embeds batch/v1
Job and core/v1 Pod.
"""

from typing import Any

LABELS = "labels"
METADATA = {"name!": str, "namespace": str, "labels": LABELS}
POD = {
    "restartPolicy": ("Never",),  # what a podFailurePolicy asks for
    "terminationGracePeriodSeconds": int,
    "nodeSelector": LABELS,
    "serviceAccountName": str,
    "subdomain": str,
    "containers!": [
        {
            "name!": str,
            "image": str,
            "command": [str],
            "resources": {"limits": {"google.com/tpu": int, "nvidia.com/gpu": int}},
            "volumeMounts": [{"name!": str, "mountPath!": str}],
            "env": [
                {
                    "name!": str,
                    "value": str,
                    "valueFrom": {"fieldRef": {"fieldPath!": str}},
                }
            ],
            "ports": [{"containerPort!": int}],
        }
    ],
    "volumes": [{"name!": str, "emptyDir": {"medium": ("Memory",)}}],
}
JOB = {
    "parallelism": int,
    "completions": int,
    "completionMode": ("Indexed", "NonIndexed"),
    "backoffLimit": int,
    "podFailurePolicy": {
        "rules!": [
            {
                "action!": ("FailJob", "FailIndex", "Ignore", "Count"),
                "onExitCodes": {
                    "containerName": str,
                    "operator!": ("In", "NotIn"),
                    "values!": [int],
                },
                "onPodConditions": [{"type!": str, "status": str}],
            }
        ]
    },
    "template!": {"metadata": {"labels": LABELS, "annotations": LABELS}, "spec": POD},
}
KINDS: dict[tuple[str, str], Any] = {
    ("v1", "Service"): {
        "clusterIP": ("None",),
        "publishNotReadyAddresses": bool,
        "selector": LABELS,
    },
    ("batch/v1", "Job"): JOB,
    ("jobset.x-k8s.io/v1alpha2", "JobSet"): {
        "failurePolicy": {
            "maxRestarts": int,
            "rules": [
                {
                    "name!": str,
                    "action!": ("FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"),
                    "onJobFailureReasons": [
                        (
                            "BackoffLimitExceeded",
                            "DeadlineExceeded",
                            "FailedIndexes",
                            "MaxFailedIndexesExceeded",
                            "PodFailurePolicy",
                        )
                    ],
                }
            ],
        },
        "replicatedJobs": [
            {
                "name!": str,
                "replicas": int,
                "template!": {"metadata": {"labels": LABELS, "annotations": LABELS}, "spec": JOB},
            }
        ],
    },
}


def problems(manifest: Any) -> list[str]:
    """Returns what the schema has against a manifest."""
    kind = (manifest.get("apiVersion"), manifest.get("kind"))
    if kind not in KINDS:
        return [f"unknown kind {kind}"]
    whole = {"apiVersion!": str, "kind!": str, "metadata!": METADATA, "spec!": KINDS[kind]}
    return list(_check(manifest, whole, ""))


def _check(value: Any, schema: Any, where: str) -> Any:
    if isinstance(schema, tuple):
        if value not in schema:
            yield f"{where}: {value!r} is none of {schema}"
    elif isinstance(schema, type):
        if type(value) is not schema:
            yield f"{where}: {value!r} is no {schema.__name__}"
    elif isinstance(schema, list):
        if not isinstance(value, list) or not value:
            yield f"{where}: {value!r} is no list"
        else:
            for index, item in enumerate(value):
                yield from _check(item, schema[0], f"{where}[{index}]")
    elif not isinstance(value, dict):
        yield f"{where}: {value!r} is no object"
    elif schema == LABELS:
        for key, item in value.items():
            yield from _check(item, str, f"{where}.{key}")
    else:
        fields = {name.rstrip("!"): inner for name, inner in schema.items()}
        missing = {name[:-1] for name in schema if name.endswith("!")} - value.keys()
        yield from (f"{where}.{name}: missing" for name in sorted(missing))
        for name, item in value.items():
            if name not in fields:
                yield f"{where}.{name}: unknown"
            else:
                yield from _check(item, fields[name], f"{where}.{name}")
