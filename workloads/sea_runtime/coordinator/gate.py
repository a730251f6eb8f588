"""The staleness gate: how many more groups may start now.

AReaL's bound at submission (`areal/infra/staleness_manager.py`), a group as one unit. `accepted`
comes from the ledger after every restart, never from `version * batch`: the bound neither explodes
(areal-project/AReaL issue 1388) nor starves after a recovery.
"""


def capacity(
    *,
    max_concurrent: int,
    running: int,
    accepted: int,
    version: int,
    staleness: int,
    batch: int,
    steps: int,
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
    """
    by_concurrency = max_concurrent - running
    # `+ 1` is the batch that the trainer works toward now: with staleness 0
    # exactly that one fills up.
    batches = min(staleness + version + 1, steps)
    # Negative if a user lowered a bound while more groups than it allows were running.
    return max(0, min(by_concurrency, batches * batch - (accepted + running)))


def may_generate(
    *, accepted: int, running: int, served: int, version: int, staleness: int, batch: int
) -> bool:
    """Whether an engine that serves `served` (counted as `version` is) may take episodes.

    `capacity` counts from the newest version. What an engine that lags behind it generates is older
    by as much, so the newest groups may be too many for it already; once it has caught up, never.
    """
    return served >= version or accepted + running <= (staleness + served + 1) * batch
