"""botocore's errors as ours: StoreUnavailableError, which a retry may cure, or a permanent one."""

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
BAD_KEYS = {"ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch"}
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
        # 429 and the codes below 500 that S3 asks clients to repeat.
        return _status(error) >= 500 or _status(error) == 429 or _code(error) in TRANSIENT_CODES
    return isinstance(error, NETWORK_ERRORS)


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
