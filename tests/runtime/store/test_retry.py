"""How long a request to the store is repeated, with an injected clock."""

import ssl
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    InvalidS3AddressingStyleError,
    NoCredentialsError,
    ProxyConnectionError,
    ReadTimeoutError,
    SSLError,
)
from botocore.parsers import ResponseParserError
from urllib3.exceptions import MaxRetryError

from sea_data.object_store import (
    AccessDeniedError,
    BucketNotFoundError,
    ObjectNotFoundError,
    PreconditionFailedError,
    RequestRefusedError,
    StoreError,
    StoreUnavailableError,
)
from sea_runtime.store import multipart
from sea_runtime.store.botocore_errors import translate
from sea_runtime.store.multipart import UploadDeniedError
from sea_runtime.store.retry import RetryPolicy
from sea_runtime.store.s3 import ObjectStore


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def policy(self, seconds: float) -> RetryPolicy:
        return RetryPolicy(seconds, lambda: self.now, self.sleep, lambda: 0.5)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def refusal(status: int, code: str = "X") -> ClientError:
    reply: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(reply, "PutObject")


TRANSIENT = [
    EndpointConnectionError(endpoint_url="u"),
    ConnectTimeoutError(endpoint_url="u"),
    ReadTimeoutError(endpoint_url="u"),
    ConnectionResetError(),
    refusal(500),
    refusal(503, "SlowDown"),
    refusal(429),
    refusal(409, "ConditionalRequestConflict"),
]


def test_an_outage_that_nobody_waits_for_any_more_ends_the_call() -> None:
    """After the failure of the moment; what can't pass isn't asked about."""
    time, asked = Time(), iter([False, False, True])
    policy = replace(time.policy(120.0), gives_up=lambda: next(asked))

    def away() -> None:
        raise EndpointConnectionError(endpoint_url="u")

    with pytest.raises(StoreUnavailableError, match=r"did not answer 'GET x' for \d s"):
        policy.call("GET x", away)
    assert time.now < 2
    assert next(asked, None) is None
    with pytest.raises(AccessDeniedError):
        policy.call("GET x", lambda: (_ for _ in ()).throw(refusal(403, "AccessDenied")))


@pytest.mark.parametrize("error", TRANSIENT, ids=lambda error: type(error).__name__)
def test_an_outage_is_waited_out(error: Exception) -> None:
    """Twenty failures in a row cost about a minute and a half, and the call succeeds."""
    time, attempts = Time(), 0

    def attempt() -> str:
        nonlocal attempts
        attempts += 1
        if attempts <= 20:
            raise error
        return "found"

    assert time.policy(120.0).call("GET x", attempt) == "found"
    assert attempts == 21
    assert 60 < time.now < 120


def test_after_the_deadline_the_sentence_names_the_call_and_the_time() -> None:
    time = Time()

    def attempt() -> None:
        raise TRANSIENT[0]

    with pytest.raises(StoreUnavailableError, match=r"'GET x' for 60 s: Could not") as caught:
        time.policy(60.0).call("GET x", attempt)
    assert caught.value.__cause__ is TRANSIENT[0]
    assert 50 < time.now <= 60


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (refusal(404, "NoSuchKey"), ObjectNotFoundError),
        (refusal(404, "NoSuchBucket"), BucketNotFoundError),
        (refusal(412), PreconditionFailedError),
        (refusal(403), AccessDeniedError),
        (NoCredentialsError(), AccessDeniedError),
        (refusal(400), RequestRefusedError),
    ],
)
def test_what_a_retry_cannot_cure_is_raised_at_once(
    error: Exception, kind: type[Exception]
) -> None:
    """As an error of ours, without a second attempt."""
    time = Time()

    def attempt() -> None:
        raise error

    with pytest.raises(kind, match="PUT y"):
        time.policy(60.0).call("PUT y", attempt)
    assert time.now == 0.0


def test_an_error_of_another_library_stays_as_it_is() -> None:
    error = KeyError("Body")

    def attempt() -> None:
        raise error

    with pytest.raises(KeyError) as caught:
        Time().policy(60.0).call("GET x", attempt)
    assert caught.value is error


@pytest.mark.parametrize(
    ("call", "code", "advice"),
    [
        ("GET s3://b/k", "AccessDenied", "or no such object: without s3:ListBucket on the bucket"),
        ("HEAD s3://b/k", "403", "need s3:GetObject on the object and s3:ListBucket on the bucket"),
        ("LIST s3://b/p/", "AccessDenied", "need s3:ListBucket on the bucket"),
        ("PUT s3://b/k (conditional)", "AccessDenied", "need s3:PutObject and"),
        ("DELETE s3://b/k", "AccessDenied", "need s3:DeleteObject on the object"),
        ("HEAD s3://b/k", "InvalidAccessKeyId", "doesn't accept the keys"),
        ("GET s3://b/k", "SignatureDoesNotMatch", "doesn't accept the keys"),
    ],
)
def test_a_403_says_which_rights_are_needed(call: str, code: str, advice: str) -> None:
    """S3 answers it for a missing object too, where the keys may not list the bucket."""
    error = translate(refusal(403, code), call)
    assert isinstance(error, AccessDeniedError)
    assert str(error).startswith(f"{call}: ")
    assert advice in str(error)
    assert "credentialsSecret" in str(error)


def answered(status: int, code: str, **error: str) -> ClientError:
    headers = {"x-amz-bucket-region": "eu-west-1"} if status == 301 else {}
    reply: Any = {
        "Error": {"Code": code, **error},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers},
    }
    return ClientError(reply, "PutObject")


def tls(error: ssl.SSLError) -> SSLError:
    """As urllib3 and botocore wrap it."""
    return SSLError(endpoint_url="https://s3", error=MaxRetryError(Any, "/", error))  # type: ignore[arg-type]


def untrusted() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError("certificate verify failed")
    error.verify_message = "self-signed certificate in certificate chain"
    return error


def no_tls() -> ssl.SSLError:
    error = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")
    error.reason = "WRONG_VERSION_NUMBER"
    return error


MISTAKES = [
    (answered(501, "NotImplemented"), "doesn't have this call", "conditional writes"),
    (answered(403, "RequestTimeTooSkewed"), "clocks of this node", "NTP"),
    (answered(400, "ExpiredToken"), "session token of the keys has expired", "credentialsSecret"),
    (answered(403, "ExpiredToken"), "session token of the keys has expired", "credentialsSecret"),
    (
        answered(400, "AuthorizationHeaderMalformed", Region="eu-central-1"),
        "another region",
        "Set storage.region to eu-central-1.",
    ),
    (answered(301, "PermanentRedirect"), "another region", "Set storage.region to eu-west-1."),
    (answered(400, "IllegalLocationConstraintException"), "another region", "Correct storage"),
    (answered(403, "SecondLevelDomainForbidden"), "bucket in the host only", "VirtualHost"),
    (tls(untrusted()), "self-signed certificate in certificate chain", "spec.storage.caBundle"),
    (tls(no_tls()), "speaks no TLS", "http://"),
    (ResponseParserError("Unable to parse response"), "no S3", "web console"),
    (answered(400, "MalformedXML"), "MalformedXML", ""),
]


@pytest.mark.parametrize(("error", "what", "advice"), MISTAKES, ids=lambda one: str(one)[:40])
def test_each_mistake_is_final_and_has_its_own_sentence(
    error: Exception, what: str, advice: str
) -> None:
    time = Time()

    def attempt() -> None:
        raise error

    with pytest.raises(RequestRefusedError, match="PUT y") as caught:
        time.policy(60.0).call("PUT y", attempt)
    assert time.now == 0.0
    assert what in str(caught.value)
    assert advice in str(caught.value)


def test_another_failure_of_tls_is_waited_out() -> None:
    """A server that closes the connection during its restart."""
    assert isinstance(
        translate(tls(ssl.SSLEOFError("EOF occurred")), "GET x"), StoreUnavailableError
    )


SIGNED = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE\n/x, Signature=0123abcd"


@pytest.mark.parametrize(
    "inner",
    [
        ValueError(f"Invalid header value b{SIGNED.encode()!r}"),
        UnicodeEncodeError("latin-1", SIGNED, 0, 1, "ordinal not in range(256)"),
    ],
)
def test_a_key_that_fits_in_no_header_is_refused_at_once_and_not_shown(inner: Exception) -> None:
    time, attempts = Time(), 0

    def attempt() -> None:
        nonlocal attempts
        attempts += 1
        raise HTTPClientError(error=inner)

    with pytest.raises(AccessDeniedError) as caught:
        time.policy(90).call("GET s3://b/k", attempt)
    assert attempts == 1
    assert "A key holds a line break" in str(caught.value)
    assert "AKIA" not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        HTTPClientError(error=RuntimeError(SIGNED)),
        ProxyConnectionError(proxy_url="http://user:hunter2@proxy:3128"),
        InvalidS3AddressingStyleError(s3_addressing_style=SIGNED),
        ClientError({"Error": {"Code": "X", "Message": SIGNED}}, "PutObject"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_no_error_of_the_store_shows_what_was_sent(error: Exception) -> None:
    for text in (str(translate(error, "GET s3://b/k")), str(failure_of(error))):
        assert text.startswith(("GET s3://b/k", "The object store did not answer 'GET s3://b/k'"))
        assert "hunter2" not in text
        assert "AKIA" not in text
        assert "0123abcd" not in text


def failure_of(error: Exception) -> StoreError:
    """How a call ends that fails with the error again and again."""

    def attempt() -> None:
        raise error

    with pytest.raises(StoreError) as caught:
        Time().policy(1).call("GET s3://b/k", attempt)
    return caught.value


def test_an_upload_denied_for_keys_that_were_replaced_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """obstore keeps the credentials that it has read; boto3, asked about it, is not denied."""
    store = ObjectStore("http://store.invalid", retry_timeout=Time().policy(60.0))
    tries: list[str] = []

    def put(bucket: str, key: str, data: memoryview, size: int) -> None:
        tries.append(key)
        if len(tries) == 1:
            raise UploadDeniedError("403")

    monkeypatch.setattr(store._large, "put", put)
    monkeypatch.setattr(multipart, "try_upload", lambda *_: None)
    monkeypatch.setattr(store, "size", lambda url: 1)
    store.put_large("s3://bucket/x.bin", memoryview(b"x"), 1)
    assert tries == ["x.bin", "x.bin"]
