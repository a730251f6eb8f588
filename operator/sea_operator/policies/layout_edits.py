"""An edit of the trainer's layout waits for the coordinator's check before it ends an attempt.

Size, parallelism or processes per pod that the model can't be laid out in, or that don't fit into
memory, would otherwise be found only after the pods of the attempt that works are gone. Meanwhile
the trainer follows the spec before the edit, and the job says what is wrong with this one. Pure.
"""

from sea_api.contract import PARALLELISM_ANNOTATION, Env, role_name
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.policy import Role
from sea_api.v1alpha1.role_rules import processes_per_pod
from sea_operator.observed import Object, Observed


def is_another_layout(observed: Observed, spec: Spec) -> bool:
    """Whether the spec asks for another layout than the trainer's pods were made for.

    False without pods: nothing would be lost. Sizes of an elastic trainer are none: the API admits
    only such as the layout divides.
    """
    live = observed.children.get(("StatefulSet", role_name(observed.job.name, Role.TRAINER)))
    last = observed.job.status.roles
    size = last.trainer.desired if last and last.trainer else 0
    if live is None or not size or not live["spec"].get("replicas", 1):
        return False
    if spec.trainer.elastic is None and spec.trainer.replicas != size:
        return True
    template: Object = live["spec"]["template"]
    made_for = template["metadata"].get("annotations", {}).get(PARALLELISM_ANNOTATION)
    if made_for != spec.trainer.parallelism.model_dump_json():
        return True
    return _processes(template) != str(processes_per_pod(spec.trainer.gpus_per_pod))


def _processes(template: Object) -> str:
    """Training processes of a pod, as its containers are told."""
    variables = (one for box in template["spec"]["containers"] for one in box.get("env", []))
    found = (one.get("value", "") for one in variables if one["name"] == Env.PROCESSES_PER_POD)
    return str(next(found, ""))
