"""The page in a real browser: hostile texts stay texts, filters work, nothing overflows.

Drives Chromium over its DevTools protocol; skipped where there is none.
"""

import asyncio
import itertools
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from sea_data.evaluation import scores
from sea_data.evaluation.records import EpisodeRecord
from sea_data.evaluation.report import Page, render
from sea_testing.waiting import HANG_S

PROGRAM = shutil.which("chromium") or shutil.which("google-chrome") or ""
pytestmark = [
    pytest.mark.component,
    pytest.mark.skipif(not PROGRAM, reason="there is no Chromium on this machine"),
]
EVIL = (
    "</script><img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
)
TIMEOUT_S = HANG_S


class Tab:
    """One page of the browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.thrown: list[Any] = []

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            message = json.loads((await self._socket.receive(TIMEOUT_S)).data)
            if message.get("method") == "Runtime.exceptionThrown":
                self.thrown.append(message)
            if message.get("id") == number:
                assert "error" not in message, message
                found: dict[str, Any] = message["result"]
                return found

    async def run(self, code: str) -> Any:
        done = await self.call(
            "Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    async def open(self, path: Path, width: int) -> None:
        await self.call("Runtime.enable")
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        await self.call("Emulation.setDeviceMetricsOverride", **size)
        await self.call("Page.navigate", url=path.as_uri())
        loaded = "location.protocol === 'file:' && document.readyState === 'complete'"
        async with asyncio.timeout(TIMEOUT_S):
            while not await self.run(loaded):  # noqa: ASYNC110 - nothing tells us
                await asyncio.sleep(0.02)


async def page_at(session: aiohttp.ClientSession, address: str) -> str:
    """The browser listens a moment before its first page is there."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            async with session.get(address) as reply:
                pages = [one for one in await reply.json() if one["type"] == "page"]
            if pages:
                return str(pages[0]["webSocketDebuggerUrl"])
            await asyncio.sleep(0.05)


@pytest_asyncio.fixture
async def tab(tmp_path: Path) -> AsyncIterator[Tab]:
    profile = tmp_path / "profile"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        *flags,
        f"--user-data-dir={profile}",
        "about:blank",
        stderr=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        port = profile / "DevToolsActivePort"
        async with asyncio.timeout(TIMEOUT_S):
            while not port.exists() or "\n" not in port.read_text():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        address = f"http://127.0.0.1:{port.read_text().split()[0]}/json"
        async with aiohttp.ClientSession() as session:
            url = await page_at(session, address)
            async with session.ws_connect(url, max_msg_size=0) as socket:
                yield Tab(socket)
    finally:
        process.terminate()
        await process.wait()


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """Eighty episodes in two domains, one of them hostile in every field."""
    records = [
        EpisodeRecord(
            domain, f"{domain}_{n}", f"f:{n}", trial, 1, float(n % 3 > 0), stop="UserStop",
            details={"DB": float(n % 3 > 0)}, request=f"Want {n}.",
            transcript=({"role": "user", "content": f"needle{n} in {domain}"},
                        {"role": "assistant", "content": "", "tool_calls": [
                            {"name": "look", "arguments": {"n": n}}]},
                        {"role": "tool", "content": '{"found": true}'}),
        )
        for domain in ("retail", "shop") for n in range(10) for trial in range(4)
    ]  # fmt: skip
    said = {"role": "assistant", "content": EVIL, "tool_calls": [{"name": EVIL, "arguments": {}}]}
    records.append(
        EpisodeRecord("shop", EVIL, EVIL, 0, 1, 0.0, details={EVIL: 0.0}, request=EVIL,
                      transcript=(said, {"role": "tool", "content": EVIL}))
    )  # fmt: skip
    file = tmp_path / "page.html"
    report = scores.report("eval", records, settings={"model": EVIL})
    file.write_text(render(Page(report, records, title=EVIL)))
    return file


async def choose(tab: Tab, key: str, value: str) -> str:
    shown: str = await tab.run(
        f"(() => {{ const box = document.querySelector('[data-key={key}]');"
        f" box.value = '{value}'; box.dispatchEvent(new Event('change'));"
        " return document.querySelector('.count').textContent; })()"
    )
    return shown


@pytest.mark.parametrize("width", [390, 1280])
async def test_nothing_overflows_and_nothing_throws(tab: Tab, page: Path, width: int) -> None:
    await tab.open(page, width)
    assert await tab.run("document.documentElement.scrollWidth") <= width
    assert tab.thrown == []


async def test_hostile_texts_stay_texts(tab: Tab, page: Path) -> None:
    await tab.open(page, 1280)
    entries = "[...document.querySelectorAll('#list .entry')]"
    await tab.run(f"{entries}.find(e => e.textContent.includes('onerror')).click()")
    assert "onerror" in await tab.run("document.getElementById('reader').textContent")
    assert await tab.run("document.images.length") == 0
    assert "owned" not in await tab.run("document.title.replace(/<[^>]*>|document[^<]*/g, '')")
    assert await tab.run("document.title") != "owned"


async def test_filters_find_transcripts(tab: Tab, page: Path) -> None:
    await tab.open(page, 1280)
    assert await choose(tab, "domain", "retail") == "40 of 81"
    assert await choose(tab, "outcome", "failed") == "16 of 81"
    assert await choose(tab, "domain", "") == "33 of 81"
    assert await choose(tab, "outcome", "") == "81 of 81"
    await tab.run(
        "(() => { const box = document.querySelector('#filters input'); box.value = 'NEEDLE7 in';"
        " box.dispatchEvent(new Event('input'));"
        " return new Promise(done => { const look = () =>"
        " document.querySelector('.count').textContent.startsWith('8 ') ? done() :"
        " setTimeout(look, 20); look(); }); })()"
    )
    await tab.run("document.querySelector('#list .entry').click()")
    assert await tab.run("document.querySelector('#reader mark').textContent") == "needle7 in"
    assert await tab.run("document.querySelector('details.tool').open") is False


async def test_a_narrow_screen_shows_list_or_reader(tab: Tab, page: Path) -> None:
    await tab.open(page, 390)
    shown = "getComputedStyle(document.getElementById('reader')).display"
    assert await tab.run(shown) == "none"
    await tab.run("document.querySelector('#list .entry').click()")
    assert await tab.run(shown) == "block"
    await tab.run("document.querySelector('.back').click()")
    assert await tab.run(shown) == "none"


async def press(tab: Tab, key: str) -> None:
    """A key as a person presses it."""
    text = {"text": key} if len(key) == 1 else {}
    await tab.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
    await tab.call("Input.dispatchKeyEvent", type="keyUp", key=key)


async def test_the_keyboard_steps_searches_and_comes_back(tab: Tab, page: Path) -> None:
    await tab.open(page, 1280)
    chosen = "document.querySelector('#list [aria-current]').dataset.n"
    first = await tab.run(chosen)
    await tab.run("document.querySelector('#list .entry').focus()")
    await press(tab, "j")
    assert await tab.run(chosen) != first
    assert await tab.run(f"document.activeElement.dataset.n === {chosen}"), "Tab goes on from it"
    await press(tab, "k")
    assert await tab.run(chosen) == first
    await press(tab, "/")
    assert await tab.run("document.activeElement.type") == "search"
    await press(tab, "j")
    assert await tab.run("document.activeElement.value") == "j", "typed, not a step"


async def test_focus_follows_a_reader_that_covers_the_list(tab: Tab, page: Path) -> None:
    await tab.open(page, 390)
    await tab.run("document.querySelector('#list .entry').click()")
    assert await tab.run("document.activeElement.className") == "back pill"
    await press(tab, "Escape")
    assert await tab.run("document.activeElement.classList.contains('entry')")


async def test_tool_calls_unfold_together(tab: Tab, page: Path) -> None:
    await tab.open(page, 1280)
    unfolded = "[...document.querySelectorAll('#reader details.tool')].map(tool => tool.open)"
    for wanted, then in ((True, "Fold tool calls"), (False, "Unfold tool calls")):
        await tab.run("document.querySelector('#reader .fold').click()")
        assert set(await tab.run(unfolded)) == {wanted}
        assert await tab.run("document.querySelector('#reader .fold').textContent") == then


@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_no_open_transcript_overflows(tab: Tab, page: Path, width: int, theme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": theme}]
    await tab.call("Emulation.setEmulatedMedia", features=features)
    await tab.open(page, width)
    entries = "[...document.querySelectorAll('#list .entry')]"
    await tab.run(f"{entries}.find(e => e.textContent.includes('onerror')).click()")
    await tab.run("document.querySelector('#reader .fold').click()")
    wide = "(() => { const r = document.getElementById('reader');"
    assert await tab.run(f"{wide} return r.scrollWidth <= r.clientWidth; }})()")
    assert await tab.run("document.documentElement.scrollWidth") <= width
    scheme = await tab.run("getComputedStyle(document.documentElement).colorScheme")
    assert scheme == theme


@pytest.mark.parametrize("width", [390, 1280])
async def test_long_names_leave_room_for_the_numbers(tab: Tab, tmp_path: Path, width: int) -> None:
    """The column of names stays in sight while the numbers are scrolled beneath it."""
    domains = ("airline", "a-package-with-a-long-name:warehouse-logistics")
    records = [
        EpisodeRecord(domain, f"t{n}", f"f:{n}", 0, 1, 1.0) for domain in domains for n in (0, 1)
    ]
    report = scores.report("eval", records, settings={})
    earlier = scores.report("before", records, settings={})["results"]
    file = tmp_path / "page.html"
    file.write_text(render(Page(report, records, earlier=earlier)))
    await tab.open(file, width)
    names, whole = await tab.run(
        "['.scores tbody th', '.scroll'].map(part => document.querySelector(part).clientWidth)"
    )
    assert names <= whole / 2
