"""HTML from values: every text is escaped here, so no other file of the report can forget it."""

import html
import json
from typing import Any

_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


class Html(str):
    """Markup that is safe already; a plain `str` is text."""

    __slots__ = ()


def tag(name: str, *children: str, **attributes: Any) -> Html:
    """`tag("td", "a<b", klass="n")` -> `<td class="n">a&lt;b</td>`.

    `klass` is written as class, `_` in names as `-`; attributes that are None are left out.
    """
    inside = "".join(text(child) for child in children)
    return Html(f"<{name}{_attributes(attributes)}>{inside}</{name}>")


def text(value: str) -> Html:
    """A child of a tag: markup as it is, anything else escaped."""
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def joined(parts: Any) -> Html:
    """Several pieces as one."""
    return Html("".join(text(part) for part in parts))


def embedded(value: Any, identity: str) -> Html:
    """JSON in a script element that never runs. `<` and `&` are written as escapes of JSON, so
    no text in it can close the element."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    for character, escape in _UNSAFE.items():
        body = body.replace(character, escape)
    # Lone surrogates are valid in JSON's escapes only; UTF-8 has no way to write them.
    body = body.encode("utf-8", "replace").decode("utf-8")
    return Html(f'<script type="application/json" id="{html.escape(identity)}">{body}</script>\n')


def _attributes(given: dict[str, Any]) -> str:
    names = {name: "class" if name == "klass" else name.replace("_", "-") for name in given}
    return "".join(
        f' {names[name]}="{html.escape(str(value))}"'
        for name, value in given.items()
        if value is not None
    )
