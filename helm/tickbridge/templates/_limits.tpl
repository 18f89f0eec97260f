{{/* What one value says about another. Every message begins with the path of the value. */}}
{{- define "tickbridge.limits" -}}
{{- $values := .Values -}}
{{- $config := $values.config -}}
{{- if le (include "tickbridge.seconds" $config.heartbeat.ttl | float64) (include "tickbridge.seconds" $config.heartbeat.interval | float64) -}}
  {{- fail (printf "config.heartbeat.ttl: %v is not longer than config.heartbeat.interval (%v), so a live connector would look dead" $config.heartbeat.ttl $config.heartbeat.interval) -}}
{{- end -}}
{{- $buffer := include "tickbridge.bytes" $config.buffer.max_bytes | float64 -}}
{{- if lt $buffer 65536.0 -}}
  {{- fail (printf "config.buffer.max_bytes: %v is less than 64KiB" $config.buffer.max_bytes) -}}
{{- end -}}
{{- range $i, $connector := $values.connectors -}}
  {{- $resources := ternary $connector.resources $values.resources (hasKey $connector "resources") -}}
  {{- $path := ternary (printf "connectors.%d.resources" $i) "resources" (hasKey $connector "resources") -}}
  {{- with dig "limits" "memory" "" $resources -}}
    {{- if ge $buffer (include "tickbridge.bytes" . | float64) -}}
      {{- fail (printf "config.buffer.max_bytes: %v does not fit into %s.limits.memory (%v)" $config.buffer.max_bytes $path .) -}}
    {{- end -}}
  {{- end -}}
  {{- if and $connector.ping_interval $connector.dead_after -}}
    {{- if le (include "tickbridge.seconds" $connector.dead_after | float64) (include "tickbridge.seconds" $connector.ping_interval | float64) -}}
      {{- fail (printf "connectors.%d.dead_after: %v is not longer than ping_interval (%v), so a quiet connection would look dead" $i $connector.dead_after $connector.ping_interval) -}}
    {{- end -}}
  {{- end -}}
  {{- with $connector.latency_window -}}
    {{- if lt (include "tickbridge.seconds" . | float64) 1.0 -}}
      {{- fail (printf "connectors.%d.latency_window: %v is less than 1s" $i .) -}}
    {{- end -}}
  {{- end -}}
  {{- range $setting := list "url" "rest_url" -}}
    {{- with index $connector $setting -}}
      {{- include "tickbridge.portAllowed" (dict "url" . "port" 443 "at" "exchanges" "of" (printf "connectors.%d.%s" $i $setting) "root" $) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- if $values.trialRedis.enabled -}}
  {{- with dig "limits" "memory" "" $values.trialRedis.resources -}}
    {{- if ge (include "tickbridge.bytes" $values.trialRedis.maxmemory | float64) (include "tickbridge.bytes" . | float64) -}}
      {{- fail (printf "trialRedis.maxmemory: %s does not fit into trialRedis.resources.limits.memory (%v)" $values.trialRedis.maxmemory .) -}}
    {{- end -}}
  {{- end -}}
{{- else if not $values.redis.existingSecret.name -}}
  {{- $url := regexReplaceAll "[?].*$" $values.redis.url "" -}}
  {{- $path := regexReplaceAll "^[a-z+]+://[^/]*" $url "" -}}
  {{- if contains "+sentinel" $url -}}
    {{- if not (regexMatch "^/[^/]+(/[0-9]+)?$" $path) -}}
      {{- fail "redis.url: names no master: redis+sentinel://HOST:26379,HOST:26379/MASTER/0" -}}
    {{- end -}}
  {{- else if not (regexMatch (ternary "^/?$" "^(/[0-9]*)?$" (contains "+cluster" $url)) $path) -}}
    {{- fail (printf "redis.url: %q is no number of a database (a Cluster has none): redis://HOST:6379/0" (trimPrefix "/" $path)) -}}
  {{- end -}}
  {{- $port := ternary 26379 6379 (contains "+sentinel" $values.redis.url) -}}
  {{- include "tickbridge.portAllowed" (dict "url" $values.redis.url "port" $port "at" "redis" "of" "redis.url" "root" .) -}}
{{- end -}}
{{- $exchanges := $values.networkPolicy.exchanges -}}
{{- if not (hasSuffix "/0" $exchanges.cidr) -}}
  {{- range $i, $block := $exchanges.except -}}
    {{- if or (eq $block $exchanges.cidr) (has $block (list "10.0.0.0/8" "100.64.0.0/10" "169.254.0.0/16" "172.16.0.0/12" "192.168.0.0/16")) -}}
      {{- fail (printf "networkPolicy.exchanges.except.%d: %s is not a part of networkPolicy.exchanges.cidr (%s); except: [] takes out nothing" $i $block $exchanges.cidr) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/* Is a URL's port open in the network policy? (dict "url" "port" its default, "at" part of networkPolicy, "of" path of the URL, "root" $) */}}
{{- define "tickbridge.portAllowed" -}}
{{- if .root.Values.networkPolicy.enabled -}}
{{- $open := list -}}
{{- range index .root.Values.networkPolicy .at "ports" -}}{{- $open = append $open (int .) -}}{{- end -}}
{{- $hosts := regexReplaceAll "^[a-z+]+://([^/?]*).*$" .url "${1}" -}}
{{- range $host := splitList "," $hosts -}}
  {{- $port := regexFind ":[0-9]+$" $host | trimPrefix ":" | default $.port | int -}}
  {{- if not (has $port $open) -}}
    {{- fail (printf "networkPolicy.%s.ports: %d of %s is not among them" $.at $port $.of) -}}
  {{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Two consumers of one service: would they keep the same hashes? (dict "i" "one" "other") */}}
{{- define "tickbridge.consumerOverlap" -}}
{{- $one := .one -}}
{{- $other := .other -}}
{{- if or (not $one.exchange) (not $other.exchange) (eq (toString $one.exchange) (toString $other.exchange)) -}}
  {{- $mine := default $one.accounts $one.pairs -}}
  {{- $theirs := default $other.accounts $other.pairs -}}
  {{- if or (not $mine) (not $theirs) -}}
    {{- fail (printf "consumers.%d: consumer %q keeps %s of the same streams already" .i $other.name $one.service) -}}
  {{- end -}}
  {{- range $a := $mine -}}
    {{- range $b := $theirs -}}
      {{- $named := and (contains ":" $a) (contains ":" $b) -}}
      {{- if or (eq $a $b) (and (not $named) (eq (splitList ":" $a | last) (splitList ":" $b | last))) -}}
        {{- fail (printf "consumers.%d.%s: consumer %q keeps %s of %s already" $.i (ternary "pairs" "accounts" (eq $one.service "books")) $other.name $one.service $a) -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/* Seconds of a duration of the config file: 1h30m, 250ms, or a number. */}}
{{- define "tickbridge.seconds" -}}
{{- $units := dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0 "d" 86400.0 -}}
{{- $sum := 0.0 -}}
{{- if kindIs "string" . -}}
  {{- range regexFindAll "[0-9.]+(ms|s|m|h|d)" . -1 -}}
    {{- $unit := regexFind "[a-z]+$" . -}}
    {{- $sum = addf $sum (mulf (trimSuffix $unit . | float64) (get $units $unit)) -}}
  {{- end -}}
{{- else -}}
  {{- $sum = float64 . -}}
{{- end -}}
{{- $sum -}}
{{- end -}}

{{/* Bytes of a size of the config file (64MiB, 10MB), of Redis (512mb is 512 MiB) or of Kubernetes (512Mi, 1G). */}}
{{- define "tickbridge.bytes" -}}
{{- $binary := dict "k" 1024.0 "m" 1048576.0 "g" 1073741824.0 "t" 1099511627776.0 -}}
{{- $decimal := dict "k" 1000.0 "m" 1000000.0 "g" 1000000000.0 "t" 1000000000000.0 -}}
{{- if kindIs "string" . -}}
  {{- $number := regexFind "^[0-9.]+" . | float64 -}}
  {{- $unit := regexFind "[A-Za-z]+$" . -}}
  {{- $letter := $unit | lower | trunc 1 -}}
  {{- if eq $unit "m" -}}{{- divf $number 1000.0 -}}
  {{- else if or (contains "i" $unit) (has $unit (list "kb" "mb" "gb")) -}}{{- mulf $number (get $binary $letter | default 1.0) -}}
  {{- else -}}{{- mulf $number (get $decimal $letter | default 1.0) -}}
  {{- end -}}
{{- else -}}
  {{- float64 . -}}
{{- end -}}
{{- end -}}
