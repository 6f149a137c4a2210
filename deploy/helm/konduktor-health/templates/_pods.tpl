{{/* What both kinds of pods share: image, our taint, GPU nodes, credentials. */}}

{{- define "konduktor-health.image" -}}
{{- $image := .image -}}
{{- $name := $image.repository -}}
{{- with .root.Values.imageRegistry }}{{ $name = printf "%s/%s" (trimSuffix "/" .) $name }}{{ end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .root.Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Our own taint, whatever its effect: cluster.key_prefix is its domain. */}}
{{- define "konduktor-health.ownToleration" -}}
- key: {{ printf "%s/faulty" (dig "cluster" "key_prefix" "" (.Values.settings | default dict) | default "trainy.konduktor.ai") | quote }}
  operator: Exists
{{- end -}}

{{/* Terms of a label selector of settings.cluster.node_selector, as node affinity expressions. */}}
{{- define "konduktor-health.managedExpressions" -}}
{{- $selector := dig "cluster" "node_selector" "nvidia.com/gpu.present=true" (.Values.settings | default dict) -}}
{{- range $term := splitList "," $selector }}
{{- $term = trim $term }}
{{- if contains "!=" $term }}
{{- $parts := splitn "!=" 2 $term }}
- key: {{ trim $parts._0 | quote }}
  operator: NotIn
  values: [{{ trim $parts._1 | quote }}]
{{- else if contains "=" $term }}
{{- $parts := splitn "=" 2 (replace "==" "=" $term) }}
- key: {{ trim $parts._0 | quote }}
  operator: In
  values: [{{ trim $parts._1 | quote }}]
{{- else if hasPrefix "!" $term }}
- key: {{ trimPrefix "!" $term | trim | quote }}
  operator: DoesNotExist
{{- else if $term }}
- key: {{ $term | quote }}
  operator: Exists
{{- end }}
{{- end }}
{{- end -}}

{{/* Name of the PriorityClass of a component: given, or made here, or none. */}}
{{- define "konduktor-health.priorityClass" -}}
{{- if .class.name -}}
{{- .class.name -}}
{{- else if .root.Values.priorityClasses.create -}}
{{- .made -}}
{{- end -}}
{{- end -}}

{{/* Volume source of a CA bundle that is in a ConfigMap or in a Secret. */}}
{{- define "konduktor-health.caVolume" -}}
{{- if .configMap -}}
configMap:
  name: {{ .configMap | quote }}
{{- else -}}
secret:
  secretName: {{ .secret | quote }}
{{- end }}
  items:
    - key: {{ .key | quote }}
      path: ca.crt
{{- end -}}

{{- define "konduktor-health.dnsEgress" -}}
- ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
{{- end -}}
