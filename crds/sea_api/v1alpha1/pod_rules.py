"""Rules of requests and limits: what the API server would refuse of every pod of a role.

A job that breaks one gets no pod at all, or holds devices that nothing uses.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from sea_api.v1alpha1.forms import matching
from sea_api.v1alpha1.names import GPU
from sea_api.v1alpha1.rules import Rule

_OTHER_GPU = (
    r"amd\.com/gpu|gpu\.intel\.com/.*|habana\.ai/.*|aws\.amazon\.com/neuron.*|google\.com/tpu"
    r"|nvidia\.com/(mig-.*|gpu\.shared|pgpu|vgpu)"
)
_POWERS = dict(zip("kMGTPE", range(1, 7), strict=True))


def amount(text: str) -> Decimal:
    """A quantity in units (bytes, cores), of a text that has passed `forms.QUANTITY`."""
    digits = text.rstrip("mkMGTPEi")
    suffix = text[len(digits) :]
    if suffix == "m":
        return Decimal(digits) / 1000
    base = 1024 if suffix.endswith("i") else 1000
    return Decimal(digits) * base ** _POWERS.get(suffix[:1], 0)


def _within(template: Any) -> bool:
    requests, limits = template.requests, template.limits
    return all(amount(requests[k]) <= amount(limits[k]) for k in requests if k in limits)


def _is_device(name: str) -> bool:
    return "/" in name or name.startswith("hugepages-")


def _same(one: Mapping[str, str], other: Mapping[str, str], name: str) -> bool:
    return name in other and amount(one[name]) == amount(other[name])


def _limited(template: Any) -> bool:
    requests, limits = template.requests, template.limits
    # The role itself sets the limit of GPUs, to the same number (see `gpus_agree`).
    devices = [name for name in requests if _is_device(name) and name != GPU]
    return all(_same(requests, limits, name) for name in devices)


def _whole(template: Any) -> bool:
    return all(amount(value) % 1 == 0 for name, value in template.limits.items() if "/" in name)


def _one_vendor(template: Any) -> bool:
    foreign = matching(_OTHER_GPU)
    return not any(foreign(name) for name in template.limits)


def _readable(amounts: str, key: str) -> str:
    """Whether CEL can read the amount; if not, `forms.QUANTITY` alone says so."""
    return f"isQuantity(string({amounts}[{key}]))"


_BOTH_READABLE = f"{_readable('self.requests', 'k')} && {_readable('self.limits', 'k')}"

REQUESTS_WITHIN_LIMITS = Rule(
    cel=f"self.requests.all(k, !(k in self.limits && {_BOTH_READABLE})"
    " || !quantity(string(self.requests[k])).isGreaterThan(quantity(string(self.limits[k]))))",
    message="requests must not exceed limits, or no pod can be made: raise the limit of the same"
    " resource, or lower its request",
    holds=_within,
)

DEVICES_LIMITED = Rule(
    cel=f"self.requests.all(k, !(k.contains('/') || k.startsWith('hugepages-')) || k == '{GPU}'"
    f" || (k in self.limits && (!({_BOTH_READABLE}) || quantity(string(self.requests[k]))"
    ".compareTo(quantity(string(self.limits[k]))) == 0)))",
    message="devices and huge pages need the same amount in requests and limits, or no pod can be"
    " made: repeat the request under limits",
    holds=_limited,
)

# Of limits alone: what a device has in requests must be in limits too, and the CRD stays small.
DEVICES_WHOLE = Rule(
    cel=f"self.limits.all(k, !(k.contains('/') && {_readable('self.limits', 'k')})"
    " || quantity(string(self.limits[k])).isInteger())",
    message="devices (VENDOR/NAME) can't be divided: give a whole number of them",
    holds=_whole,
)

ONE_VENDOR = Rule(
    cel=f"self.limits.all(k, !k.matches(r'^(?:{_OTHER_GPU})$'))",
    message=f"GPUs are set by gpusPerPod, which requests {GPU}, the only kind that the images run"
    " on: remove GPUs of other kinds and vendors",
    holds=_one_vendor,
)

RESOURCES = (REQUESTS_WITHIN_LIMITS, DEVICES_LIMITED, DEVICES_WHOLE, ONE_VENDOR)
"""Rules of an object with `requests` and `limits`."""


def _gpus_agree(role: Any) -> bool:
    template = role.template
    given = [amounts[GPU] for amounts in (template.requests, template.limits) if GPU in amounts]
    return all(amount(number) == role.gpus_per_pod for number in given)


def _agrees(amounts: str) -> str:
    given = f"self.template.{amounts}"
    number = f"quantity(string({given}['{GPU}']))"
    # Not by a quantity of gpusPerPod: the server takes the text of a number for endless.
    equal = f"({number}.isInteger() && {number}.asInteger() == self.gpusPerPod)"
    readable = _readable(given, f"'{GPU}'")
    return f"(!('{GPU}' in {given} && {readable}) || {equal})"


GPUS_AGREE = Rule(
    cel=f"{_agrees('requests')} && {_agrees('limits')}",
    message=f"template.requests and template.limits name another number of {GPU} than gpusPerPod,"
    " which sets both: leave it out of the template",
    holds=_gpus_agree,
)
