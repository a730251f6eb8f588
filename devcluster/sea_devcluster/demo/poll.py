"""Reads the job once a second without a kubectl process each time (they cost half a core)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from kubernetes import client, config

REQUEST_TIMEOUT_SECONDS = 10


def job_reader(kubeconfig: Path | None, namespace: str, name: str) -> Callable[[], dict[str, Any]]:
    """A function that fetches the SEATrainingJob as a dictionary."""
    path = None if kubeconfig is None else str(kubeconfig)
    api = client.CustomObjectsApi(config.new_client_from_config(path))

    def read() -> dict[str, Any]:
        found: dict[str, Any] = api.get_namespaced_custom_object(
            "sea-operator.io",
            "v1alpha1",
            namespace,
            "seatrainingjobs",
            name,
            _request_timeout=REQUEST_TIMEOUT_SECONDS,
        )
        return found

    return read
