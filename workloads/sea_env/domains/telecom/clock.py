"""The company's fixed day, and the dates that its billing derives from it."""

from datetime import date, timedelta

TODAY = date(2025, 2, 25)

_TERM = timedelta(days=14)
"""From issue to due date."""


def first_of_month(day: date, months: int) -> date:
    """The first day of the month so many months after (or before) that of `day`."""
    count = day.year * 12 + day.month - 1 + months
    return date(count // 12, count % 12 + 1, 1)


def last_of_month(day: date) -> date:
    return first_of_month(day, 1) - timedelta(days=1)


def bill_dates(months: int) -> dict[str, str]:
    """Period, issue and due date of a bill for the month so many months from now, as ISO texts."""
    first = first_of_month(TODAY, months)
    return {
        "period_start": first.isoformat(),
        "period_end": last_of_month(first).isoformat(),
        "issue_date": first.isoformat(),
        "due_date": (first + _TERM).isoformat(),
    }
