"""How soon to look again."""

import pytest

from sea_operator.plan import Course, Halt, Outcome, Suspension
from sea_operator.policies.requeue import requeue
from sea_operator.settings import Intervals

HALT = Halt("R", "M.")


@pytest.mark.parametrize(
    ("course", "sent", "expected"),
    [
        (Course(), False, 1.0),
        (Course(), True, 0.5),
        (Course(halt=HALT), False, 3.0),
        (Course(suspension=Suspension.DRAINING), False, 1.0),
        (Course(suspension=Suspension.RELEASED), False, 30.0),
        (Course(outcome=Outcome.COMPLETE), False, 30.0),
        (Course(outcome=Outcome.FAILED, halt=HALT), False, 30.0),
    ],
)
def test_requeue(course, sent, expected):
    assert requeue(course, Intervals(), sent=sent) == expected
