"""How the operator reaches the API server: the kubeconfig of KUBECONFIG, else its ServiceAccount.

kopf and our own client use the very same configuration, so they can't disagree on the server.
"""

import os

import kopf
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import load_incluster_config, load_kube_config
from kubernetes.aio.config.config_exception import ConfigException


class NoClusterError(Exception):
    """Neither a kubeconfig nor a ServiceAccount says where the API server is."""


async def configuration() -> Configuration:
    """The client's configuration. Raises `NoClusterError`."""
    config = Configuration()
    try:
        if path := os.environ.get("KUBECONFIG"):
            await load_kube_config(config_file=path, client_configuration=config)
        else:
            load_incluster_config(client_configuration=config)
    except (ConfigException, FileNotFoundError) as error:
        raise NoClusterError(
            f"No way to the API server: {error} Set KUBECONFIG to a kubeconfig file, or run the "
            "operator in a pod with a ServiceAccount token."
        ) from error
    return config


async def api_client() -> ApiClient:
    """A connection pool; the caller closes it."""
    return ApiClient(configuration=await configuration())


def for_kopf(config: Configuration) -> kopf.ConnectionInfo:
    """The same way to the server, in kopf's words."""
    scheme, _, token = config.api_key.get("BearerToken", "").rpartition(" ")
    return kopf.ConnectionInfo(
        server=config.host,
        ca_path=config.ssl_ca_cert,
        insecure=not config.verify_ssl,
        scheme=scheme.capitalize() or ("Bearer" if token else None),
        token=token or None,
        certificate_path=config.cert_file,
        private_key_path=config.key_file,
    )
