"""The way to the API server: login by KUBECONFIG, else by ServiceAccount; TLS; connection pool.

kopf and our own client use the very same configuration, so they can't disagree on the server. It
comes from the kubernetes library's loader, which knows exec plugins and rotating tokens; kopf
imports that library anyway.
"""

import asyncio
import functools
import json
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import aiohttp
import kopf
from kubernetes.client import Configuration
from kubernetes.config import ConfigException, load_incluster_config, load_kube_config
from yarl import URL

from sea_api.redaction import redacted_to
from sea_operator.errors import NoClusterError, of_status

FIELD_MANAGER = "sea-operator"
PROBES = {socket.TCP_KEEPIDLE: 15, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 3}
"""A server that vanished without a word is noticed after 30 s, not when its watch would end: until
then passes act on a cache that hears nothing."""

KEEP_SECONDS = 55.0
"""For which an idle connection is kept: the API server closes it after 90 s, many a load balancer
after 60 s. A new one costs seven requests' worth of CPU for its TLS handshake (measured)."""
LOGIN_SECONDS = 5.0
"""For which an Authorization header is used again. The kubelet replaces a token hours before its
end."""
MAX_SAID = 1000
"""Characters of an answer that is no Status object, such as a proxy's page."""

Query = list[tuple[str, str]]


class Connection:
    """The API server's address, a connection pool and the credentials."""

    def __init__(self, config: Configuration) -> None:
        self._config = config
        self._login_until, self._header = 0.0, dict[str, str]()
        self._server = str(config.host).rstrip("/")
        self._session = aiohttp.ClientSession(
            # No limit: each watch holds a connection for minutes, and those of many namespaces
            # would leave none for the lease. The workers bound all other requests.
            connector=aiohttp.TCPConnector(
                ssl=tls(config),
                limit=0,
                socket_factory=probed,
                keepalive_timeout=KEEP_SECONDS,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept": "application/json", "User-Agent": FIELD_MANAGER},
            # A proxy comes from the kubeconfig alone, never from HTTPS_PROXY.
            trust_env=False,
            # aiohttp pauses the socket while its buffer (64 KiB by default) is full; a page of
            # a list may have megabytes.
            read_bufsize=1 << 18,
        )

    @classmethod
    async def open(cls) -> "Connection":
        """Connects as KUBECONFIG or the ServiceAccount says. Raises `NoClusterError`."""
        return cls(await configuration())

    def request(
        self, method: str, path: str, query: Query, headers: dict[str, str], **rest: Any
    ) -> Any:
        """aiohttp's context manager of the response; `path` is quoted already."""
        # `encoded`: yarl would otherwise quote the percent signs of `Kind.path` again.
        asked = f"{path}?{_encoded(tuple(query))}" if query else path
        return self._session.request(
            method,
            URL(self._server + asked, encoded=True),
            # Per request: a ServiceAccount's token is rotated while the session lives.
            headers={**headers, **self._login()},
            server_hostname=self._config.tls_server_name or None,
            proxy=self._config.proxy or None,
            **rest,
        )

    def _login(self) -> dict[str, str]:
        now = time.monotonic()
        if now >= self._login_until:
            self._login_until, self._header = now + LOGIN_SECONDS, bearer(self._config)
        return self._header

    async def close(self) -> None:
        await self._session.close()


# All writes have one of a few.
@functools.lru_cache(maxsize=64)
def _encoded(query: tuple[tuple[str, str], ...]) -> str:
    return urlencode(query)


def probed(address: aiohttp.AddrInfoType) -> socket.socket:
    """A socket on which the kernel asks a silent peer whether it is still there."""
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in PROBES.items():
        made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made


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


async def lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length: aiohttp's own reader refuses long ones, and objects have up to 1.5 MiB.

    The parts of an unfinished line are joined once, not copied with each chunk.
    """
    parts: list[bytes] = []
    async for chunk in content.iter_any():
        # The last part of a split is an unfinished line, or empty after a line's end.
        *whole, rest = chunk.split(b"\n")
        for line in whole:
            yield b"".join((*parts, line))
            parts.clear()
        if rest:
            parts.append(rest)


async def raise_for(answer: aiohttp.ClientResponse, method: str, path: str) -> None:
    """Raises the error of a status that is one, with the server's own words."""
    if answer.status < 400:
        return
    said = _said(await answer.text(errors="replace"))
    raise of_status(answer.status)(f"{method} {path}: {answer.status} {answer.reason}: {said}")


def _said(body: str) -> str:
    """The server's own words, out of its Status object where it sent one."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        # Of a page of megabytes its first part; a credential that is cut there isn't shown.
        return redacted_to(body[: 8 * MAX_SAID], MAX_SAID)
