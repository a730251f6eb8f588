"""When to look again at a job that nothing happened to."""

from sea_operator.plan import Course, Suspension
from sea_operator.settings import Intervals

SOON = 0.2
"""After a change of course, whose consequences the next pass draws."""


def requeue(course: Course, intervals: Intervals, *, sent: bool) -> float:
    """Seconds until the next pass; `sent`: the coordinator was told something new."""
    if sent:
        return intervals.active / 2
    if course.over or course.suspension is Suspension.RELEASED:
        return intervals.idle
    return intervals.stalled if course.halt else intervals.active


def refused(seconds: float, intervals: Intervals) -> float:
    """Instead of `seconds`, where the API server refuses a child: a person must act first."""
    return max(seconds, intervals.stalled)
