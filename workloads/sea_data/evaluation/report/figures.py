"""Inline SVG that stays sharp at any width: positions are percentages, sizes of text are pixels.

Colours are classes of `assets/page.css`, so that one figure serves light and dark.
"""

from collections.abc import Sequence

from sea_data.evaluation.report.markup import Html, joined, tag

Point = tuple[float, float]
"""In percent of the figure's width and height, from the upper left."""


def bar(value: float, interval: Sequence[float] | None, title: str) -> Html:
    """A horizontal bar of `value` percent with the interval's whisker."""
    parts = [
        tag("rect", klass="track", x="0", y="4", width="100%", height="12", rx="3"),
        tag("rect", klass="value", x="0", y="4", width=f"{value:.2f}%", height="12", rx="3"),
    ]
    if interval is not None:
        parts.append(_whisker(*interval))
    return tag(
        "svg", tag("title", title), *parts, klass="bar", width="100%", height="20", role="img"
    )


def _whisker(low: float, high: float) -> Html:
    def line(x1: float, x2: float, y1: int, y2: int) -> Html:
        return tag("line", klass="whisker", x1=f"{x1:.2f}%", x2=f"{x2:.2f}%", y1=y1, y2=y2)

    return joined([line(low, high, 10, 10), line(low, low, 6, 14), line(high, high, 6, 14)])


def stack(parts: Sequence[tuple[str, float, str]], total: float) -> Html:
    """One bar of several classes: (class, amount, title), widths as shares of `total`."""
    at, rects = 0.0, []
    for name, amount, title in parts:
        share = 100.0 * amount / total if total else 0.0
        shape = {"x": f"{at:.3f}%", "y": "0", "width": f"{share:.3f}%", "height": "100%"}
        rects.append(tag("rect", tag("title", title), klass=f"part {name}", **shape))
        at += share
    return tag("svg", *rects, klass="stack", width="100%", height="22", role="img")


def path(points: Sequence[Point], name: str) -> Html:
    """A line through the points; its stroke isn't stretched with the figure."""
    given = " ".join(f"{x:.2f},{y:.2f}" for x, y in points)
    line = tag("polyline", points=given, klass=name, vector_effect="non-scaling-stroke")
    whole = {"width": "100%", "height": "100%", "viewBox": "0 0 100 100"}
    return tag("svg", line, **whole, preserveAspectRatio="none")


def rule(name: str, *, x: float | None = None, y: float | None = None) -> Html:
    """A grid line across the figure."""
    if x is not None:
        return tag("line", klass=name, x1=f"{x:.2f}%", x2=f"{x:.2f}%", y1="0", y2="100%")
    return tag("line", klass=name, x1="0", x2="100%", y1=f"{y:.2f}%", y2=f"{y:.2f}%")
