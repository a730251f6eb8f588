"""Text of the report page can be read, in light and in dark (WCAG 2.1 AA: 4.5 to 1)."""

import itertools
import re
from importlib import resources

import pytest

TEXTS = ("ink", "soft", "faint", "accent", "good", "bad")
GROUNDS = ("page", "card", "sunk", "tint")
CSS = (resources.files("sea_data.evaluation.report") / "assets" / "page.css").read_text()
BLOCKS = re.findall(r"--page:.*?(?=color-scheme)", CSS, re.DOTALL)


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_contrast(number: int) -> None:
    colours = dict(re.findall(r"--([a-z-]+): #([0-9a-f]{6})", BLOCKS[number]))
    pairs = [
        *itertools.product(TEXTS, GROUNDS),
        *(("good", "good-tint"), ("bad", "bad-tint"), ("ink", "mark")),
    ]
    poor = {
        (text, ground): round(contrast(colours[text], colours[ground]), 2)
        for text, ground in pairs
        if contrast(colours[text], colours[ground]) < 4.5
    }
    assert not poor


def test_dark_is_the_same_by_system_and_by_choice() -> None:
    assert len(BLOCKS) == 3
    assert BLOCKS[1].split() == BLOCKS[2].split()
