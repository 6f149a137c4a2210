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
{{- if and .Values.rules.content .Values.rules.existingConfigMap -}}
{{- fail "rules: content and existingConfigMap exclude each other" -}}
{{- end -}}
{{- if and (or .Values.rules.content .Values.rules.existingConfigMap) (get (.Values.settings | default dict) "rules_file") -}}
{{- fail "settings.rules_file and rules: give one of them; the ConfigMap is mounted and its file is set for you" -}}
{{- end -}}
{{- if and .Values.policy.content .Values.policy.existingConfigMap -}}
{{- fail "policy: content and existingConfigMap exclude each other" -}}
{{- end -}}
{{- if and (or .Values.policy.content .Values.policy.existingConfigMap) (get (.Values.settings | default dict) "policy_file") -}}
{{- fail "settings.policy_file and policy: give one of them; the ConfigMap is mounted and its file is set for you" -}}
{{- end -}}
{{- range $term := splitList "," (dig "cluster" "node_selector" "" (.Values.settings | default dict)) -}}
{{- if not (regexMatch "^(!?[A-Za-z0-9][-A-Za-z0-9_./]*|[A-Za-z0-9][-A-Za-z0-9_./]*\\s*(==?|!=)\\s*[-A-Za-z0-9_.]*)?$" (trim $term)) -}}
{{- fail (printf "settings.cluster.node_selector: %q is not an equality term; terms are KEY=VALUE, KEY!=VALUE, KEY or !KEY, separated by commas" (trim $term)) -}}
{{- end -}}
{{- end -}}
{{- $shard := dig "shard" (dict) (.Values.settings | default dict) -}}
{{- if and (get $shard "value") (not (get $shard "label")) -}}
{{- fail (printf "settings.shard.value: %q is the value of no label; set settings.shard.label too" (get $shard "value")) -}}
{{- end -}}
{{- range $path, $ca := dict "lokiAccess.ca" .Values.lokiAccess.ca "probe.kmsg.push.ca" .Values.probe.kmsg.push.ca -}}
{{- if and $ca.configMap $ca.secret -}}
{{- fail (printf "%s: configMap and secret exclude each other" $path) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.probe.enabled (not .Values.probe.kmsg.stdout) (not .Values.probe.kmsg.push.enabled) -}}
{{- fail "probe.kmsg: with stdout and push.enabled both false the kernel log goes nowhere; enable one" -}}
{{- end -}}
{{- range .Values.controller.extraEnv -}}
{{- if and (eq .name "KONDUKTOR_HEALTH_LOKI__PASSWORD") .value -}}
{{- fail "controller.extraEnv: a password does not belong into a Deployment. Put it into a Secret and name that in lokiAccess.passwordSecret.name" -}}
{{- end -}}
{{- end -}}
{{- $classes := .Values.priorityClasses -}}
{{- if and $classes.create $classes.controller.name (eq $classes.controller.name $classes.probe.name) -}}
{{- fail "priorityClasses: two classes of one name cannot be made. Give two names, or create: false and the name of a class that exists" -}}
{{- end -}}
{{- if and $classes.create $classes.jobs.name (has $classes.jobs.name (list $classes.controller.name $classes.probe.name)) -}}
{{- fail "priorityClasses: two classes of one name cannot be made. Give jobs a name of its own, or none" -}}
{{- end -}}
{{- range $annotation, $_ := .Values.controller.podAnnotations -}}
{{- if and $.Values.metrics.scrapeAnnotations (has $annotation (list "prometheus.io/scrape" "prometheus.io/port" "prometheus.io/path")) -}}
{{- fail (printf "controller.podAnnotations.%s: metrics.scrapeAnnotations sets it; give one of them" $annotation) -}}
{{- end -}}
{{- end -}}
{{- if and (include "konduktor-health.httpEnabled" .) (regexMatch "^(127\\.|localhost$|::1$)" (dig "http" "host" "" (.Values.settings | default dict))) -}}
{{- fail "settings.http.host: on the pod's loopback address the kubelet's probes reach nobody, and the pod is restarted for ever. Leave it out" -}}
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
