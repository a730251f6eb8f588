"""Secrets are read once, and again when there is a reason."""

import base64
from typing import Any

import pytest

from sea_operator.errors import NotFoundError
from sea_operator.secret_reader import DOUBT_SECONDS, MAX_AGE_SECONDS, SecretReader, seen_of
from sea_testing.hand_clock import HandClock

KEYS = frozenset({"a", "b"})
NO_HEADER = "holds whitespace or a character that no HTTP header can carry"
VALUE = base64.b64encode(b"value").decode()


class Server:
    """Secrets by name, as the API server answers; keeps what was asked for."""

    def __init__(self) -> None:
        self.secrets: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []

    async def get(self, kind: Any, namespace: str, name: str) -> dict[str, Any]:
        self.asked.append(name)
        if name not in self.secrets:
            raise NotFoundError(name)
        return self.secrets[name]


@pytest.fixture
def server(make: Any) -> Server:
    server = Server()
    server.secrets["s3"] = {"metadata": {"name": "s3"}, "data": dict.fromkeys(KEYS, VALUE)}
    server.secrets["j-auth"] = auth(make)
    return server


def auth(make: Any, token: str = "t", uid: str | None = None, **meta: Any) -> dict[str, Any]:
    owner = {"kind": "SEATrainingJob", "name": "j", "uid": uid or make.uid}
    data = {"token": base64.b64encode(token.encode()).decode()} if token else {}
    return {"metadata": {"name": "j-auth", "ownerReferences": [owner], **meta}, "data": data}


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def reader(server: Server, clock: HandClock) -> SecretReader:
    return SecretReader(server, clock)  # type: ignore[arg-type]


async def token(reader: SecretReader, make: Any, **job: Any) -> str | None:
    found = await reader.token(make.job(**{"status": make.status(), **job}))
    return found.token if found else None


async def keys(reader: SecretReader) -> frozenset[str] | None:
    found = await reader.look("n", "s3", KEYS)
    return found.keys if found else None


async def test_both_kinds_are_read_once(reader: SecretReader, server: Server, make: Any) -> None:
    for _ in range(3):
        assert await token(reader, make) == "t"
        assert await keys(reader) == KEYS
    assert server.asked == ["j-auth", "s3"]


async def test_what_is_missing_is_asked_for_each_time(reader: SecretReader, server: Server) -> None:
    del server.secrets["s3"]
    assert await keys(reader) is None
    server.secrets["s3"] = {"metadata": {}, "data": {"a": VALUE}}
    assert await keys(reader) == frozenset({"a"})
    server.secrets["s3"] = {"metadata": {}, "data": dict.fromkeys(KEYS, VALUE)}
    assert await keys(reader) == KEYS


@pytest.mark.parametrize(
    "found",
    [
        {"uid": "somebody-else"},
        {"token": ""},
        {"deletionTimestamp": "2027-01-15T08:00:00Z"},
    ],
)
async def test_a_token_that_is_not_ours_to_use_is_asked_for_each_time(
    reader: SecretReader, server: Server, make: Any, found: dict[str, str]
) -> None:
    server.secrets["j-auth"] = auth(make, **found)
    await token(reader, make)
    server.secrets["j-auth"] = auth(make, token="next")
    assert await token(reader, make) == "next"


async def test_a_strangers_token_is_never_taken(
    reader: SecretReader, server: Server, make: Any
) -> None:
    server.secrets["j-auth"] = auth(make, uid="somebody-else")
    found = await reader.token(make.job(status=make.status()))
    assert found is not None
    assert (found.ours, found.token) == (False, None)


async def test_a_rotated_token_is_noticed_when_the_coordinator_refuses_ours(
    reader: SecretReader, server: Server, make: Any
) -> None:
    await token(reader, make)
    server.secrets["j-auth"] = auth(make, token="rotated")
    assert await token(reader, make) == "t"
    reader.refused(make.job())
    assert await token(reader, make) == "rotated"


async def test_a_changed_spec_reads_again(reader: SecretReader, server: Server, make: Any) -> None:
    for generation, asked in ((1, 2), (1, 2), (2, 4), (2, 4)):
        reader.note_spec(make.job(generation=generation), frozenset({"s3"}))
        await token(reader, make)
        await keys(reader)
        assert len(server.asked) == asked


async def test_another_job_does_not_read_a_shared_secret_again(
    reader: SecretReader, server: Server, make: Any
) -> None:
    for name in ("j", "k"):
        reader.note_spec(make.job(name=name), frozenset({"s3"}))
        await keys(reader)
    assert server.asked == ["s3"]


async def test_nothing_is_trusted_for_ever(
    reader: SecretReader, server: Server, clock: HandClock, make: Any
) -> None:
    await token(reader, make)
    clock.now += MAX_AGE_SECONDS - 1
    await token(reader, make)
    assert len(server.asked) == 1
    clock.now += 1
    await token(reader, make)
    assert len(server.asked) == 2


async def test_our_own_secret_needs_no_read(
    reader: SecretReader, server: Server, make: Any
) -> None:
    reader.wrote_token(make.job(), auth(make, token="made"))
    assert await token(reader, make) == "made"
    assert server.asked == []


async def test_jobs_that_are_gone_leave_nothing_behind(
    reader: SecretReader, clock: HandClock, make: Any
) -> None:
    reader.note_spec(make.job(), frozenset({"s3"}))
    await token(reader, make)
    await keys(reader)
    clock.now += MAX_AGE_SECONDS
    reader.gone("n", "j")
    assert (reader._known, reader._specs) == ({}, {})


@pytest.mark.parametrize(
    ("value", "flaw"),
    [
        (b"AKIAIOSFODNN7EXAMPLE", None),
        (b"wJalrXUtnFEMI/K7MDENG+x=", None),
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"AK\n", "ends with a line break, as `echo` adds it (`printf %s` doesn't)"),
        (b"AK\r\n", "ends with a line break, as `echo` adds it (`printf %s` doesn't)"),
        (b"A K", NO_HEADER),
        (b"\xef\xbb\xbfAK", NO_HEADER),
        (
            "\u201cAK".encode(),
            NO_HEADER,
        ),
        (b"\xff\xfe\x00", NO_HEADER),
    ],
)
def test_a_value_that_no_header_can_carry_is_noticed(value: bytes, flaw: str | None) -> None:
    found = seen_of({"k": base64.b64encode(value).decode()})
    assert found.flaws.get("k") == flaw
    assert found.keys == frozenset({"k"})


def test_a_digest_shows_that_values_changed_and_nothing_of_them() -> None:
    one, other = seen_of({"a": VALUE, "b": VALUE}), seen_of({"a": VALUE, "b": "eA=="})
    assert one.digest == seen_of({"b": VALUE, "a": VALUE}).digest
    assert one.digest != other.digest
    assert "value" not in repr(one)
    assert VALUE not in repr(one)


async def test_an_unusable_value_is_read_again_until_it_is_corrected(
    reader: SecretReader, server: Server
) -> None:
    server.secrets["s3"]["data"]["a"] = base64.b64encode(b"x\n").decode()
    first = await reader.look("n", "s3", KEYS)
    server.secrets["s3"]["data"]["a"] = VALUE
    second = await reader.look("n", "s3", KEYS)
    assert first is not None
    assert second is not None
    assert (set(first.flaws), set(second.flaws)) == ({"a"}, set())


async def test_a_job_with_a_problem_reads_its_secrets_every_few_seconds(
    reader: SecretReader, server: Server, clock: HandClock
) -> None:
    await keys(reader)
    reader.doubt("n", ["s3"])
    await keys(reader)
    assert server.asked == ["s3"]
    clock.now += DOUBT_SECONDS
    reader.doubt("n", ["s3", "unknown"])
    await keys(reader)
    assert server.asked == ["s3", "s3"]


async def test_a_new_job_s_token_is_read_only_if_it_turns_out_to_exist(
    reader: SecretReader, server: Server, make: Any
) -> None:
    """One request fewer for each job: its creation tells whether there is one."""
    new = make.job()
    assert await reader.token(new) is None
    assert server.asked == []
    assert reader.taken(new)
    assert not reader.taken(new), "that is no news"
    found = await reader.token(new)
    assert found is not None
    assert (found.token, server.asked) == ("t", ["j-auth"])
    reader.gone("n", "j")
    assert await reader.token(new) is None
