"""The demo's steps in order: cluster, operator, data, job, watch, scores, picture."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from sea_devcluster.demo import aftermath, earlier_job, fresh_crd, job, manifests, watch
from sea_devcluster.demo.kubectl import Kubectl
from sea_devcluster.demo.options import Options
from sea_devcluster.demo.outcome import Outcome
from sea_devcluster.demo.poll import job_reader
from sea_devcluster.demo.target import Target

CRD_WAIT_SECONDS = 120


def run(options: Options, target: Target, console: Console, started: float) -> Outcome:
    """Everything after the cluster is up; `started` is monotonic seconds of the demo's start."""
    kubectl = Kubectl(target.kubectl, target.kubeconfig)
    manifest = job.load(options.job, target.server)
    namespace, name = job.namespace(manifest), str(manifest["metadata"]["name"])
    earlier_job.require_none(kubectl, manifest)
    with step(console, "Installing the CRD and the operator"):
        install(kubectl, target)
    data = options.data or options.out / "data"
    if "data" in manifest["spec"]:
        with step(console, "Making and uploading dialogues, tasks and databases"):
            folder = options.data or make_data(manifest, data)
            job.upload(folder, manifest, target.server, console.print)
    else:
        job.ensure_bucket(manifest, target.server)  # a Synthesis stage makes the data
    with step(console, f"Applying {options.job.name}"):
        submit(kubectl, manifest, target)
    seen = watch.follow(
        job_reader(target.kubeconfig, namespace, name),
        console,
        limit_seconds=60 * options.limit_minutes,
    )
    return aftermath.conclude(options, target, console, seen, started)


def install(kubectl: Kubectl, target: Target) -> None:
    """CRD first, then the operator; both again is harmless."""
    kubectl.apply(manifests.crd_file())
    crd = "crd/seatrainingjobs.sea-operator.io"
    wait = ("wait", "--for=condition=Established", crd, f"--timeout={CRD_WAIT_SECONDS}s")
    fresh_crd.patiently(lambda: kubectl.run(*wait))
    for document in manifests.operator_objects(target.registry, target.tag):
        kubectl.apply_object(document)


def make_data(manifest: dict[str, Any], folder: Path) -> Path:
    """A fresh data folder for the job's domain."""
    shutil.rmtree(folder, ignore_errors=True)
    job.generate(manifests.data_arguments(manifest["spec"]["domains"][0]), folder)
    return folder


def submit(kubectl: Kubectl, manifest: dict[str, Any], target: Target) -> None:
    """Namespace, credentials, job: what a user would apply, in their order."""
    prepare(kubectl, manifest, target)
    fresh_crd.patiently(lambda: kubectl.apply_object(manifest))


def prepare(kubectl: Kubectl, manifest: dict[str, Any], target: Target) -> None:
    """The job's namespace and the Secret that it names."""
    namespace = job.namespace(manifest)
    kubectl.apply_object({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    kubectl.apply_object(job.credentials_secret(manifest, target.server))


@contextmanager
def step(console: Console, title: str) -> Iterator[None]:
    """Prints what is being done, and how long it took."""
    start = time.monotonic()
    with suppress(OSError):  # a closed terminal: the last step must stop the cluster all the same
        console.print(f"[cyan]▸[/] {title} ...", highlight=False)
    yield
    with suppress(OSError):
        console.print(f"[green]✓[/] {title} ({time.monotonic() - start:.1f} s)", highlight=False)
