"""Service-account tokens for one pod, asked for by TokenRequest, renewed before they expire."""

from collections.abc import Callable
from datetime import datetime, timedelta

from .api import ApiClient
from .references import despite_lag
from .wire import Json, parse_timestamp

RENEW_AFTER = 0.8
"""Share of a token's life after which it's replaced, as a kubelet does it."""


class PodTokens:
    """Tokens bound to one pod: they end with it."""

    def __init__(self, api: ApiClient, pod: Json, now: Callable[[], datetime]) -> None:
        self._api = api
        self._pod = pod
        self._now = now
        self._tokens: dict[tuple[str, int], tuple[datetime, str]] = {}

    async def token(self, audience: str, seconds: int) -> bytes:
        """A token with most of its life before it; `audience` may be empty (the API server)."""
        key = (audience, seconds)
        renew_at, text = self._tokens.get(key, (self._now(), ""))
        if self._now() >= renew_at:
            asked = self._now()
            status = await self._request(audience, seconds)
            expires = parse_timestamp(status["expirationTimestamp"]) or asked
            life = max(expires - asked, timedelta(seconds=10))
            text = str(status["token"])
            self._tokens[key] = (asked + RENEW_AFTER * life, text)
        return text.encode()

    async def _request(self, audience: str, seconds: int) -> Json:
        metadata, spec = self._pod["metadata"], self._pod["spec"]
        account = spec.get("serviceAccountName", "default")
        path = f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{account}/token"
        body: Json = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": [audience] if audience else [],
                "expirationSeconds": seconds,
                "boundObjectRef": {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                },
            },
        }
        answer: Json = await despite_lag(lambda: self._api.create(path, body))
        return dict(answer["status"])
