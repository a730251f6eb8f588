"""What operator, kubelet and users ask a coordinator."""

import urllib3

from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_api.wire.state import CoordinatorState
from sea_testing.coordinator.pod_client import PodClient
from sea_testing.coordinator.process import TOKEN
from sea_testing.waiting import HANG_S, wait_for

_BEARER = {"Authorization": f"Bearer {TOKEN}"}
_ANSWER_S = 60.0


class Calls:
    """Calls to the coordinator at `url`, and clients for pods."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._http = urllib3.PoolManager(retries=False)

    def state(self) -> CoordinatorState:
        reply = self.get("/v1/state")
        assert reply.status == 200, reply.data
        return CoordinatorState.model_validate_json(reply.data)

    def safe_state(self) -> CoordinatorState | None:
        """None while nobody answers."""
        try:
            return self.state()
        except (urllib3.exceptions.HTTPError, AssertionError):
            return None

    def step(self) -> int:
        """Steps of the first stage; 0 while nobody answers."""
        state = self.safe_state()
        return state.stages[0].step if state and state.stages else 0

    def phase(self) -> str:
        """Of the first stage; empty while nobody answers."""
        state = self.safe_state()
        return str(state.stages[0].phase) if state and state.stages else ""

    def put_spec(self, desired: CoordinatorSpec) -> None:
        """As the operator does; waits for a coordinator that is about to start."""
        body = desired.model_dump_json(by_alias=True).encode()
        wait_for("PUT /v1/spec", lambda: self._put(body))

    def _put(self, body: bytes) -> bool:
        try:
            reply = self._http.request(
                "PUT", self._url + "/v1/spec", body=body, headers=_BEARER, timeout=_ANSWER_S
            )
        except urllib3.exceptions.HTTPError:
            return False
        assert reply.status == 200, reply.data
        return True

    def get(self, path: str, token: str = TOKEN) -> urllib3.BaseHTTPResponse:
        headers = {"Authorization": f"Bearer {token}"}
        return self._http.request("GET", self._url + path, headers=headers, timeout=_ANSWER_S)

    def client(self, retry_timeout: float = HANG_S) -> PodClient:
        """A pod's."""
        return PodClient(self._url, TOKEN, retry_timeout)
