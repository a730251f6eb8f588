"""Addresses of objects."""

import pytest

from sea_data import urls
from sea_data.urls import BadUrlError


def test_parse_and_join() -> None:
    """Bucket and key, joined with single slashes."""
    assert urls.parse("s3://bucket/a/b.json") == ("bucket", "a/b.json")
    assert urls.parse("s3://bucket") == ("bucket", "")
    assert urls.join("s3://bucket/run/", "base", "/x.json") == "s3://bucket/run/base/x.json"
    assert urls.folder("s3://bucket/run") == urls.folder("s3://bucket/run/") == "s3://bucket/run/"
    assert str(urls.parse("s3://bucket/a/b")) == "s3://bucket/a/b"


@pytest.mark.parametrize("text", ["", "s3://", "http://bucket/a", "bucket/a", "s3:///a"])
def test_anything_else_is_refused(text: str) -> None:
    """The sentence says how to write it."""
    with pytest.raises(BadUrlError, match="s3://bucket/key"):
        urls.parse(text)
