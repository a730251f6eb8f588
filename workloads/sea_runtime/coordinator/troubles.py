"""Episodes that lead nowhere: told to the user, while rollouts go on trying.

A user endpoint that is down or an environment that breaks fails every episode alike. Training
would replace group after group and an evaluation would end without a number, in silence. Episodes
that are judged but teach nothing are the business of `constant_groups`.
"""

import logging

from sea_api.v1alpha1.stages import Stage, StageType
from sea_api.wire.state import Problem
from sea_runtime.coordinator import constant_groups
from sea_runtime.coordinator.core import Coordinator
from sea_runtime.coordinator.ledger import episodes
from sea_runtime.coordinator.ledger.database import Database

log = logging.getLogger(__name__)

IN_A_ROW = 16
TRY_AGAIN_S = 30.0


def look(core: Coordinator) -> Problem | None:
    """A problem when the running stage's newest episodes had no verdict, or taught nothing."""
    stage = core.running_stage
    if stage is None:
        return None
    found = of_stage(core.ledger, stage.name)
    if found is None and stage.type == StageType.RL:
        found = constant_groups.look(core.ledger, stage)
    return found


def of_stage(db: Database, stage: str) -> Problem | None:
    """None while any of the last `IN_A_ROW` attempts was judged, or there were fewer."""
    failed, error = db.rows(
        "SELECT COALESCE(SUM(e.unjudged), 0), MAX(e.error) FROM episodes e "
        "JOIN groups g ON g.number = e.group_number WHERE g.stage = ?1 "
        "AND g.number > (SELECT COALESCE(MAX(number), 0) FROM groups "
        "WHERE stage = ?1 AND mean_reward IS NOT NULL)",
        stage,
    )[0]
    judged = db.value(
        "SELECT COUNT(*) FROM groups g JOIN episodes e ON e.group_number = g.number "
        "WHERE g.stage = ? AND g.state = 'Running' AND e.state = 'Done'",
        stage,
    )
    if failed < IN_A_ROW or judged:
        return None
    return Problem(
        reason="EpisodesFail",
        message=f"The last {failed} episodes of stage '{stage}' ended without a verdict, the last "
        f"with: {error} Correct what it names; rollouts go on trying.",
    )


def try_again(core: Coordinator, stage: Stage) -> None:
    """An evaluation without a single verdict starts over, at most every `TRY_AGAIN_S`."""
    if core.clock() - core.tried_again_at < TRY_AGAIN_S:
        return
    core.tried_again_at = core.clock()
    with core.ledger.transaction():
        count = episodes.retry_failed(core.ledger, stage.name)
    log.error("stage '%s': no episode could be judged; %d are tried again", stage.name, count)
    core.bells.leases.ring()
