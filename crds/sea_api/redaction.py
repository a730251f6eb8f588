"""Takes headers, keys and signatures out of a text before people or logs see it.

Messages of libraries and servers quote what they were sent: botocore a refused Authorization
header, a proxy its own URL with the password. Used where messages enter status, Events and logs,
and where the object store's errors are made.
"""

import re

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
    (re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^/\s@'\"]+@"), rf"\1{HIDDEN}@"),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}"), HIDDEN),
    (
        re.compile(r"\b(?:sk-[A-Za-z0-9_-]{16,}|hf_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{20,})"),
        HIDDEN,
    ),
    (re.compile(r"\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"), HIDDEN),
)


def redacted(text: str) -> str:
    """The text without credentials; the same text again if there are none."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text
