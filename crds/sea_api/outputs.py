"""Every file that is generated from the models, by its path in the repository."""

from pathlib import Path

from sea_api import reference
from sea_api.crd import custom_resource_definition, to_yaml
from sea_api.v1alpha1.names import GROUP, PLURAL

_NOTE = "# Generated from crds/sea_api by `make crds`; don't edit.\n"
_KEEP = """  annotations:
    {{- if .Values.crds.keep }}
    helm.sh/resource-policy: keep
    {{- end }}
"""


def generated_files() -> dict[Path, str]:
    """Text by path relative to the repository's root."""
    crd = to_yaml(custom_resource_definition())
    return {
        Path(f"crds/{GROUP}_{PLURAL}.yaml"): _NOTE + crd,
        Path("charts/sea-operator/templates/crd.yaml"): _NOTE + chart_template(crd),
        Path("docs/reference/seatrainingjob.md"): reference.render(),
    }


def chart_template(crd: str) -> str:
    """The CRD as a Helm template with the switches `crds.enabled` and `crds.keep`.

    Templated, because Helm never upgrades the content of a chart's `crds/`.
    """
    if "{{" in crd:
        raise ValueError("The CRD contains '{{', which Helm would expand: reword the description.")
    # The first one is the CRD's own: field schemas follow below `spec`.
    head, tail = crd.split("metadata:\n", 1)
    return f"{{{{- if .Values.crds.enabled }}}}\n{head}metadata:\n{_KEEP}{tail}{{{{- end }}}}\n"


def write(root: Path) -> list[Path]:
    """Writes stale files; returns their paths."""
    stale = differing(root)
    for path in stale:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(generated_files()[path], encoding="utf-8")
    return stale


def differing(root: Path) -> list[Path]:
    """Paths of files that are missing or stale."""
    return [path for path, text in generated_files().items() if _read(root / path) != text]


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None
