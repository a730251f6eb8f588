"""The staleness gate: how many groups may start now, and on which engines. Pure.

It is AReaL's bound at submission (`areal/infra/staleness_manager.py`), a group as one unit.
`accepted` comes from the ledger after every restart, never from `version * batch`: the bound
neither explodes (areal-project/AReaL issue 1388) nor starves after a recovery.
"""

from math import floor


def capacity(
    *,
    max_concurrent: int,
    running: int,
    accepted: int,
    version: int,
    staleness: int,
    batch: int,
    steps: int,
    kept_share: float = 1.0,
) -> int:
    """Groups that may be issued now, at least 0.

    Args:
        max_concurrent: groups that may run at one time.
        running: groups issued and not finished.
        accepted: groups of this stage that were admitted, those of earlier batches included;
            dropped and failed groups don't count, so that each is replaced by exactly one.
        version: batches of this stage that the trainer has consumed and published.
        staleness: eta, versions that a batch may lag behind.
        batch: groups in one batch.
        steps: batches of the whole stage; no group is issued that no batch can use.
        kept_share: of the groups that finish; a running one counts for as much. Where the gate is
            the limit, a stage that drops half of its groups would otherwise wait for replacements
            of the dropped ones at the end of every batch.
    """
    by_concurrency = max_concurrent - running
    # `+ 1` is the batch that the trainer works toward now: with staleness 0
    # exactly that one fills up.
    batches = min(staleness + version + 1, steps)
    # Negative if a user lowered a bound while more groups than it allows were running.
    return max(0, min(by_concurrency, floor(batches * batch - accepted - running * kept_share)))


def may_generate(
    *,
    accepted: int,
    running: int,
    served: int,
    version: int,
    staleness: int,
    batch: int,
    kept_share: float = 1.0,
) -> bool:
    """Whether an engine that serves `served` (counted as `version` is) may take episodes.

    `capacity` counts from the newest version. What an engine that lags behind it generates is older
    by as much, so the newest groups may be too many for it already; once it has caught up, never.
    """
    expected = accepted + running * kept_share
    return served >= version or expected <= (staleness + served + 1) * batch
