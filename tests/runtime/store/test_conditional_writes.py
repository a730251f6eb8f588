"""The probe of a store's conditional writes: on the real server, and on one that ignores some."""

import pytest

from sea_data.object_store import (
    AccessDeniedError,
    ObjectNotFoundError,
    PreconditionFailedError,
    RequestRefusedError,
)
from sea_runtime.store import conditional_writes
from sea_runtime.store.s3 import ObjectStore


class Memory(dict[str, tuple[bytes, str]]):
    """A store in memory that keeps to the conditions which `ignores` doesn't name."""

    def __init__(
        self, ignores: str = "", absent: type[Exception] = PreconditionFailedError
    ) -> None:
        """`absent` is raised for If-Match where there is no object."""
        super().__init__()
        self._absent = absent
        self._ignores, self._tags = ignores, 0

    def put_if(self, url: str, body: bytes, etag: str | None) -> str:
        there = self.get(url)
        if etag is None:
            refused, name = there is not None, "create"
        elif there is None:
            refused, name = True, "absent"
        else:
            refused, name = there[1] != etag, "replace"
        if refused and self._ignores != name:
            raise (self._absent if name == "absent" else PreconditionFailedError)(url)
        self._tags += 1
        self[url] = (body, f'"{self._tags}"')
        return self[url][1]

    def delete(self, url: str) -> None:
        self.pop(url, None)


@pytest.mark.parametrize("absent", [PreconditionFailedError, ObjectNotFoundError])
def test_a_store_that_keeps_to_conditions_is_taken_and_left_clean(
    absent: type[Exception],
) -> None:
    """AWS answers 404 for an object that isn't there, others 412."""
    store = Memory(absent=absent)
    conditional_writes.check(store, "s3://b/run")  # type: ignore[arg-type]
    assert not store


@pytest.mark.parametrize(
    ("ignores", "condition"),
    [
        ("create", "If-None-Match"),
        ("replace", "If-Match with an old tag"),
        ("absent", "If-Match on an object that isn't there"),
    ],
)
def test_a_store_that_ignores_one_is_refused(ignores: str, condition: str) -> None:
    """The fence of checkpoints would be void, and nothing would say so."""
    store = Memory(ignores)
    with pytest.raises(RequestRefusedError, match=condition):
        conditional_writes.check(store, "s3://b/run")  # type: ignore[arg-type]
    assert not store


@pytest.mark.component
def test_the_real_server_keeps_to_all(store: ObjectStore) -> None:
    conditional_writes.check(store, "s3://things/run")
    assert store.list("s3://things/run/") == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_ACCESS_KEY_ID", "key\n"),
        ("AWS_SECRET_ACCESS_KEY", " secret"),
        ("AWS_DEFAULT_REGION", "eu-central-1 "),
        ("AWS_ENDPOINT_URL", "http://s3:9000\n"),
        ("AWS_SECRET_ACCESS_KEY", "schlüssel"),
    ],
)
def test_blanks_and_line_breaks_are_refused_before_a_request(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(AccessDeniedError, match=f"{name} has a blank, a line break"):
        ObjectStore()
