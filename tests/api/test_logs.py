"""Log lines of all programs."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from sea_api import logs

log = logging.getLogger("sea.test")


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """Receives the lines; the root logger is put back afterwards."""
    root, stream = logging.getLogger(), io.StringIO()
    handlers, level = list(root.handlers), root.level
    yield stream
    logs.bind(**dict.fromkeys(logs._CONTEXT))
    root.handlers[:], root.level = handlers, level


def _lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_the_context_of_the_process(written: io.StringIO) -> None:
    logs.configure(stream=written, job="j", role="trainer", rank=3, attempt=2)
    log.warning("a\n%s", "b")
    [line] = _lines(written)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "job": "j",
        "role": "trainer",
        "rank": 3,
        "attempt": 2,
        "message": "a\nb",
        "level": "warning",
        "logger": "sea.test",
    }


def test_a_field_of_one_line_wins_over_the_context(written: io.StringIO) -> None:
    logs.configure(stream=written, job="mine")
    log.info("pass failed", extra={"job": ("n", "other"), "seconds": 1.5})
    log.info("next")
    one, two = _lines(written)
    assert (one["job"], one["seconds"]) == ("n/other", 1.5)
    assert two["job"] == "mine"
    assert "seconds" not in two


def test_bound_fields_stand_in_later_lines_until_they_are_removed(written: io.StringIO) -> None:
    logs.configure(stream=written)
    logs.bind(attempt=1)
    log.info("one")
    logs.bind(attempt=None)
    log.info("two")
    assert ["attempt" in line for line in _lines(written)] == [True, False]


def test_objects_that_a_library_attaches_are_left_out(written: io.StringIO) -> None:
    logs.configure(stream=written)
    logging.getLogger("kopf").warning("gone", extra={"settings": object(), "k8s_ref": {"a": 1}})
    [line] = _lines(written)
    assert set(line) == {"message", "level", "logger", "timestamp"}


def test_a_traceback_stays_within_its_line(written: io.StringIO) -> None:
    logs.configure(stream=written)
    try:
        raise ValueError("no such layout")
    except ValueError:
        log.exception("Training failed.")
    [line] = _lines(written)
    assert line["exception"].splitlines()[-1] == "ValueError: no such layout"


@pytest.mark.parametrize("name", ["kopf.reactor", "aiohttp.access", "asyncio", "botocore.retries"])
def test_chatter_of_libraries_begins_at_warning(name: str, written: io.StringIO) -> None:
    logs.configure(stream=written)
    logging.getLogger(name).info("chatter")
    logging.getLogger(name).warning("trouble")
    assert [line["message"] for line in _lines(written)] == ["trouble"]


def test_a_pod_names_its_job_role_and_itself(written: io.StringIO) -> None:
    variables = {
        "SEA_NAMESPACE": "n",
        "SEA_JOB": "j",
        "SEA_ROLE": "rollout",
        "POD_NAME": "j-rollout-0",
    }
    logs.configure_pod(variables, stream=written, container="engine")
    log.info("up")
    [line] = _lines(written)
    known = {key: line[key] for key in ("job", "role", "pod", "container")}
    assert known == {"job": "n/j", "role": "rollout", "pod": "j-rollout-0", "container": "engine"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"message": "Training failed.", "level": "error"}', "Training failed."),
        (
            '{"message": "Training failed.", "exception": "Traceback\\nValueError: x"}',
            "ValueError: x",
        ),
        ("ValueError: x", "ValueError: x"),
        ('{"event": "joined"}', '{"event": "joined"}'),
        ("[1, 2]", "[1, 2]"),
        ("", ""),
    ],
)
def test_the_message_of_a_line(line: str, message: str) -> None:
    assert logs.message_of(line) == message


def test_a_line_holds_no_header_and_no_key(written: io.StringIO) -> None:
    logs.configure(stream=written)
    header = "AWS4-HMAC-SHA256 Credential=AKIAX/x, Signature=0abc"
    try:
        raise ValueError(f"Invalid header value b'{header}'")
    except ValueError:
        log.exception("SEA_TOKEN=s3cret was refused", extra={"url": "http://me:hunter2@proxy"})
    text = written.getvalue()
    assert "[redacted]" in text
    assert [secret for secret in ("AKIAX", "0abc", "s3cret", "hunter2") if secret in text] == []
