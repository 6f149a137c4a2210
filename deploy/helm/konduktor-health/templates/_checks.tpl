{{/* Mistakes that a schema cannot explain. Each says the value and what to do instead. */}}
{{- define "konduktor-health.checks" -}}
{{- $loki := dig "loki" (dict) (.Values.settings | default dict) -}}
{{- if get $loki "password" -}}
{{- fail "settings.loki.password: a password does not belong into a ConfigMap. Put it into a Secret and name that in lokiAccess.passwordSecret.name" -}}
{{- end -}}
{{- range $name, $value := get $loki "headers" | default (dict) -}}
{{- if regexMatch "(?i)auth|cookie|token|key|secret|passw|credential" $name -}}
{{- fail (printf "settings.loki.headers.%s: a credential does not belong into a ConfigMap. Put the headers as a JSON object into a Secret and name that in lokiAccess.headersSecret.name" $name) -}}
{{- end -}}
{{- end -}}
{{- if regexMatch "^[a-z]+://[^/]*@" (get $loki "url" | default "") -}}
{{- fail "settings.loki.url: user and password do not belong into the URL. Use settings.loki.username and lokiAccess.passwordSecret.name" -}}
{{- end -}}
{{- if regexMatch "^[a-z]+://[^/]*@" .Values.probe.kmsg.push.url -}}
{{- fail "probe.kmsg.push.url: user and password do not belong into the URL. Use probe.kmsg.push.tokenSecret.name" -}}
{{- end -}}
{{- if and (get $loki "token_file") .Values.lokiAccess.tokenSecret.name -}}
{{- fail "settings.loki.token_file and lokiAccess.tokenSecret.name: give one of them; the Secret is mounted and its file is set for you" -}}
{{- end -}}
{{- range $path, $ca := dict "lokiAccess.ca" .Values.lokiAccess.ca "probe.kmsg.push.ca" .Values.probe.kmsg.push.ca -}}
{{- if and $ca.configMap $ca.secret -}}
{{- fail (printf "%s: configMap and secret exclude each other" $path) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.probe.enabled (not .Values.probe.kmsg.stdout) (not .Values.probe.kmsg.push.enabled) -}}
{{- fail "probe.kmsg: with stdout and push.enabled both false the kernel log goes nowhere; enable one" -}}
{{- end -}}
{{- if and .Values.metrics.serviceMonitor.enabled (not .Values.metrics.service.enabled) -}}
{{- fail "metrics.serviceMonitor.enabled needs metrics.service.enabled" -}}
{{- end -}}
{{- if and (eq (include "konduktor-health.httpEnabled" .) "") (or .Values.metrics.serviceMonitor.enabled .Values.metrics.scrapeAnnotations) -}}
{{- fail "settings.http.enabled is false: there is no port to scrape; leave it out, or switch metrics.* off" -}}
{{- end -}}
{{- end -}}

{{- define "konduktor-health.httpEnabled" -}}
{{- if dig "http" "enabled" true (.Values.settings | default dict) }}yes{{ end -}}
{{- end -}}

{{- define "konduktor-health.httpPort" -}}
{{- dig "http" "port" 8080 (.Values.settings | default dict) | int -}}
{{- end -}}

{{- define "konduktor-health.lokiUrl" -}}
{{- dig "loki" "url" "" (.Values.settings | default dict) | default "http://loki.loki.svc.cluster.local:3100" -}}
{{- end -}}

{{- define "konduktor-health.pushUrl" -}}
{{- .Values.probe.kmsg.push.url | default (include "konduktor-health.lokiUrl" .) -}}
{{- end -}}

{{/* Port of an http(s) URL. */}}
{{- define "konduktor-health.urlPort" -}}
{{- $parsed := urlParse . -}}
{{- $port := regexFind ":[0-9]+$" $parsed.host | trimPrefix ":" -}}
{{- $port | default (ternary "443" "80" (eq $parsed.scheme "https")) -}}
{{- end -}}
