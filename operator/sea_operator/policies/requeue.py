"""When to look again at a job that nothing happened to."""

from sea_operator.plan import Course, Suspension
from sea_operator.settings import Intervals

SOON = 0.2
"""After a change of course, whose consequences the next pass draws."""


def requeue(course: Course, intervals: Intervals, *, changed: bool) -> float:
    """Seconds until the next pass."""
    if changed:
        return SOON
    if course.over or course.suspension is Suspension.RELEASED:
        return intervals.idle
    return intervals.stalled if course.halt else intervals.active
