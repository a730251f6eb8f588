"""`make demo CLUSTER=kubeconfig`: the user's own cluster, object server and image registry."""

import os
import shutil
from collections.abc import Mapping

from botocore.exceptions import BotoCoreError, ClientError

from sea_devcluster.demo.errors import DemoError
from sea_devcluster.demo.job import client
from sea_devcluster.demo.kubectl import Kubectl
from sea_devcluster.demo.target import ObjectServer, Target

NEEDS = {
    "SEA_REGISTRY": "registry and path of the images built from images/, e.g. ghcr.io/you/",
    "SEA_TAG": "their tag",
    "SEA_S3_ENDPOINT": "address of an S3 server that this machine and the pods reach",
    "AWS_ACCESS_KEY_ID": "its access key",
    "AWS_SECRET_ACCESS_KEY": "its secret key",
}


def existing_cluster(environment: Mapping[str, str] = os.environ) -> Target:
    """The current kubectl context, seen to answer.

    Raises:
        DemoError: A variable is missing, or the API server or the object server is away.
    """
    missing = [f"{name} ({what})" for name, what in NEEDS.items() if not environment.get(name)]
    if missing:
        raise DemoError(
            "The demo on your own cluster needs: " + "; ".join(missing) + ". See images/README.md."
        )
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise DemoError("The demo on your own cluster needs kubectl on PATH; install it.")
    endpoint = environment["SEA_S3_ENDPOINT"]
    server = ObjectServer(
        endpoint, endpoint, environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"]
    )
    registry = environment["SEA_REGISTRY"].rstrip("/") + "/"
    require_api_server(Kubectl(kubectl, None))
    require_object_server(server)
    return Target(None, kubectl, server, registry, environment["SEA_TAG"])


def require_api_server(kubectl: Kubectl) -> None:
    """Asks for a version: kubectl's own advice at an `apply` is to leave out the validation."""
    try:
        kubectl.run("version", "--request-timeout=10s")
    except DemoError as error:
        raise DemoError(
            f"The cluster of the current kubectl context doesn't answer ({error}); choose one "
            "that does with `kubectl config use-context NAME`, or name its file in KUBECONFIG."
        ) from error


def require_object_server(server: ObjectServer) -> None:
    """Any answer will do here: what keys may do is seen when data are uploaded."""
    try:
        client(server).list_buckets()
    except ClientError:
        return
    except (BotoCoreError, ValueError) as error:
        raise DemoError(
            f"SEA_S3_ENDPOINT={server.endpoint} can't be reached from this machine ({error}); "
            "start the S3 server or correct the address."
        ) from error
