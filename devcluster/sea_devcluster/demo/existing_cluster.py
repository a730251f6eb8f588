"""`make demo CLUSTER=kubeconfig`: the user's own cluster, object server and image registry."""

import os
import shutil
from collections.abc import Mapping

from sea_devcluster.demo.errors import DemoError
from sea_devcluster.demo.target import ObjectServer, Target

NEEDS = {
    "SEA_REGISTRY": "registry and path of the images built from images/, e.g. ghcr.io/you/",
    "SEA_TAG": "their tag",
    "SEA_S3_ENDPOINT": "address of an S3 server that this machine and the pods reach",
    "AWS_ACCESS_KEY_ID": "its access key",
    "AWS_SECRET_ACCESS_KEY": "its secret key",
}


def existing_cluster(environment: Mapping[str, str] = os.environ) -> Target:
    """The current kubectl context; DemoError names every variable that is missing."""
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
    return Target(None, kubectl, server, registry, environment["SEA_TAG"])
