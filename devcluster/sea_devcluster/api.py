"""HTTP requests to the API server and health checks of local components.

Not a Kubernetes client: tests and the operator use the `kubernetes` package. This one starts in a
millisecond, ignores proxies and has a time-out on every request.
"""

import http.client
import json
import ssl
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sea_devcluster.errors import ApiError


class KubeApi:
    """Blocking requests with one bearer token."""

    def __init__(self, url: str, ca_file: Path, token: str, timeout: float = 10.0) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port or 443
        self._tls = ssl.create_default_context(cafile=str(ca_file))
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        self._timeout = timeout

    def request(
        self, method: str, path: str, body: object = None, content: str = "application/json"
    ) -> Any:
        """Sends one request and returns the parsed answer.

        Args:
            method: HTTP method.
            path: Absolute path with its query.
            body: JSON value or None.
            content: Content type of the body.

        Raises:
            ApiError: The server refused.
            OSError: The server did not answer.
        """
        status, text = self._exchange(method, path, body, content)
        answer = json.loads(text) if text.startswith("{") else text
        if status >= 400:
            detail = answer if isinstance(answer, dict) else {}
            message = detail.get("message", text)
            reason = detail.get("reason", "")
            raise ApiError(status, reason, f"The API server refused {method} {path}: {message}")
        return answer

    def get(self, path: str) -> Any:
        """Reads a resource or a list of them."""
        return self.request("GET", path)

    def apply(self, path: str, manifest: dict[str, Any]) -> Any:
        """Server-side apply under the field manager `sea-devcluster`."""
        query = "fieldManager=sea-devcluster&force=true"
        return self.request("PATCH", f"{path}?{query}", manifest, "application/apply-patch+yaml")

    def ready(self) -> bool:
        """True if `/readyz` answers 200."""
        try:
            return self._exchange("GET", "/readyz", None, "application/json")[0] == 200
        except OSError:
            return False

    def _exchange(self, method: str, path: str, body: object, content: str) -> tuple[int, str]:
        connection = http.client.HTTPSConnection(
            self._host, self._port, timeout=self._timeout, context=self._tls
        )
        try:
            headers = {**self._headers, "Content-Type": content}
            payload = None if body is None else json.dumps(body)
            connection.request(method, path, payload, headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except http.client.HTTPException as error:  # a truncated answer isn't an OSError
            raise ConnectionError(f"{method} {path} was not answered: {error!r}") from error
        finally:
            connection.close()


def get_text(url: str, timeout: float) -> str | None:
    """Body of a 200 answer; None for anything else.

    Never goes through a proxy. Certificates are not checked: components sign their own for these
    ports, and only their health is asked for.
    """
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname = False
    tls.verify_mode = ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls)
    )
    try:
        with opener.open(url, timeout=timeout) as response:
            return str(response.read().decode()) if response.status == 200 else None
    except OSError:  # includes urllib's URLError and time-outs
        return None


def answers(url: str) -> bool:
    """True if a health URL answers 200 within two seconds."""
    return get_text(url, timeout=2.0) is not None
