"""botocore's errors as ours: StoreUnavailableError, which a retry may cure, or a permanent one.

Each mistake that people make with a store has a sentence of its own: rights, keys, expired tokens,
clocks, regions, certificates, form of addresses, calls that a store doesn't have.
"""

import ssl
from collections.abc import Iterator

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ResponseStreamingError,
)
from botocore.exceptions import (
    ConnectionError as BotoConnectionError,
)
from botocore.parsers import ResponseParserError
from s3transfer.exceptions import RetriesExceededError

from sea_api.contract import S3_ACCESS_KEY, S3_SECRET_KEY
from sea_api.redaction import redacted
from sea_data.object_store import (
    AccessDeniedError,
    BucketNotFoundError,
    ObjectNotFoundError,
    PreconditionFailedError,
    RequestRefusedError,
    StoreError,
    StoreUnavailableError,
)

TRANSIENT_CODES = {
    "ConditionalRequestConflict",
    "InternalError",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "ThrottlingException",
}
NETWORK_ERRORS = (
    BotoConnectionError,
    ConnectionError,
    HTTPClientError,
    IncompleteReadError,
    ResponseStreamingError,
    RetriesExceededError,
)
FOLLOW_UP = {
    BucketNotFoundError: "The bucket does not exist; create it or correct the address.",
    ObjectNotFoundError: "There is no such object; upload it or correct the address.",
    PreconditionFailedError: "Another writer was first; read the object again.",
}
BAD_KEYS = {"InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch"}
EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"}
SKEWED = {"RequestTimeTooSkewed", "RequestExpired"}
WRONG_REGION = {
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "InvalidRegionError",
    "PermanentRedirect",
    "TemporaryRedirect",
}
NO_PATH_STYLE = {
    "SecondLevelDomainForbidden",
    "VirtualHostDomainRequired",
    "PathStyleDomainForbidden",
}
"""Of Alibaba OSS, Volcengine TOS and Tencent COS, which take `bucket.host` addresses only."""
NOT_IMPLEMENTED = 501
BAD_HEADER = (
    "A key holds a line break or another character that no HTTP header may have. Correct the keys "
    "in the job's credentialsSecret; `echo` adds a line break, `printf %s` doesn't."
)
HIDDEN = (
    "access denied, or no such object: without s3:ListBucket on the bucket S3 doesn't say which"
)
RIGHTS = {
    "GET": (HIDDEN, "s3:GetObject on the object and s3:ListBucket on the bucket"),
    "HEAD": (HIDDEN, "s3:GetObject on the object and s3:ListBucket on the bucket"),
    "LIST": ("access denied", "s3:ListBucket on the bucket"),
    "PUT": ("access denied", "s3:PutObject and s3:AbortMultipartUpload on the object"),
    "DELETE": ("access denied", "s3:DeleteObject on the object"),
}
"""By the verb that a call's name begins with: what a 403 means, and which rights are needed."""


def translate(error: Exception, what: str) -> Exception:
    """Our error for one of botocore's; others come back as they are."""
    # Before the network errors, whose type it has: no retry makes the header valid.
    if _is_bad_header(error):
        return AccessDeniedError(f"{what}: {BAD_HEADER}")
    if sentence := _untrusted(error) or (_mistake(error) if isinstance(error, ClientError) else ""):
        return RequestRefusedError(f"{what}: {sentence}")
    if isinstance(error, ResponseParserError):
        return RequestRefusedError(
            f"{what}: the server answers something that is no S3. Correct storage.endpoint: a "
            "store's web console has another port than the store."
        )
    if _is_transient(error):
        return StoreUnavailableError(f"{what}: {redacted(str(error))}")
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return AccessDeniedError(
            f"{what}: {error}. Name a Secret with {S3_ACCESS_KEY} and {S3_SECRET_KEY} in "
            "spec.storage.credentialsSecret."
        )
    if isinstance(error, BotoCoreError):
        return RequestRefusedError(f"{what}: {redacted(str(error))}")
    if not isinstance(error, ClientError):
        return error
    kind = _kind(error)
    if kind is AccessDeniedError:
        return kind(f"{what}: {_denied(error, what.split(' ', 1)[0])}")
    return kind(f"{what}: {FOLLOW_UP.get(kind, redacted(str(error)))}")


def _is_bad_header(error: Exception) -> bool:
    """What http.client raises for a header with a line break or a character beyond Latin-1."""
    inner = error.kwargs.get("error") if isinstance(error, HTTPClientError) else None
    return type(inner) in (ValueError, UnicodeEncodeError)


def _is_transient(error: Exception) -> bool:
    if isinstance(error, ClientError):
        # 429 and the codes below 500 that S3 asks clients to repeat; 501 never passes.
        status = _status(error)
        busy = (status >= 500 and status != NOT_IMPLEMENTED) or status == 429
        return busy or _code(error) in TRANSIENT_CODES
    return isinstance(error, NETWORK_ERRORS)


def _untrusted(error: Exception) -> str:
    """What is wrong with the server's TLS; empty for anything else."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"The server's certificate isn't trusted ({cause.verify_message}). Put the bundle "
                "of the authority that signed it into a Secret or ConfigMap, and name that in "
                "spec.storage.caBundle."
            )
        if (
            isinstance(cause, ssl.SSLError)
            and getattr(cause, "reason", "") == "WRONG_VERSION_NUMBER"
        ):
            return (
                "The server speaks no TLS on this port. Write http:// in storage.endpoint, or "
                "correct the port."
            )
    return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all that it wraps: botocore wraps urllib3's, which wraps ssl's."""
    seen: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, BaseException) or any(one is known for known in seen):
            continue
        seen.append(one)
        yield one
        waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
        waiting.append(getattr(one, "kwargs", {}).get("error"))


def _mistake(error: ClientError) -> str:
    """A mistake of the job's storage block, by the server's code; empty for anything else."""
    code = _code(error)
    if code in EXPIRED:
        return (
            f"The session token of the keys has expired ({code}). Write a new set of keys into the "
            "job's credentialsSecret, or give the pods an identity of their own."
        )
    if code in SKEWED:
        return (
            f"The clocks of this node and of the store differ too much ({code}): requests are "
            "signed with the time. Synchronize the node's clock (NTP)."
        )
    if code in WRONG_REGION or _status(error) in (301, 307):
        right = _region(error)
        return (
            f"The bucket is in another region than storage.region says ({code or 'redirect'}). "
            + (f"Set storage.region to {right}." if right else "Correct storage.region.")
        )
    if code in NO_PATH_STYLE:
        return (
            f"The store takes addresses with the bucket in the host only ({code}). Set "
            "storage.addressing to VirtualHost."
        )
    if _status(error) == NOT_IMPLEMENTED:
        return (
            f"The store doesn't have this call ({redacted(str(error))}). Checkpoints need "
            "conditional writes (If-None-Match and If-Match): take a store that has them."
        )
    return ""


def _region(error: ClientError) -> str:
    """The bucket's region as the reply says it; may be empty."""
    found = error.response.get("Error", {}).get("Region")
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return str(found or headers.get("x-amz-bucket-region") or "")


def _kind(error: ClientError) -> type[StoreError]:
    code, status = _code(error), _status(error)
    # Before the status: a missing bucket and a missing object are both 404.
    if code == "NoSuchBucket":
        return BucketNotFoundError
    if status == 404:
        return ObjectNotFoundError
    if status == 412:
        return PreconditionFailedError
    if status in (401, 403):
        return AccessDeniedError
    return RequestRefusedError


def _denied(error: ClientError, verb: str) -> str:
    if _code(error) in BAD_KEYS:
        return (
            f"The server doesn't accept the keys ({_code(error)}). Correct those in the job's "
            "credentialsSecret."
        )
    problem, rights = RIGHTS.get(verb, RIGHTS["GET"])
    return (
        f"{problem[0].upper()}{problem[1:]}. The keys in the job's credentialsSecret (or the pods' "
        f"own identity) need {rights}."
    )


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")


def _status(error: ClientError) -> int:
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
