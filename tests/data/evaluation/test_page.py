"""The report page: one file, nothing foreign in it, whatever models wrote."""

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from sea_data.evaluation import scores
from sea_data.evaluation.records import EpisodeRecord
from sea_data.evaluation.report import Page, payload, render
from sea_data.evaluation.report.payload import embedded

EVIL = "</script><img src=x onerror=alert(1)><!-- <script>\u2028' \" &amp; \ud800"

NAME = "</script><img src=x onerror=alert(1)>"


def record(number: int, reward: float | None = 1.0, text: str = "Hi", **more: Any) -> EpisodeRecord:
    call = {"name": text, "arguments": {text: text}}
    transcript = (
        {"role": "user", "content": text},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": f"Error: {text}"},
    )
    known = {"stop": "UserStop", "details": {"DB": reward}, "transcript": transcript, **more}
    return EpisodeRecord(
        "shop", f"t{number // 4}", f"f:{number // 4}", number % 4, 1, reward, **known
    )


def page(records: list[EpisodeRecord], **more: Any) -> str:
    settings = {"trials": 4, "model": more.pop("model", "m")}
    return render(Page(scores.report("eval", records, settings=settings), records, **more))


class Elements(HTMLParser):
    """What a browser would build: tags with attributes, and the text of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self._script: str | None = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag == "script":
            self._script = dict(attrs).get("id") or "code"

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._script = None

    def handle_data(self, data: str) -> None:
        if self._script is not None:
            self.scripts[self._script] = self.scripts.get(self._script, "") + data


def evil_page() -> str:
    records = [
        record(0, 0.0, EVIL, request=EVIL, error=EVIL, database=EVIL,
               expected={"actions": [{"name": EVIL, "arguments": {"a": EVIL}}],
                         "communicate": [EVIL]}),
        EpisodeRecord(NAME, EVIL, EVIL, 0, 1, 1.0, details={EVIL: 1.0}),
    ]  # fmt: skip
    metrics = [{"stage": EVIL, "step": n, "metrics": {"reward": n / 3}} for n in range(3)]
    earlier = [{**scores.report("x", records, settings={})["results"][-1], "stage": EVIL}]
    return page(records, title=EVIL, made=EVIL, model=EVIL, earlier=earlier, metrics=metrics)


def test_no_text_becomes_markup() -> None:
    """`</script><img onerror>` in every field: no image, no script but ours, no handler."""
    found = Elements(evil_page())
    assert not [name for name, _ in found.found if name in {"img", "iframe", "link", "object"}]
    handlers = [a for _, attributes in found.found for a in attributes if a.startswith("on")]
    assert not handlers
    kinds = [attributes.get("type") for name, attributes in found.found if name == "script"]
    assert kinds == ["application/json"] * (len(kinds) - 1) + [None], "one script runs, the last"
    body = json.loads(found.scripts["e0"]), json.loads(found.scripts["e1"])
    told = [text for b in body for m in b["messages"] for text in [m["content"]]]
    assert EVIL.replace("\ud800", "?") in told, "texts arrive as they were"
    assert "onerror" not in found.scripts["code"]


def test_nothing_is_loaded_from_elsewhere() -> None:
    text = page([record(n) for n in range(8)])
    shown = [a for _, a in Elements(text).found]
    assert not [a for a in shown if {"src", "href"} & set(a)]
    assert not re.search(r"https?://|@import|url\(", text)
    assert "default-src 'none'" in text


def test_the_numbers_are_in_the_page() -> None:
    records = [record(n, float(n % 4 > 0)) for n in range(40)] + [record(40, None, error="503")]
    text = page(records)
    assert "<b>75.0</b>" in text
    assert "95% interval 75.0 to 75.0" in text
    assert "No verdict (infrastructure)" in text
    assert json.loads(Elements(text).scripts["index"])[0] == {
        "domain": "shop", "task": "t0", "row": "f:0", "trial": 0, "outcome": "failed",
        "kind": "tool-errors", "request": "", "turns": 0, "calls": 1,
    }  # fmt: skip


@pytest.mark.parametrize("records", [[], [record(0, None, error="down")], [record(0)]])
def test_little_to_show_is_shown(records: list[EpisodeRecord]) -> None:
    assert page(records).startswith("<!doctype html>")


def test_huge_texts_are_cut_and_huge_pages_keep_the_failures() -> None:
    body = str(next(payload.bodies([record(0, 0.0, "x" * 1_000_000)])))
    assert len(body) < 120_000
    assert "980,000 more characters" in body
    records = [record(0), record(1, 0.0), record(2)]
    (only,) = payload.bodies(records, most=len(str(next(payload.bodies(records[1:2])))) + 1)
    assert 'id="e1"' in only


def test_of_two_thousand_transcripts_the_browser_parses_only_a_list() -> None:
    """And a body when it is opened: each is a script of its own."""
    records = [record(n, float(n % 3 > 0), "word " * 200) for n in range(2000)]
    text = page(records)
    assert text.count('<script type="application/json"') == 2002
    assert len(Elements(text).scripts["index"]) < 400_000


def test_no_text_closes_the_element_that_embeds_it() -> None:
    made = embedded(EVIL, 'x"y')
    assert made.startswith('<script type="application/json" id="x&#34;y">')
    assert "</script>" not in made.removesuffix("</script>\n")
