"""What the coordinator's clients put on the wire."""

from sea_workloads.client import calls


def test_the_server_is_told_how_long_to_hold_a_question_for_weights() -> None:
    """A wait that only the client knew made workers ask hundreds of times a second."""
    call = calls.newer_weights("policy", 3, 10.0)
    assert call.target == "/v1/weights/policy?after=3&wait=10.0"
    assert call.wait == 10.0
