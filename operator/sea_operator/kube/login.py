"""How the operator reaches the API server: the kubeconfig of KUBECONFIG, else its ServiceAccount.

kopf and our own client use the very same configuration, so they can't disagree on the server. It
comes from the kubernetes library's loader, which knows exec plugins and rotating tokens; kopf
imports that library anyway.
"""

import asyncio
import os
import ssl

import kopf
from kubernetes.client import Configuration
from kubernetes.config import ConfigException, load_incluster_config, load_kube_config

from sea_operator.errors import NoClusterError


async def configuration() -> Configuration:
    """Where the API server is and how to log in. Raises `NoClusterError`."""
    # In a thread: an exec plugin may ask a cloud for a token.
    return await asyncio.to_thread(_load)


def _load() -> Configuration:
    # Given to the loaders below: without it they change the library's process-wide default.
    config = Configuration()
    try:
        if path := os.environ.get("KUBECONFIG"):
            load_kube_config(config_file=path, client_configuration=config)
        else:
            load_incluster_config(client_configuration=config)
    except (ConfigException, FileNotFoundError) as error:
        raise NoClusterError(
            f"No way to the API server: {error} Set KUBECONFIG to a kubeconfig file, or run the "
            "operator in a pod with a ServiceAccount token."
        ) from error
    return config


def bearer(config: Configuration) -> dict[str, str]:
    """The Authorization header of now: the library reads a rotated token file again each minute."""
    key = config.get_api_key_with_prefix("BearerToken") or ""
    scheme, _, token = key.rpartition(" ")
    return {"Authorization": f"{scheme.capitalize() or 'Bearer'} {token}"} if token else {}


def tls(config: Configuration) -> ssl.SSLContext:
    """The one TLS context of a connection; reading the CA bundle is too slow to do per request."""
    context = ssl.create_default_context(cafile=config.ssl_ca_cert)
    if config.cert_file:
        context.load_cert_chain(config.cert_file, config.key_file)
    if not config.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def for_kopf(config: Configuration) -> kopf.ConnectionInfo:
    """The same way to the server, in kopf's words."""
    scheme, _, token = bearer(config).get("Authorization", "").partition(" ")
    return kopf.ConnectionInfo(
        server=config.host,
        ca_path=config.ssl_ca_cert,
        insecure=not config.verify_ssl,
        scheme=scheme or None,
        token=token or None,
        certificate_path=config.cert_file,
        private_key_path=config.key_file,
    )
