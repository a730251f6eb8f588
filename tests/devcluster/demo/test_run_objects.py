"""What a run wrote, read from an object store that may not answer."""

import pytest

from sea_devcluster.demo.errors import DemoError
from sea_devcluster.demo.run_objects import RunObjects
from sea_devcluster.demo.target import ObjectServer


def test_an_object_that_cannot_be_read_is_one_sentence() -> None:
    """A run of hours must not end in a traceback of botocore's."""
    nobody = "http://127.0.0.1:9"
    objects = RunObjects("s3://runs/tiny", ObjectServer(nobody, nobody, "a", "b"))
    with pytest.raises(DemoError, match=r"s3://runs/tiny/reports/metrics\.jsonl .*127\.0\.0\.1:9"):
        objects.metrics()
