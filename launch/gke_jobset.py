# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
r"""Writes the Kubernetes manifest of a run from a few values, and hands it to kubectl.

Examples, two slices of 16 TPU chips, and two nodes of eight GPUs without the JobSet controller:

    python launch/gke_jobset.py --name=s16 --image=IMAGE --tpu=v5p:2x2x4 --slices=2 -- \
        vit-jax train --config=configs/vit_i1k.py --workdir=gs://BUCKET/runs/s16
    python launch/gke_jobset.py --name=s16 --image=IMAGE --gpu=h100:8 --nodes=2 --job -- \
        vit-jax train --config=configs/vit_i1k.py --workdir=/shared/runs/s16

One process a node. A preempted, lost or killed pod ends the others, and all start again from the
last checkpoint; a command that ends with 1, 2 or 130 does not. --dry-run prints the manifest;
launch/gke_jobset.yaml is the first example's.
"""

import argparse
import dataclasses
import math
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import yaml

NEVER_AGAIN = [1, 2, 130]  # statuses that would only come again, by vit_jax/exits.py
GRACE_SECONDS = 300  # from SIGTERM until a pod is killed: a step and a checkpoint fit
PORT = 8476
GROUP = "train"

Manifest = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Tpu:
    """A kind of TPU as GKE knows it.

    Attributes:
        accelerator: the node label.
        xpk: prefix of the type's name for xpk.
        counted: what that name counts a chip: 2 where it counts cores.
        single_host: largest number of chips that one machine may have.
    """

    accelerator: str
    xpk: str
    counted: int
    single_host: int


TPUS = {
    "v4": Tpu("tpu-v4-podslice", "v4", 2, 4),
    "v5e": Tpu("tpu-v5-lite-podslice", "v5litepod", 1, 8),
    "v5p": Tpu("tpu-v5p-slice", "v5p", 2, 4),
    "v6e": Tpu("tpu-v6e-slice", "v6e", 1, 8),
}
GPUS = {
    "l4": "nvidia-l4",
    "a100": "nvidia-tesla-a100",
    "a100-80gb": "nvidia-a100-80gb",
    "h100": "nvidia-h100-80gb",
    "h100-mega": "nvidia-h100-mega-80gb",
    "h200": "nvidia-h200-141gb",
    "b200": "nvidia-b200",
}


@dataclasses.dataclass(frozen=True)
class Hardware:
    """What one pod asks for, and how many pods there are.

    Attributes:
        selector: node labels.
        resource: what the device plugin calls a device.
        per_node: devices a pod.
        nodes: pods a slice.
        xpk: the name of the type for xpk; "" for GPUs.
    """

    selector: dict[str, str]
    resource: str
    per_node: int
    nodes: int
    xpk: str = ""


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", required=True, help="of the run in the cluster")
    parser.add_argument("--image", required=True, help="of launch/Dockerfile, in your registry")
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--tpu", metavar="KIND:TOPOLOGY", help=f"{', '.join(TPUS)}: v5p:2x2x4")
    kind.add_argument("--gpu", metavar="KIND:COUNT", help=f"a node's; {', '.join(GPUS)}: h100:8")
    parser.add_argument("--nodes", type=int, default=1, metavar="N", help="of GPUs")
    parser.add_argument("--slices", type=int, default=1, metavar="N", help="of TPUs")
    parser.add_argument("--spot", action="store_true", help="on spot nodes")
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--service-account", default="", help="that may read data and workdir")
    parser.add_argument("--queue", default="", metavar="NAME", help="a local queue of Kueue")
    parser.add_argument("--restarts", type=int, default=100, metavar="N")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--job", action="store_true", help="an indexed Job instead of a JobSet")
    how.add_argument("--xpk", metavar="CLUSTER", help="print the same as a command for xpk")
    parser.add_argument("--dry-run", action="store_true", help="print, and change nothing")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="after --: what each pod runs")
    args = parser.parse_args(arguments)
    args.command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if problem := _problem(args):
        parser.error(problem)
    return args


def _problem(args: argparse.Namespace) -> str:
    """Returns what is wrong with the arguments, or ""."""
    if not args.command:
        return "nothing to run; put the command after --"
    if not re.fullmatch(r"[a-z]([a-z0-9-]{0,40}[a-z0-9])?", args.name):
        return f"--name={args.name}: write up to 42 of a-z, 0-9 and -, from a letter on"
    if min(args.nodes, args.slices) < 1 or args.restarts < 0:
        return "--nodes and --slices must be at least 1, --restarts at least 0"
    if (args.tpu and args.nodes > 1) or (args.gpu and args.slices > 1):
        return "--nodes goes with --gpu, --slices with --tpu"
    if args.job and args.slices > 1:
        return "several slices need a JobSet; leave --job out"
    if args.xpk and args.gpu:
        return "--xpk goes with --tpu"
    kind, _, size = (args.tpu or args.gpu).partition(":")
    known = TPUS if args.tpu else GPUS
    if kind not in known:
        return f"{kind!r} is unknown; known: {', '.join(known)}"
    pattern = r"\d+x\d+(x\d+)?" if args.tpu else r"[1-9]\d*"
    if not re.fullmatch(pattern, size):
        return f"{kind}:{size}: write {'a topology' if args.tpu else 'how many a node has'}"
    return ""


def hardware(args: argparse.Namespace) -> Hardware:
    """Returns what the pods ask for."""
    kind, _, size = (args.tpu or args.gpu).partition(":")
    spot = {"cloud.google.com/gke-spot": "true"} if args.spot else {}
    if args.gpu:
        selector = {"cloud.google.com/gke-accelerator": GPUS[kind]}
        return Hardware(selector | spot, "nvidia.com/gpu", int(size), args.nodes)
    tpu = TPUS[kind]
    selector = {
        "cloud.google.com/gke-tpu-accelerator": tpu.accelerator,
        "cloud.google.com/gke-tpu-topology": size,
    }
    chips = math.prod(map(int, size.split("x")))
    per_node = chips if chips <= tpu.single_host else 4
    name = f"{tpu.xpk}-{chips * tpu.counted}"
    return Hardware(selector | spot, "google.com/tpu", per_node, chips // per_node, name)


def environment(args: argparse.Namespace, machines: Hardware) -> list[Manifest]:
    """Returns the variables by which processes find each other; on TPUs, GKE sets its own."""
    if args.tpu:
        return []
    first = f"{args.name}-0.{args.name}" if args.job else f"{args.name}-{GROUP}-0-0.{args.name}"
    index = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    return [
        {"name": "JAX_COORDINATOR_ADDRESS", "value": f"{first}:{PORT}"},
        {"name": "JAX_NUM_PROCESSES", "value": str(machines.nodes)},
        {"name": "JAX_PROCESS_ID", "valueFrom": {"fieldRef": {"fieldPath": index}}},
    ]


def pod(args: argparse.Namespace, machines: Hardware) -> Manifest:
    """Returns the specification of a pod."""
    container: Manifest = {
        "name": GROUP,
        "image": args.image,
        "command": args.command,
        "resources": {"limits": {machines.resource: machines.per_node}},
        "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],
    }
    if variables := environment(args, machines):
        container["env"] = variables
        container["ports"] = [{"containerPort": PORT}]
    spec: Manifest = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "nodeSelector": machines.selector,
        "containers": [container],
        "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory"}}],
    }
    if args.service_account:
        spec["serviceAccountName"] = args.service_account
    if args.job:
        spec["subdomain"] = args.name  # the headless service gives each pod a name
    return spec


def job_spec(args: argparse.Namespace, machines: Hardware) -> Manifest:
    """Returns the specification of an indexed Job, one pod a node."""
    codes = {"containerName": GROUP, "operator": "In", "values": NEVER_AGAIN}
    rules: list[Manifest] = [{"action": "FailJob", "onExitCodes": codes}]
    if args.job:  # a pod that was taken away is no failure; a JobSet restarts all for it
        rules.append({"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]})
    return {
        "parallelism": machines.nodes,
        "completions": machines.nodes,
        "completionMode": "Indexed",
        "backoffLimit": args.restarts * machines.nodes if args.job else 0,
        "podFailurePolicy": {"rules": rules},
        "template": {"spec": pod(args, machines)},
    }


def metadata(args: argparse.Namespace) -> Manifest:
    labels = {"labels": {"kueue.x-k8s.io/queue-name": args.queue}} if args.queue else {}
    return {"name": args.name, "namespace": args.namespace, **labels}


def job(args: argparse.Namespace, machines: Hardware) -> list[Manifest]:
    """Returns an indexed Job and the service by which its pods find each other."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": args.name, "namespace": args.namespace},
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {"job-name": args.name},
        },
    }
    head = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata(args)}
    return [service, {**head, "spec": job_spec(args, machines)}]


def jobset(args: argparse.Namespace, machines: Hardware) -> list[Manifest]:
    """Returns a JobSet: a Job a slice, all started again together."""
    template: Manifest = {"spec": job_spec(args, machines)}
    if args.tpu:  # a node pool is a slice: one Job each
        key = "alpha.jobset.sigs.k8s.io/exclusive-topology"
        template = {"metadata": {"annotations": {key: "cloud.google.com/gke-nodepool"}}} | template
    failed = {
        "name": "never_again",
        "action": "FailJobSet",
        "onJobFailureReasons": ["PodFailurePolicy"],
    }
    return [
        {
            "apiVersion": "jobset.x-k8s.io/v1alpha2",
            "kind": "JobSet",
            "metadata": metadata(args),
            "spec": {
                "failurePolicy": {"maxRestarts": args.restarts, "rules": [failed]},
                "replicatedJobs": [{"name": GROUP, "replicas": args.slices, "template": template}],
            },
        }
    ]


def xpk(args: argparse.Namespace, machines: Hardware) -> list[str]:
    """Returns the command that has xpk make a JobSet of its own."""
    command = [
        *("xpk", "workload", "create", f"--cluster={args.xpk}", f"--workload={args.name}"),
        *(f"--tpu-type={machines.xpk}", f"--num-slices={args.slices}"),
        *(f"--docker-image={args.image}", f"--max-restarts={args.restarts}"),
    ]
    return [*command, f"--command={shlex.join(args.command)}"]


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_args(arguments)
    machines = hardware(args)
    if args.xpk:
        print(shlex.join(xpk(args, machines)))
        return 0
    parts = job(args, machines) if args.job else jobset(args, machines)
    text = "---\n".join(yaml.safe_dump(part, sort_keys=False, width=100) for part in parts)
    command = ["kubectl", "apply", "--filename=-"]
    if args.dry_run:
        print(f"# {shlex.join(command)}\n{text}", end="")
        return 0
    return subprocess.run(command, input=text, text=True, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
