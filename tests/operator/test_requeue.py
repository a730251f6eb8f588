"""How soon to look again."""

from typing import Any

import pytest

from sea_operator.decide import requeue
from sea_operator.observed import Blocker
from sea_operator.plan import Lifecycle, Outcome, Suspension
from sea_operator.settings import Intervals

HALT = Blocker("R", "M.")


@pytest.mark.parametrize(
    ("lifecycle", "sent", "expected"),
    [
        (Lifecycle(), False, 1.0),
        (Lifecycle(), True, 0.5),
        (Lifecycle(blocker=HALT), False, 5.0),
        (Lifecycle(suspension=Suspension.DRAINING), False, 1.0),
        (Lifecycle(suspension=Suspension.RELEASED), False, 30.0),
        (Lifecycle(outcome=Outcome.COMPLETE), False, 30.0),
        (Lifecycle(outcome=Outcome.FAILED, blocker=HALT), False, 30.0),
    ],
)
def test_requeue(lifecycle: Any, sent: bool, expected: float) -> None:
    assert requeue(lifecycle, Intervals(), sent=sent) == expected
