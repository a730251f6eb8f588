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

{{/* A full image: (dict "root" . "name" "sea-operator/trainer"). */}}
{{- define "sea-operator.image" -}}
{{- printf "%s%s:%s" .root.Values.image.registry .name (default .root.Chart.AppVersion .root.Values.image.tag) -}}
{{- end -}}
