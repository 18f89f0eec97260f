{{- define "tickbridge.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 30 | trimSuffix "-" -}}
{{- end -}}

{{/* Short enough for Services (63), and for StatefulSets, whose pods carry "name-hash" in a label (52). */}}
{{- define "tickbridge.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 30 | trimSuffix "-" -}}
{{- else if contains (include "tickbridge.name" .) .Release.Name -}}
{{- .Release.Name | replace "." "-" | trunc 30 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "tickbridge.name" .) | replace "." "-" | trunc 30 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "tickbridge.selector" -}}
app.kubernetes.io/name: {{ include "tickbridge.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "tickbridge.labels" -}}
{{ include "tickbridge.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Annotations of an object: the chart's for all objects, under those given: (dict "root" $ "of" dict). */}}
{{- define "tickbridge.annotations" -}}
{{- with merge (dict) (default (dict) .of) .root.Values.commonAnnotations -}}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/*
The image of a workload: (dict "root" $ "of" its own image or nothing, "variant" "ccxt", "files" or nothing).
A tag gets the variant's name, unless it is the workload's own or has it already; a digest is taken as it is.
*/}}
{{- define "tickbridge.image" -}}
{{- $values := .root.Values -}}
{{- $of := default (dict) .of -}}
{{- $image := mergeOverwrite (deepCopy $values.image) $of -}}
{{- $registry := default $image.registry $values.global.imageRegistry -}}
{{- $name := ternary (printf "%s/%s" $registry $image.repository) $image.repository (ne $registry "") -}}
{{- if and $image.digest (or $of.digest (not $of.tag)) -}}
{{ $name }}@{{ $image.digest }}
{{- else -}}
{{- $tag := default .root.Chart.AppVersion $image.tag -}}
{{- if and .variant (not $of.tag) (not (hasSuffix (printf "-%s" .variant) $tag)) -}}
{{- $tag = printf "%s-%s" $tag .variant -}}
{{- end -}}
{{ $name }}:{{ $tag }}
{{- end -}}
{{- end -}}

{{- define "tickbridge.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "tickbridge.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* Whether the cluster gives pods their user and groups by itself, and refuses others, as OpenShift does. */}}
{{- define "tickbridge.usersAreGiven" -}}
{{- $adapt := .Values.global.compatibility.openshift.adaptSecurityContext -}}
{{- if or (eq $adapt "force") (and (eq $adapt "auto") (.Capabilities.APIVersions.Has "security.openshift.io/v1")) -}}yes{{- end -}}
{{- end -}}

{{/* A pod's security, as the profile "restricted" wants it: (dict "root" $ "user" uid "group" gid "over" podSecurityContext). */}}
{{- define "tickbridge.podSecurity" -}}
{{- $context := dict "runAsNonRoot" true "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- if not (include "tickbridge.usersAreGiven" .root) -}}
{{- $context = merge $context (dict "runAsUser" .user "runAsGroup" .group "fsGroup" .group) -}}
{{- end -}}
{{- include "tickbridge.over" (dict "base" $context "over" .over) -}}
{{- end -}}

{{/* A container's: (dict "over" securityContext). */}}
{{- define "tickbridge.containerSecurity" -}}
{{- $context := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" (dict "drop" (list "ALL")) -}}
{{- include "tickbridge.over" (dict "base" $context "over" .over) -}}
{{- end -}}

{{/* One mapping over another; what is null there is left out: (dict "base" dict "over" dict). */}}
{{- define "tickbridge.over" -}}
{{- $base := .base -}}
{{- range $name, $value := .over -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := unset $base $name -}}
{{- else if and (kindIs "map" $value) (kindIs "map" (index $base $name)) -}}
{{- $_ := set $base $name (mergeOverwrite (deepCopy (index $base $name)) $value) -}}
{{- else -}}
{{- $_ := set $base $name $value -}}
{{- end -}}
{{- end -}}
{{- toYaml $base -}}
{{- end -}}

{{/* The TLS files of redis, as settings; root and item are of no matter. */}}
{{- define "tickbridge.redisTls" -}}
{{- $files := dict -}}
{{- if or .Values.redis.ca.configMap .Values.redis.ca.secret -}}
{{- $_ := set $files "ca_file" (printf "/run/tickbridge/redis-ca/%s" .Values.redis.ca.key) -}}
{{- end -}}
{{- if .Values.redis.clientCertificate.secret -}}
{{- $_ := set $files "cert_file" "/run/tickbridge/redis-client/tls.crt" -}}
{{- $_ := set $files "key_file" "/run/tickbridge/redis-client/tls.key" -}}
{{- end -}}
{{- toYaml $files -}}
{{- end -}}

{{/* Of an account: credential → its key in the Secret. */}}
{{- define "tickbridge.credentials" -}}
{{- $keys := dict "api_key" (default "api_key" .apiKeyKey) "api_secret" (default "api_secret" .apiSecretKey) -}}
{{- range $name, $key := .credentials -}}
{{- if $key -}}{{- $_ := set $keys $name $key -}}{{- else -}}{{- $_ := unset $keys $name -}}{{- end -}}
{{- end -}}
{{- toYaml $keys -}}
{{- end -}}

{{/* The config file of one connector: (dict "root" $ "connector" item). */}}
{{- define "tickbridge.config" -}}
{{- $root := .root -}}
{{- $redis := pick $root.Values.redis "connect_timeout" "reply_timeout" -}}
{{- if $root.Values.redis.existingSecret.name -}}
{{- $_ := set $redis "url_file" "/run/tickbridge/redis/url" -}}
{{- else -}}
{{- $_ := set $redis "url" $root.Values.redis.url -}}
{{- end -}}
{{- $redis = merge $redis (include "tickbridge.redisTls" $root | fromYaml) -}}
{{- $connector := .connector -}}
{{- range splitList " " (include "tickbridge.ownKeys" $root) -}}{{- $connector = omit $connector . -}}{{- end -}}
{{- with include "tickbridge.caFile" (dict "root" $root "item" .connector) -}}
{{- $connector = merge $connector (dict "ca_file" .) -}}
{{- end -}}
{{- $config := mergeOverwrite (deepCopy $root.Values.config) (dict "redis" $redis "http" $root.Values.http "connectors" (list $connector)) -}}
{{- with .connector.account -}}
{{- $account := index $root.Values.accounts . -}}
{{- $settings := dict "exchange" $account.exchange -}}
{{- range $name, $key := include "tickbridge.credentials" $account | fromYaml -}}
{{- $_ := set $settings (printf "%s_file" $name) (printf "/run/tickbridge/account/%s" $name) -}}
{{- end -}}
{{- if $account.subaccounts -}}{{- $_ := set $settings "subaccounts" true -}}{{- end -}}
{{- $_ := set $config "accounts" (dict . $settings) -}}
{{- end -}}
{{- if not $config.retention -}}{{- $config = omit $config "retention" -}}{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* Volumes and mounts of the TLS files and the URL: (dict "root" $ "key" the URL's key in the Secret). */}}
{{- define "tickbridge.redisVolumes" -}}
{{- $redis := .root.Values.redis -}}
{{- with $redis.existingSecret.name }}
- name: redis
  secret:
    secretName: {{ . }}
    defaultMode: 0440
    items: [{key: {{ $.key | quote }}, path: url}]
{{- end }}
{{- if $redis.ca.secret }}
- name: redis-ca
  secret:
    secretName: {{ $redis.ca.secret }}
    defaultMode: 0440
    items: [{key: {{ $redis.ca.key | quote }}, path: {{ $redis.ca.key | quote }}}]
{{- else if $redis.ca.configMap }}
- name: redis-ca
  configMap:
    name: {{ $redis.ca.configMap }}
    items: [{key: {{ $redis.ca.key | quote }}, path: {{ $redis.ca.key | quote }}}]
{{- end }}
{{- with $redis.clientCertificate.secret }}
- name: redis-client
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- end -}}

{{- define "tickbridge.redisMounts" -}}
{{- $redis := .Values.redis -}}
{{- if $redis.existingSecret.name }}
- {name: redis, mountPath: /run/tickbridge/redis, readOnly: true}
{{- end }}
{{- if or $redis.ca.secret $redis.ca.configMap }}
- {name: redis-ca, mountPath: /run/tickbridge/redis-ca, readOnly: true}
{{- end }}
{{- if $redis.clientCertificate.secret }}
- {name: redis-client, mountPath: /run/tickbridge/redis-client, readOnly: true}
{{- end }}
{{- end -}}

{{/* Everywhere but the outside: the cluster's pods, and addresses that aren't public. */}}
{{- define "tickbridge.inside" -}}
- namespaceSelector: {}
{{- range list "10.0.0.0/8" "100.64.0.0/10" "169.254.20.10/32" "172.16.0.0/12" "192.168.0.0/16" "fc00::/7" }}
- ipBlock: {cidr: {{ . | quote }}}
{{- end }}
{{- end -}}
