"""Addresses of models, data and servers, each with the rule that says what it must look like.

What can't be an address of its kind is refused here: a folder or a glob where a file is read, a
whole request path where a base URL is needed. Whether something is there is the coordinator's check
(`sea_runtime.coordinator.preconditions`).
"""

from typing import Annotated

from pydantic import Field

from sea_api.v1alpha1.forms import form, matching
from sea_api.v1alpha1.rules import Rule

MAX_LENGTH = 1024

# Buckets that are only read may be of the oldest kind, with capitals and underscores.
_READ_BUCKET = "[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?"
_BUCKET = "[a-z0-9][a-z0-9.-]*[a-z0-9]"
_HOST = r"https?://[^\s\v/?#@]+"
_REVISION = "(@[A-Za-z0-9._/-]+)?"
_HUB_NAME = "[A-Za-z0-9][A-Za-z0-9._-]*"

_FOLDER_OF_RUN = form(
    rf"s3://{_BUCKET}(/[^*?#\s\v]*)?",
    "this must be s3://BUCKET/PREFIX with a bucket in lower case (a-z, 0-9, - and ., no _)"
    " and no blanks; the server's own address goes to storage.endpoint: correct the address",
)

_FILE = form(
    # Short: 2048 files (64 in each of 32 stages) must fit into the server's budget.
    r"s3://[\w.-]+/[^*?\[\]{}\n]*[^*?\[\]{}\s/]",
    "this must be the s3://BUCKET/KEY address of one file, no folder, no pattern with * and no"
    " data set of a hub: list each file by its address in the object store",
)

_FOLDER = Rule(
    cel=rf"self.matches(r'^s3://{_READ_BUCKET}(/[^*?\[\]{{}}\n]*)?$')"
    r" && !self.matches(r'\.(json|jsonl|toml|gz|bz2|xz|zst|zip|tar)$')",
    message="this must be the s3://BUCKET/PREFIX address of a folder, no file and no pattern with"
    " *: name the folder",
    holds=lambda url: (
        matching(rf"s3://{_READ_BUCKET}(/[^*?\[\]{{}}\n]*)?")(url)
        and not matching(r"(.|\n)*\.(json|jsonl|toml|gz|bz2|xz|zst|zip|tar)")(url)
    ),
)

_MODEL = form(
    rf"s3://{_READ_BUCKET}(/[^*?\[\]{{}}\s\v]*)?|hf://{_HUB_NAME}/{_HUB_NAME}{_REVISION}|builtin:tiny",
    "a model is s3://BUCKET/PREFIX, hf://OWNER/NAME with an optional @REVISION, or builtin:tiny:"
    " put hf:// before a name of the Hugging Face hub, and copy models from elsewhere to the object"
    " store",
)

_SERVER = form(
    rf"{_HOST}/?",
    "this must be http://HOST:PORT or https://HOST:PORT without a path; the bucket goes to"
    " storage.url: correct the address",
)

_REQUESTS = "(chat/)?completions|responses|models|embeddings|messages"

_BASE_URL = Rule(
    cel=rf"self.matches(r'^{_HOST}(/[^\s\v?#]*)?$')"
    rf" && !self.matches(r'/(?:{_REQUESTS})/?$')",
    message="this must be the base URL of an OpenAI-compatible server, such as https://HOST/v1,"
    " without a key in it and without a query; /chat/completions is appended to it: cut off what"
    " follows the base",
    holds=lambda url: (
        matching(rf"{_HOST}(/[^\s\v?#]*)?")(url) and not matching(rf"(.|\n)*/({_REQUESTS})/?")(url)
    ),
)

StorageUrl = Annotated[str, Field(max_length=MAX_LENGTH), _FOLDER_OF_RUN]
S3File = Annotated[str, Field(max_length=MAX_LENGTH), _FILE]
S3Folder = Annotated[str, Field(max_length=MAX_LENGTH), _FOLDER]
ModelSource = Annotated[str, Field(max_length=MAX_LENGTH), _MODEL]
ServerUrl = Annotated[str, Field(max_length=MAX_LENGTH), _SERVER]
"""Scheme, host and port."""
BaseUrl = Annotated[str, Field(max_length=MAX_LENGTH), _BASE_URL]
"""Base URL of an OpenAI-compatible server."""
