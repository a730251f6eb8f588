"""The job that the demo applies: its manifest, checked before anything starts, and its data."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from sea_api.contract import S3_ACCESS_KEY, S3_SECRET_KEY
from sea_devcluster.demo.kubectl import Kubectl
from sea_devcluster.demo.object_store import ObjectServer
from sea_devcluster.errors import DemoError

REQUIRED_FIELDS = (
    ("metadata", "name"),
    ("spec", "stages"),
    ("spec", "domains"),
    ("spec", "storage", "url"),
    ("spec", "storage", "credentialsSecret"),
)
"""Fields that the demo itself reads; the API server checks the rest."""
GENERATE_TIMEOUT_SECONDS = 300
CRD_NAME = "seatrainingjobs.sea-operator.io"
_FINISHED = {"Complete": "is complete", "Failed": "has failed"}


def read(path: Path) -> dict[str, Any]:
    """The manifest in a file.

    Raises:
        DemoError: It is no SEATrainingJob, or lacks what the demo needs.
    """
    try:
        manifest = yaml.safe_load(path.read_text())
    except OSError as error:
        raise DemoError(f"{path} can't be read ({error.strerror}); name a job's file.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise DemoError(f"{path} is not one YAML document ({reason}); correct it.") from error
    if not isinstance(manifest, dict) or manifest.get("kind") != "SEATrainingJob":
        raise DemoError(f"{path} holds no SEATrainingJob; take one of examples/ as a pattern.")
    missing = [".".join(keys) for keys in REQUIRED_FIELDS if not _at(manifest, keys)]
    if missing:
        raise DemoError(f"{path} lacks {', '.join(missing)}; add what is missing.")
    return manifest


def load(path: Path, server: ObjectServer) -> dict[str, Any]:
    """The manifest in a file, with this cluster's `storage.endpoint`."""
    manifest = read(path)
    manifest["spec"]["storage"]["endpoint"] = server.pod_endpoint
    return manifest


def namespace(manifest: dict[str, Any]) -> str:
    """The job's namespace."""
    return str(manifest["metadata"].get("namespace", "default"))


def credentials_secret(manifest: dict[str, Any], server: ObjectServer) -> dict[str, Any]:
    """The Secret that `spec.storage.credentialsSecret` names."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": manifest["spec"]["storage"]["credentialsSecret"],
            "namespace": namespace(manifest),
        },
        "stringData": {
            S3_ACCESS_KEY: server.access_key,
            S3_SECRET_KEY: server.secret_key,
        },
    }


# --- its data ---


def require_data(manifest: dict[str, Any], data: Path | None) -> None:
    """Checks that there will be data.

    Raises:
        DemoError: The job reads data, none was given, and the demo can't make it.
    """
    if "data" in manifest["spec"] and data is None:
        data_arguments(manifest["spec"]["domains"][0])


def make_data(manifest: dict[str, Any], folder: Path) -> Path:
    """Writes a new data folder for the job's domain."""
    shutil.rmtree(folder, ignore_errors=True)
    generate(data_arguments(manifest["spec"]["domains"][0]), folder)
    return folder


def data_arguments(domain: str) -> list[str]:
    """Arguments of `sea data` that make the training data of a demo domain."""
    if domain != "shop":
        raise DemoError(
            f"The demo makes data for the domain shop only, not for {domain}: name a folder of "
            "tasks, dialogues and databases with --data (`sea data tau2` writes one)."
        )
    return ["shop", "--seed", "0"]


def generate(arguments: list[str], out: Path) -> None:
    """Writes a data folder with the `sea` command.

    Raises:
        DemoError: There is no such command, it takes too long, or it fails.
    """
    sea = Path(sys.executable).parent / "sea"
    command = [str(sea), "data", *arguments, "--out", str(out)]
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=GENERATE_TIMEOUT_SECONDS
        )
    except FileNotFoundError:
        raise DemoError(f"The command {sea} is missing; run `make setup`.") from None
    except subprocess.TimeoutExpired:
        raise DemoError(
            f"`sea data {' '.join(arguments)}` was not done after {GENERATE_TIMEOUT_SECONDS:.0f} s;"
            " end other programs on this machine, or make the data yourself and name its folder "
            "with --data."
        ) from None
    if done.returncode != 0:
        raise DemoError(f"`sea data {' '.join(arguments)}` failed: {done.stderr.strip()}")


# --- a job of the same name that is in the cluster already ---


def require_no_earlier_job(kubectl: Kubectl, manifest: dict[str, Any]) -> None:
    """Checks, before anything is installed or uploaded, that no job has this name.

    A devcluster is new for each demo; the user's own cluster keeps the job of the first run, to
    which applying the same manifest again changes nothing.

    Raises:
        DemoError: The job exists; says how to look at it and how to make room.
    """
    if not kubectl.run("get", "crd", CRD_NAME, "--ignore-not-found", "-o", "name").strip():
        return
    where, name = namespace(manifest), str(manifest["metadata"]["name"])
    found = kubectl.run("-n", where, "get", CRD_NAME, name, "--ignore-not-found", "-o", "json")
    if found.strip():
        raise DemoError(earlier_job_message(json.loads(found), where, name))


def earlier_job_message(found: dict[str, Any], namespace: str, name: str) -> str:
    """The sentence for a job that exists."""
    return (
        f"The job {name} of an earlier run is in the namespace {namespace} already and "
        f"{_state(found)}: the demo would show its result as this run's. Look at it with `kubectl "
        f"-n {namespace} get seajob {name}`; for a new run delete it (what it wrote stays in the "
        f"object store): `kubectl -n {namespace} delete seajob {name}`."
    )


def _state(found: dict[str, Any]) -> str:
    if found["metadata"].get("deletionTimestamp"):
        return "is being deleted"
    for condition in found.get("status", {}).get("conditions") or []:
        if condition["type"] in _FINISHED and condition["status"] == "True":
            return _FINISHED[condition["type"]]
    return "is not over"


def _at(value: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value
