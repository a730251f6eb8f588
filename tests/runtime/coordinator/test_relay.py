"""From whom an engine reads a weight version."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sea_api.v1alpha1.policy import Transport
from sea_runtime.coordinator.app import Components
from sea_runtime.coordinator.relay import TRAINER, Relay, choose_source, trainer_slots
from sea_runtime.wire.weights import (
    PEER,
    Adopted,
    EngineCopy,
    FailedSource,
    FetchCause,
    NotFetched,
    WeightVersion,
)
from sea_testing.coordinator import inprocess as kit


@pytest.mark.parametrize(
    ("_", "holders", "busy", "served", "trainer_free", "expected"),
    [
        ("nobody has it: the trainer", [], [], {}, 2, TRAINER),
        ("a peer that is free", ["a"], [], {}, 2, "a"),
        ("the one that served least", ["a", "b"], [], {"a": 1}, 0, "b"),
        ("not one that is being read", ["a", "b"], ["a"], {"b": 9}, 0, "b"),
        ("the trainer while all are", ["a"], ["a"], {}, 1, TRAINER),
        ("else wait", ["a"], ["a"], {}, 0, None),
        ("the trainer has gone", [], [], {}, 0, None),
    ],
)
def test_choice(
    _: str,
    holders: list[str],
    busy: list[str],
    served: dict[str, int],
    trainer_free: int,
    expected: str | None,
) -> None:
    assert choose_source(holders, busy, served, trainer_free) == expected


@pytest.mark.parametrize(
    ("ranks", "workers", "expected"), [(48, 8, 12), (1, 1, 2), (4, 8, 2), (1, 0, 2)]
)
def test_engines_that_read_from_the_trainer(ranks: int, workers: int, expected: int) -> None:
    assert trainer_slots(ranks, workers) == expected


def copy(pod: str, version: WeightVersion) -> EngineCopy:
    return EngineCopy(pod=pod, version=version.version, attempt=version.attempt, workers=[])


class Fleet:
    """Engines that ask one relay; `dead` ones don't call any longer."""

    def __init__(self) -> None:
        self.dead: set[str] = set()
        self.now = 0.0
        self.relay = Relay(
            lambda pod: pod not in self.dead, lambda pod: pod in self.dead, lambda: self.now
        )

    def ask(self, pod: str, version: WeightVersion, ranks: int = 1) -> str | None:
        """The source's name; None: wait."""
        found = self.relay.assign(pod, version, ranks, workers=1)
        if found is None:
            return None
        return found.peers[0].pod if found.peers else TRAINER

    def took(self, pod: str, version: WeightVersion) -> None:
        self.relay.announce(copy(pod, version))


@pytest.mark.parametrize("engines", [1, 2, 3, 8, 64])
def test_the_trainer_sends_as_often_to_any_number_of_engines(engines: int) -> None:
    """And the rounds grow with the logarithm."""
    fleet, version = Fleet(), kit.version(1)
    waiting, rounds = [f"e{i:02}" for i in range(engines)], 0
    sources: list[str] = []
    while waiting:
        rounds += 1
        given = {pod: source for pod in waiting if (source := fleet.ask(pod, version)) is not None}
        assert given
        peers = [source for source in given.values() if source != TRAINER]
        assert len(set(peers)) == len(peers)
        for pod in given:
            fleet.took(pod, version)
        sources += given.values()
        waiting = [pod for pod in waiting if pod not in given]
    assert sources.count(TRAINER) == min(engines, 2)
    assert rounds == max(1, (engines - 1).bit_length())


def test_a_reader_that_failed_gets_another_source() -> None:
    fleet, version = Fleet(), kit.version(1)
    for pod in ("a", "b"):
        fleet.took(pod, version)
    assert fleet.ask("c", version) == "a"
    assert fleet.ask("c", version) == "b"
    assert fleet.ask("c", version) == TRAINER
    fleet.took("c", version)
    assert fleet.ask("c", kit.version(2)) == TRAINER


def test_a_reader_that_failed_and_had_to_wait_is_not_sent_to_the_same_source() -> None:
    """A waiting engine asks again whenever anything changes: no word about its source."""
    fleet, version = Fleet(), kit.version(1)
    for pod in ("a", "b"):
        fleet.took(pod, version)
    assert [fleet.ask(pod, version, ranks=0) for pod in ("c", "d")] == ["a", "b"]
    assert [fleet.ask("c", version, ranks=0) for _ in range(3)] == [None, None, None]
    fleet.took("d", version)
    assert fleet.ask("c", version, ranks=0) in ("b", "d")


def test_a_reader_that_failed_everywhere_begins_again() -> None:
    """The version may be in no store: what failed once is all that is left."""
    fleet, version = Fleet(), kit.version(1)
    fleet.took("a", version)
    assert [fleet.ask("c", version, ranks=0) for _ in range(3)] == ["a", TRAINER, "a"]


def test_a_reader_that_had_the_version_and_lost_it_may_ask_the_same_peer() -> None:
    """It restarted after the read: that says nothing about its source."""
    fleet, version = Fleet(), kit.version(1)
    fleet.took("a", version)
    assert fleet.ask("b", version, ranks=0) == "a"
    fleet.took("b", version)
    fleet.relay.forget("b")
    assert fleet.ask("b", version, ranks=0) == "a"


def restarted(relay: Relay) -> None:
    relay.follow(*(kit.beat("c", "rollout", one, adopted=0) for one in ("i", "j")))


@pytest.mark.parametrize(
    ("_", "ended", "second"),
    [
        ("without a word: the peer failed", lambda relay: None, "b"),
        (
            "as the engine says: the peer failed",
            lambda relay: relay.unfetched("c", 1, 1, ["a"]),
            "b",
        ),
        ("by the engine's own fault", lambda relay: relay.unfetched("c", 1, 1, []), "a"),
        ("with its worker", restarted, "a"),
        ("but that was another version", lambda relay: relay.unfetched("c", 2, 1, []), "b"),
        ("but that was another attempt's", lambda relay: relay.unfetched("c", 1, 2, []), "b"),
    ],
)
def test_a_peer_is_refused_for_what_it_did_not_deliver_only(
    _: str, ended: Callable[[Relay], None], second: str
) -> None:
    """An engine that was too busy to start its fetch comes back to the peer that it was given."""
    fleet, version = Fleet(), kit.version(1)
    for pod in ("a", "b"):
        fleet.took(pod, version)
    fleet.relay._served["b"] = 1  # so that `a` comes first, and again if nothing speaks against it
    assert fleet.ask("c", version, ranks=0) == "a"
    fleet.relay._served["a"] = 0
    ended(fleet.relay)
    assert fleet.ask("c", version, ranks=0) == second


def test_nothing_is_kept_of_pods_that_are_gone() -> None:
    """An elastic role may have had hundreds of them."""
    fleet = Fleet()
    for number in range(1, 40):
        version, holder = kit.version(number), f"e{number:02}"
        fleet.took(holder, version)
        assert fleet.ask(f"r{number:02}", version, ranks=0) == holder
        for reader in ("x", "y"):
            fleet.relay.damaged(holder, reader, number, version.attempt)
        fleet.took(holder, version)
        assert fleet.ask("z", version, ranks=0) is None
        fleet.dead |= {holder, f"r{number:02}", "z"}
    fleet.took("last", kit.version(40))
    tables = {name: one for name, one in vars(fleet.relay).items() if isinstance(one, dict)}
    assert {name: len(one) for name, one in tables.items()} == {
        "_copies": 1,
        "_reads": 0,
        "_served": 0,
        "_refused": 0,
        "_damaged": 0,
    }


def test_a_holder_of_other_bytes_that_is_silent_for_a_moment_stays_one() -> None:
    fleet, version = Fleet(), kit.version(1)
    fleet.took("a", version)
    for reader in ("x", "y"):
        fleet.relay.damaged("a", reader, 1, version.attempt)
    fleet.dead.add("a")
    fleet.took("b", version)
    fleet.dead.clear()
    fleet.took("a", version)
    assert [fleet.ask(pod, version, ranks=0) for pod in ("c", "d")] == ["b", None]


def test_a_dead_reader_frees_its_source_and_a_dead_holder_is_none() -> None:
    fleet, version = Fleet(), kit.version(1)
    fleet.took("a", version)
    assert [fleet.ask(pod, version, ranks=0) for pod in ("b", "c")] == ["a", None]
    fleet.dead.add("b")
    assert fleet.ask("c", version, ranks=0) == "a"
    fleet.dead.add("a")
    assert fleet.ask("d", version) == TRAINER
    assert fleet.relay.copies() == set()


def test_a_read_that_never_ends_frees_its_source_in_the_end() -> None:
    fleet, version = Fleet(), kit.version(1)
    fleet.took("a", version)
    assert [fleet.ask(pod, version, ranks=0) for pod in ("b", "c")] == ["a", None]
    fleet.now = 1e4
    assert fleet.ask("c", version, ranks=0) == "a"


def test_readers_of_the_trainer_that_serve_nobody_don_t_keep_it_from_others() -> None:
    """As where an engine could not register its memory."""
    fleet, version = Fleet(), kit.version(1)
    for pod in ("a", "b"):
        assert fleet.ask(pod, version) == TRAINER
    assert fleet.ask("c", version) is None
    for pod in ("a", "b"):
        fleet.relay.ended(pod, 1)
    assert fleet.ask("c", version) == TRAINER


def test_readers_of_the_trainer_that_deliver_nothing_don_t_keep_it_from_others() -> None:
    """Else the others would wait for the next version, however long its step takes."""
    fleet, version = Fleet(), kit.version(1)
    assert [fleet.ask(pod, version) for pod in ("a", "b")] == [TRAINER, TRAINER]
    for pod in ("a", "b"):
        fleet.took(pod, version)
    assert [fleet.ask("c", version) for _ in range(4)] == ["a", "b", TRAINER, TRAINER]
    for holder in ("a", "b"):
        for reader in ("c", "d"):
            fleet.relay.damaged(holder, reader, 1, version.attempt)
        fleet.took(holder, version)
    assert fleet.ask("e", version) == TRAINER


def test_another_attempt_s_version_is_another_one() -> None:
    fleet = Fleet()
    fleet.took("a", kit.version(1, attempt=1))
    assert fleet.ask("b", kit.version(1, attempt=2)) == TRAINER


@pytest.fixture
def core(tmp_path: Path) -> Components:
    return kit.coordinator(tmp_path, kit.desired(kit.spec()), kit.Clock())


def published(core: Components, number: int, attempt: int = 1) -> WeightVersion:
    fast = {"nixl_agent": "a", "nixl_metadata": "m", "nixl_address": 7}
    version = kit.version(number, attempt)
    shards = [shard.model_copy(update=fast) for shard in version.shards]
    version = version.model_copy(update={"shards": shards})
    core.weights.publish(version)
    return version


def alive(core: Components, pod: str, adopted: int | None, incarnation: str = "i") -> None:
    core.heartbeats.heard(kit.beat(pod, "rollout", incarnation, adopted=adopted))


EARLY_FAILED = FailedSource(
    transport=PEER, name="early", cause=FetchCause.TIMED_OUT, reason="did not deliver"
)


def test_a_late_engine_reads_from_a_peer_when_the_trainer_has_gone(core: Components) -> None:
    """Version 1 of attempt 1 is in no store; attempt 2 has published nothing yet."""
    version = published(core, 1)
    alive(core, "early", 1)
    core.weights.announce("policy", copy("early", version))
    core.job.adopt(kit.desired(kit.spec(), attempt=2))
    reply = kit.some(core.weights.query("policy", 0, "late"))
    newest = kit.some(reply.newest)
    assert (newest.version, newest.attempt, newest.relay) == (1, 1, True)
    assert [peer.pod for peer in newest.peers] == ["early"]
    assert [shard.nixl_agent for shard in newest.shards] == [None]
    # Published again by attempt 2 with other weights: the engine's copy is of no use.
    again = published(core, 1, attempt=2)
    newest = kit.some(kit.some(core.weights.query("policy", 0, "late")).newest)
    assert (newest.attempt, newest.peers, newest.shards) == (2, [], again.shards)


@pytest.mark.parametrize(
    ("_", "change"),
    [
        ("its engine restarted", lambda core: alive(core, "early", 0)),
        ("its engine is down", lambda core: alive(core, "early", None)),
        ("its worker restarted", lambda core: alive(core, "early", 1, "j")),
        (
            "a reader could not read from it",
            lambda core: core.weights.adopted(
                "policy",
                Adopted(
                    pod="other",
                    version=1,
                    transport="NIXL",
                    transfer_s=0,
                    apply_s=0,
                    pause_s=0,
                    failed_sources=[EARLY_FAILED],
                ),
            ),
        ),
        (
            "a reader could not read from it, and got the version from nowhere",
            lambda core: core.weights.unfetched(
                "policy",
                NotFetched(pod="other", version=1, attempt=1, failed_sources=[EARLY_FAILED]),
            ),
        ),
    ],
)
def test_an_engine_that_lost_its_copy_is_no_source(
    core: Components, _: str, change: Callable[[Components], None]
) -> None:
    version = published(core, 1)
    alive(core, "early", 1)
    core.weights.announce("policy", copy("early", version))
    change(core)
    assert kit.some(kit.some(core.weights.query("policy", 0, "late")).newest).peers == []


@pytest.mark.parametrize(
    ("readers", "named"),
    [(["a"], ["early"]), (["a", "a"], ["early"]), (["a", "b"], [])],
)
def test_two_readers_that_got_other_bytes_end_a_holder_and_one_does_not(
    core: Components, readers: list[str], named: list[str]
) -> None:
    """The holder announces its copy again as soon as it is asked: it would damage reads for ever.
    One reader's own memory may be at fault."""
    version = published(core, 1)
    alive(core, "early", 1)
    damaged = EARLY_FAILED.model_copy(update={"cause": FetchCause.DAMAGED})

    def peers() -> list[str]:
        offered = kit.some(kit.some(core.weights.query("policy", 0, "late")).newest)
        return [one.pod for one in offered.peers]

    for reader in readers:
        core.weights.announce("policy", copy("early", version))
        report = NotFetched(pod=reader, version=1, attempt=1, failed_sources=[damaged])
        core.weights.unfetched("policy", report)
    assert core.weights.nothing_newer("policy", 1, "early").announce
    core.weights.announce("policy", copy("early", version))
    assert peers() == named
    # What it holds next is another matter.
    core.weights.announce("policy", copy("early", published(core, 2)))
    assert peers() == ["early"]


def test_an_engine_announces_again_after_the_coordinator_s_restart(core: Components) -> None:
    version = published(core, 1)
    assert core.weights.nothing_newer("policy", 1, "early").announce
    core.weights.announce("policy", copy("early", version))
    assert not core.weights.nothing_newer("policy", 1, "early").announce
    assert not core.weights.nothing_newer("policy", 0, "late").announce


def test_a_copy_is_kept_until_its_engine_calls_the_restarted_coordinator(core: Components) -> None:
    """It may announce before its first heartbeat; another one's announcement drops nothing then."""
    version = published(core, 1)
    for pod in ("early", "other"):
        core.weights.announce("policy", copy(pod, version))
    alive(core, "early", 1)
    newest = kit.some(kit.some(core.weights.query("policy", 0, "late")).newest)
    assert [peer.pod for peer in newest.peers] == ["early"]


def test_engines_that_share_only_the_store_are_given_no_peer(core: Components) -> None:
    version = published(core, 1)
    alive(core, "early", 1)
    core.weights.announce("policy", copy("early", version))
    spec = kit.spec()
    store_only = spec.model_copy(
        update={"weights": spec.weights.model_copy(update={"transport": Transport.OBJECT_STORE})}
    )
    core.job.adopt(kit.desired(store_only))
    newest = kit.some(kit.some(core.weights.query("policy", 0, "late")).newest)
    assert (newest.peers, newest.relay) == ([], False)
