"""The demo's steps in order: operator, data, job, watch, result."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import yaml
from rich.console import Console

from sea_devcluster.demo import job, object_store, results, watch
from sea_devcluster.demo.kubectl import Kubectl, job_reader, retry_while_crd_is_new
from sea_devcluster.demo.options import ROOT, Options
from sea_devcluster.demo.report import RunResult
from sea_devcluster.demo.target import Target

CRD = ROOT / "crds" / "sea-operator.io_seatrainingjobs.yaml"
CRD_WAIT_SECONDS = 120
OPERATOR = ROOT / "deploy" / "operator.yaml"
NO_REGISTRY = "registry.invalid/"
"""What the manifests name in place of a registry."""


def run(options: Options, target: Target, console: Console, started: float) -> RunResult:
    """Everything after the cluster is up; `started` is monotonic seconds of the demo's start."""
    kubectl = Kubectl(target.kubectl, target.kubeconfig)
    manifest = job.load(options.job, target.server)
    namespace, name = job.namespace(manifest), str(manifest["metadata"]["name"])
    # Before anything is installed or uploaded.
    job.require_no_earlier_job(kubectl, manifest)
    with step(console, "Installing the CRD and the operator"):
        install(kubectl, target)
    if "data" in manifest["spec"]:
        with step(console, "Making and uploading dialogues, tasks and databases"):
            folder = options.data or job.make_data(manifest, options.out / "data")
            object_store.upload(folder, manifest, target.server, console.print)
    else:
        object_store.ensure_bucket(manifest, target.server)  # a Synthesis stage makes the data
    with step(console, f"Applying {options.job.name}"):
        submit(kubectl, manifest, target)
    seen = watch.follow(
        job_reader(target.kubeconfig, namespace, name),
        console,
        limit_seconds=60 * options.limit_minutes,
    )
    return results.conclude(options, target, console, seen, started)


def install(kubectl: Kubectl, target: Target) -> None:
    """Applies the CRD, then the operator. Idempotent."""
    kubectl.apply(CRD)
    crd = f"crd/{job.CRD_NAME}"
    wait = ("wait", "--for=condition=Established", crd, f"--timeout={CRD_WAIT_SECONDS}s")
    # Before the operator: until the kind is served, its first list fails.
    retry_while_crd_is_new(lambda: kubectl.run(*wait))
    for document in operator_objects(target.registry, target.tag):
        kubectl.apply_object(document)


def operator_objects(registry: str, tag: str) -> list[dict[str, Any]]:
    """The operator's manifests with images `<registry>sea-operator/<role>:<tag>`."""
    documents = yaml.safe_load_all(OPERATOR.read_text())
    return [_with_images(one, registry, tag) for one in documents if one is not None]


def submit(kubectl: Kubectl, manifest: dict[str, Any], target: Target) -> None:
    """Applies what a user would apply, in the same order: namespace, credentials, job."""
    prepare(kubectl, manifest, target)
    retry_while_crd_is_new(lambda: kubectl.apply_object(manifest))


def prepare(kubectl: Kubectl, manifest: dict[str, Any], target: Target) -> None:
    """Applies the job's namespace and the Secret that the job names."""
    namespace = job.namespace(manifest)
    # The namespace first: the Secret is in it.
    kubectl.apply_object({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    kubectl.apply_object(job.credentials_secret(manifest, target.server))


@contextmanager
def step(console: Console, title: str) -> Iterator[None]:
    """Prints what is being done, and how long it took."""
    start = time.monotonic()
    with suppress(OSError):  # a closed terminal: the last step must still stop the cluster
        console.print(f"[cyan]▸[/] {title} ...", highlight=False)
    yield
    with suppress(OSError):
        console.print(f"[green]✓[/] {title} ({time.monotonic() - start:.1f} s)", highlight=False)


def _with_images(value: Any, registry: str, tag: str) -> Any:
    if isinstance(value, dict):
        return {key: _with_images(inner, registry, tag) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_images(inner, registry, tag) for inner in value]
    if isinstance(value, str) and value.startswith(NO_REGISTRY):
        return f"{registry}{value.removeprefix(NO_REGISTRY).rpartition(':')[0]}:{tag}"
    return value
