"""Takes headers, keys and signatures out of a text before people or logs see it.

Messages of libraries and servers quote what they were sent: botocore a refused Authorization
header, a proxy its own URL with the password. Used where messages enter status, Events and logs,
and where the object store's errors are made.
"""

import functools
import re
from typing import Any

HIDDEN = "[redacted]"

_NAMES = "|".join(
    (
        r"x-amz-(?:signature|credential|security-token)",
        r"aws[-_]?access[-_]?key[-_]?id",
        r"(?:aws[-_]?)?secret[-_]?(?:access[-_]?)?key",
        r"(?:api|access|private|account)[-_]?key(?:[-_]?id)?",
        r"(?:access|api|auth|bearer|id|refresh|sea|session|security)[-_]?token",
        r"client[-_]?secret",
        r"passw(?:or)?d",
        r"signature",
    )
)
_PATTERNS = (
    # A signed header whole, whatever stands in its middle: a line break in a key ends up there.
    (re.compile(r"AWS4-HMAC-SHA256\s+Credential=.*?Signature=[0-9A-Fa-f]*", re.DOTALL), HIDDEN),
    (re.compile(r"AWS4-HMAC-SHA256\s+Credential=[^'\"]*"), HIDDEN),
    (re.compile(r"\bAWS [A-Z0-9]{16,}:[A-Za-z0-9+/=]+"), HIDDEN),
    (
        re.compile(r"(?i)\b((?:proxy-)?authorization['\"]?\s*[:=]\s*b?['\"]?)[^\r\n'\"]+"),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}"), rf"\1 {HIDDEN}"),
    (
        re.compile(rf"(?i)((?:{_NAMES})['\"]?\s*[:=]\s*b?['\"]?)(?!['\"\s])[^\s&'\",;}}]+"),
        rf"\1{HIDDEN}",
    ),
    # A scheme of few characters: a page's inline image would take time by the square of its length.
    (re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30}://)[^/\s@'\"]+@"), rf"\1{HIDDEN}@"),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}"), HIDDEN),
    (
        re.compile(r"\b(?:sk-[A-Za-z0-9_-]{16,}|hf_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{20,})"),
        HIDDEN,
    ),
    (re.compile(r"\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"), HIDDEN),
)


_SECRET_NAME = re.compile(
    r"(?i)(?:^|[_.-])(?:(?:api|access|account|auth|encryption|private|secret|signing)[_.-]?keys?"
    r"|apikey|auth|bearer|credentials?|dsn|pass|passphrase|passw(?:or)?d|pwd|pat|secrets?|signature"
    r"|tokens?)(?:$|[_.-])"
)
_NO_SECRET = re.compile(r"(?i)(?:max|num|new)[_.-]?tokens|tokens[_.-]per|_(?:file|path|dir)$")


def is_secret_name(name: str) -> bool:
    """Whether a variable of this name probably holds a secret: `HF_TOKEN`, `WANDB_API_KEY`."""
    return bool(_SECRET_NAME.search(name)) and not _NO_SECRET.search(name)


def without_secret_values(tree: Any) -> Any:
    """A JSON value (a job's spec) without the values of variables that probably hold secrets.

    Variables are objects with `name` and `value`, wherever they are in the tree; every other text
    loses the credentials that `redacted` finds, such as a password in an address.
    """
    if isinstance(tree, list):
        return [without_secret_values(item) for item in tree]
    if isinstance(tree, str):
        return redacted(tree)
    if not isinstance(tree, dict):
        return tree
    kept = {key: without_secret_values(value) for key, value in tree.items()}
    if kept.get("value") and is_secret_name(str(kept.get("name", ""))):
        kept["value"] = HIDDEN
    return kept


def redacted(text: str) -> str:
    """The text without credentials; the same text again if there are none."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


# A status has ten messages, of which one or two are new: the search takes longer than all else that
# is done with them.
@functools.lru_cache(maxsize=1024)
def redacted_to(text: str, most: int) -> str:
    """At most `most` characters of the text without credentials.

    Cut afterwards: what is left of a credential that was cut isn't recognized, and hiding one may
    make a text longer than a field allows.
    """
    return redacted(text)[:most]


def redacted_end(text: str, most: int) -> str:
    """As `redacted_to`, but keeps the last characters."""
    return redacted(text)[-most:]


_HINTS = (
    *("authorization", "credential", "signature", "passw", "secret", "key", "token", "aws "),
    *("bearer", "basic", "@", "akia", "asia", "sk-", "hf_", "ghp_", "gho_", "ghu_", "ghs_"),
    *("ghr_", "eyj"),
)
"""Every text that `redacted` changes has one of these, in small letters."""
_TOKENS = ("tokens", "tokeniz")
"""In every log of training, and no hint."""
BLOCK = 1 << 13


def redacted_log(text: str) -> str:
    """`redacted` for many lines: most have nothing to hide, and one look tells."""
    blocks: list[list[str]] = [[]]
    size = 0
    for line in text.splitlines(keepends=True):
        if size > BLOCK:
            blocks.append([])
            size = 0
        blocks[-1].append(line)
        size += len(line)
    joined = ("".join(block) for block in blocks)
    return "".join(redacted(block) if _may_hide(block) else block for block in joined)


def _may_hide(block: str) -> bool:
    seen = block.lower()
    for harmless in _TOKENS:
        seen = seen.replace(harmless, "")
    return any(hint in seen for hint in _HINTS)
