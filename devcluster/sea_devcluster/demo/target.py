"""The cluster that the demo runs on: a devcluster, or that of the current kubectl context.

`make demo CLUSTER=kubeconfig` uses the user's own cluster, object server and image registry.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from sea_api.contract import S3_ACCESS_KEY, S3_SECRET_KEY
from sea_devcluster.cluster import DevCluster
from sea_devcluster.demo.kubectl import Kubectl
from sea_devcluster.demo.object_store import ObjectServer, client
from sea_devcluster.errors import DemoError

NEEDS = {
    "SEA_REGISTRY": "registry and path of the images built from images/, e.g. ghcr.io/you/",
    "SEA_TAG": "their tag",
    "SEA_S3_ENDPOINT": "address of an S3 server that this machine and the pods reach",
    S3_ACCESS_KEY: "its access key",
    S3_SECRET_KEY: "its secret key",
}


@dataclass(frozen=True)
class Target:
    """A cluster that is up, and its object server."""

    kubeconfig: Path | None
    kubectl: str
    server: ObjectServer
    registry: str = ""
    """Prefix of the image names, with its slash."""
    tag: str = "dev"
    down_command: str | None = None
    """Command that stops everything; None if the cluster isn't ours."""


def devcluster_target(cluster: DevCluster) -> Target:
    """A devcluster as the demo sees it."""
    endpoint, credentials = cluster.s3.endpoint, cluster.s3.environment()
    server = ObjectServer(
        endpoint, endpoint, credentials[S3_ACCESS_KEY], credentials[S3_SECRET_KEY]
    )
    return Target(
        kubeconfig=cluster.kubeconfig,
        kubectl=str(cluster.plane.kubectl),
        server=server,
        down_command=f"make down NAME={cluster.name}    # stops everything",
    )


def existing_cluster(environment: Mapping[str, str] = os.environ) -> Target:
    """The cluster of the current kubectl context, after it has answered.

    Raises:
        DemoError: A variable is missing, or the API server or the object server doesn't answer.
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
        endpoint, endpoint, environment[S3_ACCESS_KEY], environment[S3_SECRET_KEY]
    )
    registry = environment["SEA_REGISTRY"].rstrip("/") + "/"
    require_api_server(Kubectl(kubectl, None))
    require_object_server(server)
    return Target(None, kubectl, server, registry, environment["SEA_TAG"])


def require_api_server(kubectl: Kubectl) -> None:
    """Asks for a version: on a failing `apply` kubectl would advise to turn validation off."""
    try:
        kubectl.run("version", "--request-timeout=10s")
    except DemoError as error:
        raise DemoError(
            f"The cluster of the current kubectl context doesn't answer ({error}); choose one "
            "that does with `kubectl config use-context NAME`, or name its file in KUBECONFIG."
        ) from error


def require_object_server(server: ObjectServer) -> None:
    """Any answer is enough here; what the keys allow shows when data is uploaded."""
    try:
        client(server).list_buckets()
    except ClientError:
        return
    except (BotoCoreError, ValueError) as error:
        raise DemoError(
            f"SEA_S3_ENDPOINT={server.endpoint} can't be reached from this machine ({error}); "
            "start the S3 server or correct the address."
        ) from error
