{{/* What workloads of their own say, in the values or in an item of connectors and consumers; all but "image" is of both. */}}
{{- define "tickbridge.ownKeys" -}}
redisKey image existingConfigMap ca env extraEnv extraEnvFrom extraArgs extraVolumes extraVolumeMounts initContainers sidecars resources annotations podLabels podAnnotations nodeSelector tolerations affinity topologySpreadConstraints priorityClassName runtimeClassName schedulerName podSecurityContext securityContext startupProbe livenessProbe readinessProbe lifecycle updateStrategy revisionHistoryLimit terminationGracePeriodSeconds hostAliases dnsPolicy dnsConfig
{{- end -}}

{{/*
The settings of a workload, into a mapping: (dict "root" $ "item" item "into" dict). The item's own go before the chart's;
labels and annotations are merged, the lists of further things are joined.
*/}}
{{- define "tickbridge.settle" -}}
{{- $values := .root.Values -}}
{{- $item := .item -}}
{{- $into := .into -}}
{{- range list "resources" "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints" "priorityClassName" "runtimeClassName" "schedulerName" "lifecycle" "revisionHistoryLimit" "terminationGracePeriodSeconds" "dnsPolicy" "dnsConfig" -}}
{{- $_ := set $into . (ternary (index $item .) (index $values .) (hasKey $item .)) -}}
{{- end -}}
{{- range list "annotations" "podLabels" "podAnnotations" -}}
{{- $_ := set $into . (merge (dict) (default (dict) (index $item .)) (default (dict) (index $values .))) -}}
{{- end -}}
{{- range list "extraEnvFrom" "extraArgs" "extraVolumes" "extraVolumeMounts" "initContainers" "sidecars" "hostAliases" -}}
{{- $_ := set $into . (concat (default (list) (index $values .)) (default (list) (index $item .))) -}}
{{- end -}}
{{- range list "podSecurityContext" "securityContext" "startupProbe" "livenessProbe" "readinessProbe" -}}
{{- $_ := set $into . (mergeOverwrite (deepCopy (default (dict) (index $values .))) (default (dict) (index $item .))) -}}
{{- end -}}
{{- $env := list -}}
{{- range list $values.extraEnv $item.env $item.extraEnv -}}
{{- if kindIs "map" . -}}
{{- range $name, $value := . -}}{{- $env = append $env (dict "name" $name "value" $value) -}}{{- end -}}
{{- else if . -}}
{{- $env = concat $env . -}}
{{- end -}}
{{- end -}}
{{- $_ := set $into "env" $env -}}
{{- end -}}

{{/* The pod template of a connector or consumer, see templates/connectors.yaml for what goes in. */}}
{{- define "tickbridge.pod" -}}
{{- $root := .root -}}
{{- $own := .own -}}
metadata:
  labels:
    {{- include "tickbridge.labels" $root | nindent 4 }}
    {{- toYaml .labels | nindent 4 }}
    {{- with $own.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with include "tickbridge.annotations" (dict "root" $root "of" (merge (default (dict) .annotations) $own.podAnnotations)) }}{{ . | nindent 2 }}{{ end }}
spec:
  serviceAccountName: {{ include "tickbridge.serviceAccount" $root }}
  automountServiceAccountToken: {{ $root.Values.serviceAccount.automount }}
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ $own.terminationGracePeriodSeconds }}
  securityContext:
    {{- $user := $root.Values.podSecurity }}
    {{- include "tickbridge.podSecurity" (dict "root" $root "user" $user.runAsUser "group" $user.runAsGroup "over" $own.podSecurityContext) | nindent 4 }}
  {{- with include "tickbridge.placement" (dict "root" $root "own" $own "labels" (pick .labels "app.kubernetes.io/component")) }}{{ . | nindent 2 }}{{ end }}
  {{- with $own.initContainers }}
  initContainers:
    {{- include "tickbridge.rendered" (dict "root" $root "of" .) | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ .container }}
      image: {{ .image | quote }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      command: {{ toJson .command }}
      {{- with concat (default (list) .args) $own.extraArgs }}
      args: {{ toJson . }}
      {{- end }}
      {{- with concat (default (list) .env) $own.env }}
      env:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $own.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - {name: http, containerPort: {{ $root.Values.http.port }}, protocol: TCP}
      {{- with include "tickbridge.probes" $own | trim }}{{ . | nindent 6 }}{{ end }}
      {{- with $own.lifecycle }}
      lifecycle: {{ toJson . }}
      {{- end }}
      resources: {{ toJson $own.resources }}
      securityContext:
        {{- include "tickbridge.containerSecurity" (dict "over" $own.securityContext) | nindent 8 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        {{- range .mounts }}
        - {{ toJson . }}
        {{- end }}
        {{- with include "tickbridge.redisMounts" $root | trim }}{{ . | nindent 8 }}{{ end }}
        {{- with $own.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    {{- with $own.sidecars }}
    {{- include "tickbridge.rendered" (dict "root" $root "of" .) | nindent 4 }}
    {{- end }}
  volumes:
    - name: tmp
      emptyDir: {medium: Memory, sizeLimit: 16Mi}
    {{- range .volumes }}
    - {{ toJson . }}
    {{- end }}
    {{- with include "tickbridge.redisVolumes" (dict "root" $root "key" .redisKey) | trim }}{{ . | nindent 4 }}{{ end }}
    {{- with $own.extraVolumes }}
    {{- include "tickbridge.rendered" (dict "root" $root "of" .) | nindent 4 }}
    {{- end }}
{{- end -}}

{{/* Values that may contain templates, as text: (dict "root" $ "of" value). */}}
{{- define "tickbridge.rendered" -}}
{{- tpl (kindIs "string" .of | ternary .of (toYaml .of)) .root -}}
{{- end -}}

{{/* Where a pod may run, and what it is given there: (dict "root" $ "own" settled settings "labels" of its kind). */}}
{{- define "tickbridge.placement" -}}
{{- $own := .own -}}
{{- $labels := .labels -}}
{{- $root := .root -}}
{{- $found := dict -}}
{{- range $name := list "nodeSelector" "tolerations" "affinity" "hostAliases" "dnsConfig" "priorityClassName" "runtimeClassName" "schedulerName" "dnsPolicy" -}}
{{- with index $own $name -}}{{- $_ := set $found $name . -}}{{- end -}}
{{- end -}}
{{- $spread := list -}}
{{- range $own.topologySpreadConstraints -}}
{{- $selector := dict "matchLabels" (merge (include "tickbridge.selector" $root | fromYaml) $labels) -}}
{{- $spread = append $spread (dict "labelSelector" (default $selector .labelSelector) | merge (omit . "labelSelector")) -}}
{{- end -}}
{{- with $spread -}}{{- $_ := set $found "topologySpreadConstraints" . -}}{{- end -}}
{{- $secrets := list -}}
{{- range concat (default (list) $root.Values.global.imagePullSecrets) $root.Values.imagePullSecrets $root.Values.image.pullSecrets -}}
{{- $secrets = append $secrets (ternary . (dict "name" .) (kindIs "map" .)) -}}
{{- end -}}
{{- with $secrets -}}{{- $_ := set $found "imagePullSecrets" (uniq .) -}}{{- end -}}
{{- if $found -}}{{- include "tickbridge.rendered" (dict "root" $root "of" $found) -}}{{- end -}}
{{- end -}}

{{/* Of settled settings: the three probes, without their switches. */}}
{{- define "tickbridge.probes" -}}
{{- $paths := dict "startupProbe" "/livez" "livenessProbe" "/livez" "readinessProbe" "/readyz" -}}
{{- range $name := list "startupProbe" "livenessProbe" "readinessProbe" }}
{{- $probe := index $ $name }}
{{- if $probe.enabled }}
{{ $name }}:
  httpGet: {path: {{ index $paths $name }}, port: http}
  {{- toYaml (omit $probe "enabled") | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The file of a further authority for exchanges, if there is one: (dict "root" $ "item" connector). */}}
{{- define "tickbridge.caFile" -}}
{{- $ca := mergeOverwrite (deepCopy .root.Values.ca) (default (dict) .item.ca) -}}
{{- if or $ca.secret $ca.configMap -}}/run/tickbridge/ca/{{ $ca.key }}{{- end -}}
{{- end -}}

{{/* Redis and HTTP as variables, for what has no config file of this chart. */}}
{{- define "tickbridge.environment" -}}
{{- $redis := .Values.redis -}}
- {name: TICKBRIDGE_HTTP__HOST, value: {{ .Values.http.host | quote }}}
- {name: TICKBRIDGE_HTTP__PORT, value: {{ .Values.http.port | quote }}}
{{- with .Values.http.hosts }}
- {name: TICKBRIDGE_HTTP__HOSTS, value: {{ join "," . | quote }}}
{{- end }}
- {name: TICKBRIDGE_HTTP__OLD_METRIC_NAMES, value: {{ .Values.http.old_metric_names | quote }}}
- {name: TICKBRIDGE_HTTP__PAIR_LABELS, value: {{ .Values.http.pair_labels | quote }}}
{{- with .Values.config.namespace }}
- {name: TICKBRIDGE_NAMESPACE, value: {{ . | quote }}}
{{- end }}
{{- if $redis.existingSecret.name }}
- {name: TICKBRIDGE_REDIS__URL_FILE, value: /run/tickbridge/redis/url}
{{- else }}
- {name: TICKBRIDGE_REDIS__URL, value: {{ $redis.url | quote }}}
{{- end }}
- {name: TICKBRIDGE_REDIS__CONNECT_TIMEOUT, value: {{ $redis.connect_timeout | quote }}}
- {name: TICKBRIDGE_REDIS__REPLY_TIMEOUT, value: {{ $redis.reply_timeout | quote }}}
{{- range $setting, $file := include "tickbridge.redisTls" . | fromYaml }}
- {name: TICKBRIDGE_REDIS__{{ upper $setting }}, value: {{ $file | quote }}}
{{- end }}
{{- end -}}

{{/* All consumers, those that have a section of their own included, as {"items": […]}. */}}
{{- define "tickbridge.consumers" -}}
{{- $items := .Values.consumers -}}
{{- range $service := list "candles" "parquet" "web" -}}
{{- $section := index $.Values $service -}}
{{- if $section.enabled -}}
{{- $items = append $items (merge (dict "name" $service "service" $service) (omit $section "enabled")) -}}
{{- end -}}
{{- end -}}
{{- toJson (dict "items" $items) -}}
{{- end -}}
