"""Bodies of server-side apply as bytes, because kubernetes 36.0.3 writes them wrongly.

The API server reads an apply patch as YAML. The library writes JSON in which a character beyond
U+FFFF is a pair of escapes; JSON allows that, YAML refuses the whole patch ("found invalid Unicode
character escape code"). An error text with an emoji (gloo's have one) thus froze a job's status.
Everything else that YAML finds unprintable stays escaped.
"""

import json
import re
from typing import Any

VERSION = "36.0.3"
CONTENT_TYPE = "application/apply-patch+yaml; charset=utf-8"
"""The API server ignores the parameter; the library passes bytes of such a type through."""
_ESCAPED = re.compile("[^\x20-\x7e\U00010000-\U0010ffff]")
_HALF = re.compile("[\ud800-\udfff]")


def encode(body: dict[str, Any]) -> bytes:
    """JSON that is YAML as well; half a surrogate pair, which is no character, becomes U+FFFD."""
    text = _HALF.sub("\ufffd", json.dumps(body, ensure_ascii=False))
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()
