{{/* Names and labels: which object is called how, and which labels select it. */}}

{{- define "konduktor-health.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* A release may have dots in its name; a Service may not. */}}
{{- define "konduktor-health.fullname" -}}
{{- $name := include "konduktor-health.name" . -}}
{{- $release := .Release.Name | replace "." "-" -}}
{{- $full := contains $name $release | ternary $release (printf "%s-%s" $release $name) -}}
{{- .Values.fullnameOverride | default $full | trunc 50 | trimAll "-" -}}
{{- end -}}

{{/* What the controller calls it (konduktor_health/adapters/signing.py). */}}
{{- define "konduktor-health.probeKeys" -}}
konduktor-health-probe-keys
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
{{- include "konduktor-health.shardSuffix" . -}}
{{- end -}}

{{- define "konduktor-health.stateName" -}}
konduktor-health-state{{ include "konduktor-health.shardSuffix" . }}
{{- end -}}

{{/* What ends the names of a shard's Lease and state. */}}
{{- define "konduktor-health.shardSuffix" -}}
{{- with dig "shard" "value" "" (.Values.settings | default dict) }}-{{ . }}{{ end -}}
{{- end -}}

{{/* Not empty where the controller tells pods (settings.pod_events.enabled, true by default). */}}
{{- define "konduktor-health.podEvents" -}}
{{- if ne (dig "pod_events" "enabled" true (.Values.settings | default dict) | toString) "false" }}true{{ end }}
{{- end -}}

{{/* Not empty where the controller lists pods of all namespaces. */}}
{{- define "konduktor-health.listsPods" -}}
{{- if or (include "konduktor-health.podEvents" .) (include "konduktor-health.jobs" .) }}true{{ end }}
{{- end -}}

{{/* Not empty where the controller asks agents (settings.probes.enabled, true by default). */}}
{{- define "konduktor-health.asksAgents" -}}
{{- if ne (dig "probes" "enabled" true (.Values.settings | default dict) | toString) "false" }}true{{ end }}
{{- end -}}

{{/* Where the agents' pods, the signing key and the public keys are: as the controller decides it. */}}
{{- define "konduktor-health.agentsNamespace" -}}
{{- dig "probes" "namespace" "" (.Values.settings | default dict) | default .Release.Namespace -}}
{{- end -}}

{{/* The DaemonSet that the controller takes for the agents'. */}}
{{- define "konduktor-health.agentsDaemonSet" -}}
{{- dig "probes" "daemonset" "" (.Values.settings | default dict) | default (include "konduktor-health.probeName" .) -}}
{{- end -}}

{{/* Selectors are immutable: of the values, only nameOverride changes these two. */}}
{{- define "konduktor-health.selector" -}}
app.kubernetes.io/name: {{ include "konduktor-health.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* Labels of pods: without the chart's version, so that an upgrade rolls only what it changes.
Where `labels` and the pods' own have the same key, the pods' own counts. */}}
{{- define "konduktor-health.podLabels" -}}
{{ include "konduktor-health.selector" .root }}
app.kubernetes.io/part-of: konduktor
{{- with merge (dict) (.own | default dict) (.root.Values.labels | default dict) }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "konduktor-health.ownLabels" -}}
{{ include "konduktor-health.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: konduktor
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "konduktor-health.labels" -}}
{{ include "konduktor-health.ownLabels" . }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}
