"""Another revision of the operator changes no running pods; attempts, resumes and edits do."""

import copy
import dataclasses
from typing import Any

import pytest

from sea_api.contract import HASH_LABEL, MADE_BY_ANNOTATION, SECRETS_ANNOTATION
from sea_api.v1alpha1.policy import Role
from sea_operator.decide import decide
from sea_operator.policies.updates import sentence_about, update
from sea_operator.resources.build import objects, token_digest
from sea_operator.resources.role_settings import full_size
from sea_operator.settings import Images, revision
from sea_operator.status import compute

OLD = "old"
NEW = "new"


def made(make: Any, job: Any, images: Images | None = None, token: str | None = None) -> Any:
    digest = token_digest(token or make.token)
    return objects(job, job.spec, full_size(job.spec), images or Images(), digest, {})


def hash_of(child: Any) -> str:
    return str(child["spec"]["template"]["metadata"]["labels"][HASH_LABEL])


def trainer(children: Any) -> Any:
    return next(
        child
        for child in children
        if (child["kind"], child["metadata"]["name"]) == ("StatefulSet", "j-trainer")
    )


def record_of(child: Any) -> Any:
    return child["metadata"].get("annotations", {}).get(MADE_BY_ANNOTATION)


class Case:
    """A job whose children the revision OLD made, with the trainer's record as given."""

    def __init__(self, make: Any, *, record: str | None = "", handled: bool = True) -> None:
        seen = 1 if handled else 0
        self.make = make
        self.job = make.job(status=make.status(observed_generation=seen))
        children = make.children(self.job)
        for (kind, _), live in children.items():
            if kind == "StatefulSet":
                live["metadata"]["annotations"] = {MADE_BY_ANNOTATION: f"{OLD}.{hash_of(live)}"}
        self.live = children["StatefulSet", "j-trainer"]
        if record is None:
            del self.live["metadata"]["annotations"]
        elif record:
            self.live["metadata"]["annotations"][MADE_BY_ANNOTATION] = record
        self.observed = make.observed(self.job, children=children)
        self.newer = made(make, self.job, Images(trainer="trainer:2"))

    def ask(self, revision: str = NEW, renews: bool = False, newer: Any = None) -> Any:
        return update(self.observed, newer or self.newer, revision, renews=renews)


@pytest.mark.parametrize(
    ("record", "handled", "renews", "revision", "keeps"),
    [
        pytest.param("", True, False, NEW, True, id="another revision, no edit"),
        pytest.param(None, True, False, NEW, True, id="a release without records, no edit"),
        pytest.param("", True, True, NEW, False, id="a new attempt or a resume"),
        pytest.param("", False, False, NEW, False, id="an edit that no pass has applied"),
        pytest.param(None, False, False, NEW, False, id="the same, without a record"),
        pytest.param("", True, False, OLD, False, id="the same revision: inputs changed"),
        pytest.param("new.{wanted}", True, False, NEW, True, id="waits already"),
        pytest.param("new.{wanted}", False, False, NEW, True, id="an edit of something else"),
        pytest.param("new.other", True, False, NEW, False, id="an edit while it waits"),
        pytest.param("third.other", True, False, NEW, True, id="waited under a third revision"),
    ],
)
def test_whether_a_set_keeps_its_template(
    make: Any, record: str | None, handled: bool, renews: bool, revision: str, keeps: bool
) -> None:
    case = Case(make)
    wanted = hash_of(trainer(case.newer))
    case = Case(make, record=record.format(wanted=wanted) if record else record, handled=handled)
    found = case.ask(revision, renews)
    child = trainer(found.children)
    assert (hash_of(child) == hash_of(case.live)) is keeps
    assert record_of(child) == f"{revision}.{wanted}"
    assert [one.role for one in found.waiting] == ([Role.TRAINER] if keeps else [])


def test_what_is_kept_is_the_live_spec_with_the_wanted_size(make: Any) -> None:
    case = Case(make)
    case.live["spec"]["minReadySeconds"] = 3
    case.live["spec"]["template"]["metadata"]["creationTimestamp"] = None
    bigger = copy.deepcopy(case.newer)
    trainer(bigger)["spec"]["replicas"] = 7
    child = trainer(case.ask(newer=bigger).children)
    assert child["spec"]["replicas"] == 7
    assert child["spec"]["minReadySeconds"] == 3
    assert "creationTimestamp" not in child["spec"]["template"]["metadata"]
    assert child["spec"]["template"]["spec"] == case.live["spec"]["template"]["spec"]


@pytest.mark.parametrize("noted", [True, False])
def test_a_kept_template_notes_secrets_only_if_it_did_before(make: Any, noted: bool) -> None:
    """The digest of today's values, but no new template only to note it."""
    case = Case(make)
    annotations = case.live["spec"]["template"]["metadata"]["annotations"]
    annotations.pop(SECRETS_ANNOTATION, None)
    if noted:
        annotations[SECRETS_ANNOTATION] = "before"
    digests = dict.fromkeys(full_size(case.job.spec), "now")
    newer = objects(
        case.job,
        case.job.spec,
        full_size(case.job.spec),
        Images(trainer="trainer:2"),
        token_digest(make.token),
        digests,
    )
    kept = trainer(case.ask(newer=newer).children)["spec"]["template"]["metadata"]["annotations"]
    assert kept.get(SECRETS_ANNOTATION) == ("now" if noted else None)


def test_roles_that_do_not_differ_are_written_neither_now_nor_for_their_record(make: Any) -> None:
    case = Case(make)
    for child in case.ask().children:
        if child["kind"] == "StatefulSet" and child["metadata"]["name"] != "j-trainer":
            assert record_of(child) == f"{OLD}.{hash_of(child)}"


def test_an_update_that_began_goes_on_so_that_no_job_has_two_revisions(make: Any) -> None:
    """As after a crash between two applies, or where one set was refused."""
    case = Case(make)
    newer = made(make, case.job, Images(trainer="trainer:2", rollout="rollout:2"))
    assert hash_of(trainer(case.ask(newer=newer).children)) == hash_of(case.live)
    done = next(
        c
        for c in case.ask(newer=newer, renews=True).children
        if (c["kind"], c["metadata"]["name"]) == ("StatefulSet", "j-rollout")
    )
    live = {**done, "metadata": {**done["metadata"], "uid": "u"}}
    children = {**case.observed.children, ("StatefulSet", "j-rollout"): live}
    case.observed = make.observed(case.job, children=children)
    assert hash_of(trainer(case.ask(newer=newer).children)) == hash_of(trainer(newer))


def test_one_edited_role_takes_all_roles_along(make: Any) -> None:
    case = Case(make, record="new.other")
    newer = made(make, case.job, Images(trainer="trainer:2", rollout="rollout:2"))
    assert case.ask(newer=newer).waiting == ()


def test_pods_that_know_another_token_do_not_wait(make: Any) -> None:
    case = Case(make)
    newer = made(make, case.job, Images(trainer="trainer:2"), token="another")
    assert case.ask(newer=newer).waiting == ()


def test_what_nobody_can_change_stays_as_it_is(make: Any) -> None:
    """Another default of a volume's size would be refused at every pass."""
    spec = make.spec(coordinator={"storageClassName": "fast", "volumeSize": "10Gi"})
    job = make.job(spec=spec, status=make.status())
    observed = make.observed(job)
    live = observed.children["StatefulSet", "j-coordinator"]
    live["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] = "5Gi"
    found = update(observed, made(make, job, Images(coordinator="c:2")), NEW, renews=True)
    (child,) = [
        child
        for child in found.children
        if (child["kind"], child["metadata"]["name"]) == ("StatefulSet", "j-coordinator")
    ]
    assert child["spec"]["volumeClaimTemplates"] == live["spec"]["volumeClaimTemplates"]
    assert child["spec"]["template"]["spec"]["containers"][0]["image"] == "c:2"


def test_a_set_that_is_missing_is_made_by_this_revision(make: Any) -> None:
    case = Case(make)
    case.observed = make.observed(case.job, children={})
    child = trainer(case.ask().children)
    assert record_of(child) == f"{NEW}.{hash_of(child)}"


def test_the_sentence_names_roles_and_images(make: Any) -> None:
    told = sentence_about(Case(make).ask().waiting)
    assert "trainer (registry.invalid/sea-operator/trainer:latest becomes trainer:2)" in told
    assert "spec.suspend" in told
    assert sentence_about(()) == ""


# --- whole decisions ---

NEWER = Images(trainer="trainer:2")


def names(plan: Any) -> Any:
    return [(child["kind"], child["metadata"]["name"]) for child in plan.applies]


def test_a_changed_default_image_deletes_nothing_and_changes_no_template(make: Any) -> None:
    observed = make.observed()
    plan = decide(observed, make.context(images=NEWER))
    assert plan.removals == ()
    assert names(plan) == [("StatefulSet", "j-trainer")]
    assert hash_of(plan.applies[0]) == hash_of(observed.children["StatefulSet", "j-trainer"])
    status = compute(observed, plan, (), make.now)
    (notice,) = [one for one in status.conditions if one.type == "UpdateWaiting"]
    assert (notice.status, "trainer:2" in notice.message) == ("True", True)


def test_templates_without_our_label_are_kept_with_their_pods(make: Any) -> None:
    """As of a release that marks its templates in another way."""
    observed = make.observed()
    for child in observed.children.values():
        child["metadata"].pop("annotations", None)
    live = observed.children["StatefulSet", "j-trainer"]
    del live["spec"]["template"]["metadata"]["labels"][HASH_LABEL]
    pods = make.pods(observed.job, template_hash=None)
    trainers = tuple(pod for pod in pods if pod.role is Role.TRAINER)
    plan = decide(dataclasses.replace(observed, pods=trainers), make.context())
    assert plan.removals == ()
    assert plan.update_waits


def recorded(make: Any, job: Any, images: Images, **replicas: int) -> Any:
    """The children of a job that waits under `images`."""
    observed = make.observed(job)
    plan = decide(observed, make.context(images=images))
    changed = {(c["kind"], c["metadata"]["name"]): copy.deepcopy(c) for c in plan.applies}
    for child in changed.values():
        child["metadata"]["uid"] = "u"
    return {**observed.children, **changed}


def test_a_job_that_waits_is_written_once(make: Any) -> None:
    job = make.job(status=make.status())
    observed = make.observed(job, children=recorded(make, job, NEWER))
    plan = decide(observed, make.context(images=NEWER))
    assert (plan.applies, plan.removals) == ((), ())
    assert plan.update_waits


def test_a_new_attempt_brings_the_update_to_all_roles(make: Any) -> None:
    failed = make.state(trainer_failure=make.failure())
    newer = Images(trainer="trainer:2", rollout="rollout:2")
    plan = decide(make.observed(state=failed), make.context(images=newer))
    assert plan.lifecycle.attempt == 2
    assert names(plan) == [
        ("StatefulSet", "j-trainer"),
        ("StatefulSet", "j-rollout"),
        ("StatefulSet", "j-user"),
    ]
    assert plan.update_waits == ""


@pytest.mark.parametrize("suspended", [True, False])
def test_a_suspended_job_gets_the_update_when_it_resumes(make: Any, suspended: bool) -> None:
    job = make.job(
        spec=make.spec(suspend=suspended), status=make.status(make.condition("Suspended", "True"))
    )
    none = dict.fromkeys(full_size(job.spec), 0)
    observed = make.observed(job, children=make.children(job, none), pods=(), state=None)
    plan = decide(observed, make.context(images=NEWER))
    if suspended:
        assert plan.applies == ()
        assert "resumed" in (plan.update_waits or "")
    else:
        sets = [one for one in plan.applies if one["kind"] == "StatefulSet"]
        (child,) = [one for one in sets if one["metadata"]["name"] == "j-trainer"]
        assert child["spec"]["template"]["spec"]["containers"][0]["image"] == "trainer:2"


def test_a_job_that_is_over_is_left_alone(make: Any) -> None:
    done = make.condition("Complete", "True", reason="Completed")
    job = make.job(status=make.status(done, stage="eval"))
    none = dict.fromkeys(full_size(job.spec), 0)
    observed = make.observed(job, children=make.children(job, none), pods=())
    plan = decide(observed, make.context(images=NEWER))
    assert (plan.applies, plan.removals, plan.update_waits) == ((), (), "")


def test_a_blocked_job_keeps_its_notice(make: Any) -> None:
    notice = make.condition("UpdateWaiting", "True", reason="UpdateWaiting")
    job = make.job(status=make.status(notice))
    observed = make.observed(job, secrets={}, children={}, pods=())
    status = compute(observed, decide(observed, make.context()), (), make.now)
    assert notice in status.conditions


def test_a_revision_is_code_and_images() -> None:
    assert revision(Images()) == revision(Images())
    assert revision(Images()) != revision(NEWER)
