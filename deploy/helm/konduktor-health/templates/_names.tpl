{{/* Names and labels: which object is called how, and which labels select it. */}}

{{- define "konduktor-health.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "konduktor-health.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "konduktor-health.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "konduktor-health.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "konduktor-health.probeName" -}}
{{- include "konduktor-health.fullname" . }}-probe
{{- end -}}

{{- define "konduktor-health.controllerAccount" -}}
{{- default (include "konduktor-health.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{/* Where Lease and state live: as the controller decides it. */}}
{{- define "konduktor-health.stateNamespace" -}}
{{- dig "cluster" "namespace" "" (.Values.settings | default dict) | default .Release.Namespace -}}
{{- end -}}

{{- define "konduktor-health.leaseName" -}}
{{- dig "lease" "name" "" (.Values.settings | default dict) | default "konduktor-health" -}}
{{- end -}}

{{/* Selectors are immutable: these two labels never change, whatever the values say. */}}
{{- define "konduktor-health.selector" -}}
app.kubernetes.io/name: {{ include "konduktor-health.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels of pods: without the chart's version, so that an upgrade rolls only what it changes. */}}
{{- define "konduktor-health.podLabels" -}}
{{ include "konduktor-health.selector" . }}
app.kubernetes.io/part-of: konduktor
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "konduktor-health.labels" -}}
{{ include "konduktor-health.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: konduktor
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}
