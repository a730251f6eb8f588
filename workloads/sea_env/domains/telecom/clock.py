"""The company's fixed date, and the billing dates that follow from it."""

from datetime import date, timedelta

TODAY = date(2025, 2, 25)

_TERM = timedelta(days=14)
"""Time from the issue of a bill to its due date."""


def first_of_month(day: date, months: int) -> date:
    """The first day of the month that is `months` after (negative: before) that of `day`."""
    count = day.year * 12 + day.month - 1 + months
    return date(count // 12, count % 12 + 1, 1)


def last_of_month(day: date) -> date:
    """The last day of the month of `day`."""
    return first_of_month(day, 1) - timedelta(days=1)


def bill_dates(months: int) -> dict[str, str]:
    """Period, issue and due date of the bill for the month `months` from now, as ISO strings."""
    first = first_of_month(TODAY, months)
    return {
        "period_start": first.isoformat(),
        "period_end": last_of_month(first).isoformat(),
        "issue_date": first.isoformat(),
        "due_date": (first + _TERM).isoformat(),
    }
