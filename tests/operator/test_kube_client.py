"""What the operator applies is read by the API server as it was meant, whatever a message holds."""

import json
from typing import Any

import pytest
import yaml

from sea_operator.errors import NotLeadingError, UnavailableError
from sea_operator.kube.client import NODE, SECRET, KubeClient
from sea_operator.kube.yaml_patch import apply_body


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "GLHF! \U0001f3d6\ufe0f",
        'quote " and \\ud83c backslash \\\\',
        "line\nbreak\ttab \x00 \x1b[31m \x7f \x85 \u2028 \ufeff \uffff",
        "köstlich 日本",
    ],
)
def test_body_is_the_same_in_json_and_yaml(text: str) -> None:
    body = apply_body({"message": text, text: 1})
    assert json.loads(body) == {"message": text, text: 1}
    assert yaml.safe_load(body) == {"message": text, text: 1}


def test_half_a_pair_is_replaced() -> None:
    assert json.loads(apply_body({"message": "a\ud83cb"})) == {"message": "a\ufffdb"}


class Unanswered:
    """A connection whose server takes too long."""

    def request(self, *_: Any, **__: Any) -> Any:
        raise TimeoutError


async def test_a_timeout_is_called_by_its_name() -> None:
    """Its own text is empty."""
    client = KubeClient(Unanswered())  # type: ignore[arg-type]
    with pytest.raises(UnavailableError, match=r"GET /api/v1/nodes/n: TimeoutError$"):
        await client.get(NODE, None, "n")


async def test_an_event_about_what_was_written_is_not_lost_with_the_lease() -> None:
    def lost() -> None:
        raise NotLeadingError("The lease is lost.")

    client = KubeClient(Unanswered(), lost)  # type: ignore[arg-type]
    with pytest.raises(NotLeadingError):
        await client.create(SECRET, "n", {})
    with pytest.raises(UnavailableError, match="POST /api/v1/namespaces/n/events"):
        await client.record("n", {})
