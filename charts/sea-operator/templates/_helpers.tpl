{{/* Name of every object of the release. */}}
{{- define "sea-operator.fullname" -}}
{{- default .Release.Name .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels that select the operator's pods; never changed by an upgrade. */}}
{{- define "sea-operator.selectorLabels" -}}
app.kubernetes.io/name: sea-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels of every object. */}}
{{- define "sea-operator.labels" -}}
{{ include "sea-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* Name of what isn't in the release's namespace: two releases of one name don't collide. The colon
     is in no namespace's name, so it is clear where each part ends. */}}
{{- define "sea-operator.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "sea-operator.fullname" .) -}}
{{- end -}}

{{/* Registry of all images, with its slash. There is no default: on a public registry, whoever takes
     the name first would decide what runs in the cluster. */}}
{{- define "sea-operator.registry" -}}
{{- $registry := coalesce .Values.image.registry (default dict .Values.global).imageRegistry | default "" -}}
{{- if not $registry -}}
{{- fail "image.registry is empty: build the images (images/README.md), push them to a registry of yours, and set image.registry to its address, for example registry.example/team/ (in an umbrella chart, global.imageRegistry does too)." -}}
{{- end -}}
{{- trimSuffix "/" $registry }}/
{{- end -}}

{{/* A full image: (dict "root" . "name" "sea-operator/trainer"). */}}
{{- define "sea-operator.image" -}}
{{- printf "%s%s:%s" (include "sea-operator.registry" .root) .name (default .root.Chart.AppVersion .root.Values.image.tag) -}}
{{- end -}}
