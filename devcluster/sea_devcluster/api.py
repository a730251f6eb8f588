"""A few blocking requests to the API server, for what the devcluster itself needs.

Not a Kubernetes client: tests and the operator use the `kubernetes` package. This one starts in a
millisecond, ignores proxies and has a time-out on every request.
"""

import http.client
import json
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sea_devcluster.errors import ApiError


class KubeApi:
    """Requests with one bearer token."""

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
        """One request; returns the parsed answer.

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
        """Whether `/readyz` says ok."""
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
        except http.client.HTTPException as error:  # an answer that broke off isn't an OSError
            raise ConnectionError(f"{method} {path} was not answered: {error!r}") from error
        finally:
            connection.close()
