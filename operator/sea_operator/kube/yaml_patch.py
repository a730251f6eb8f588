"""Bodies of patches as JSON that is valid YAML too.

Workaround for Kubernetes (seen in 1.36): the API server reads an apply patch as YAML, and refuses
the whole patch for a character beyond U+FFFF that is written as a pair of escapes, as JSON allows.
An emoji in an error message once froze a job's status. `tests/operator/test_kube_client.py` pins
what comes out.
"""

import contextlib
import json
import re
from typing import Any

import orjson

# What YAML calls unprintable, and half a surrogate pair, which is no character at all.
_ESCAPED = re.compile("[^\x20-\x7e\U00010000-\U0010ffff]")
_HALF = re.compile("[\ud800-\udfff]")


def apply_body(body: dict[str, Any]) -> bytes:
    """JSON without escaped pairs; half a pair becomes U+FFFD."""
    with contextlib.suppress(TypeError):  # orjson refuses half a pair
        fast = orjson.dumps(body)
        # JSON leaves DEL as it is; YAML calls it unprintable and refuses the patch.
        if fast.isascii() and b"\x7f" not in fast:
            return fast
    text = _HALF.sub("\ufffd", json.dumps(body, ensure_ascii=False))
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()
