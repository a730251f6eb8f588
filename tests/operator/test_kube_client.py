"""What the operator applies is read by the API server as it was meant, whatever a message holds."""

import json

import pytest
import yaml

from sea_operator.kube.client import apply_body


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
