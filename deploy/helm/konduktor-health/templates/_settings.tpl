{{/* The controller's settings: those that were given, over what the chart knows itself. */}}

{{/* Not empty where nodes are tested by Jobs (settings.probes.jobs.enabled, false by default). */}}
{{- define "konduktor-health.jobs" -}}
{{- if and (include "konduktor-health.asksAgents" .) (eq (dig "probes" "jobs" "enabled" false (.Values.settings | default dict) | toString) "true") }}true{{ end }}
{{- end -}}

{{/* The storage class that is tested; empty: none. */}}
{{- define "konduktor-health.testedStorage" -}}
{{- dig "probes" "pvc" "storage_class" "" (.Values.settings | default dict) -}}
{{- end -}}

{{/* PriorityClass of the Jobs' pods. */}}
{{- define "konduktor-health.jobsPriority" -}}
{{- include "konduktor-health.priorityClass" (dict "root" . "class" .Values.priorityClasses.jobs "made" (printf "%s-invasive" (include "konduktor-health.fullname" .))) -}}
{{- end -}}

{{- define "konduktor-health.settings" -}}
{{- $settings := deepCopy (.Values.settings | default dict) }}
{{- if include "konduktor-health.asksAgents" . }}
{{- /* the agents of this release, whatever it is called */}}
{{- $own := printf "app.kubernetes.io/instance=%s,app.kubernetes.io/component=probe" .Release.Name }}
{{- $agents := dict "daemonset" (include "konduktor-health.probeName" .) "selector" $own }}
{{- $_ := set $agents "port" .Values.probe.agent.port }}
{{- $_ := set $agents "light_interval_s" .Values.probe.agent.lightSeconds }}
{{- $_ := set $agents "invasive_interval_s" .Values.probe.agent.invasiveSeconds }}
{{- if include "konduktor-health.jobs" . }}
{{- $jobs := dict "image" (include "konduktor-health.image" (dict "root" . "image" .Values.probe.image)) }}
{{- $_ := set $jobs "image_pull_policy" .Values.probe.image.pullPolicy }}
{{- $secrets := list }}
{{- range .Values.imagePullSecrets }}{{ $secrets = append $secrets .name }}{{ end }}
{{- $_ := set $jobs "image_pull_secrets" $secrets }}
{{- $_ := set $jobs "service_account" (include "konduktor-health.probeName" .) }}
{{- $_ := set $jobs "priority_class" (include "konduktor-health.jobsPriority" .) }}
{{- $_ := set $jobs "runtime_class" .Values.probe.agent.runtimeClassName }}
{{- $_ := set $jobs "state_directory" .Values.probe.stateDirectory }}
{{- $_ := set $jobs "user_checks" .Values.probe.agent.userChecks }}
{{- $_ := set $agents "jobs" $jobs }}
{{- end }}
{{- $_ := set $settings "probes" (merge (dict) (get $settings "probes" | default dict) $agents) }}
{{- end }}
{{- toYaml $settings }}
{{- end -}}
