{{/* What the schema cannot say. Every message begins with the path of the value. */}}
{{- define "tickbridge.checks" -}}
{{- $names := list -}}
{{- range $i, $connector := .Values.connectors -}}
  {{- if has $connector.name $names -}}
    {{- fail (printf "connectors.%d.name: %q stands twice" $i $connector.name) -}}
  {{- end -}}
  {{- $names = append $names $connector.name -}}
  {{- if or (hasPrefix "consumer-" $connector.name) (has $connector.name (list "redis" "dashboard")) -}}
    {{- fail (printf "connectors.%d.name: %q: the chart names other objects so" $i $connector.name) -}}
  {{- end -}}
  {{- with $connector.account -}}
    {{- $account := index $.Values.accounts . -}}
    {{- if not $account -}}
      {{- fail (printf "connectors.%d.account: no account %q in accounts" $i .) -}}
    {{- else if and $connector.exchange (ne $account.exchange $connector.exchange) -}}
      {{- fail (printf "connectors.%d.account: account %q is of %s, the connector of %s" $i . $account.exchange $connector.exchange) -}}
    {{- end -}}
  {{- end -}}
  {{- if and $connector.account $connector.shard -}}
    {{- fail (printf "connectors.%d.account: an account can't be shared out; give it a connector of its own with channels: []" $i) -}}
  {{- end -}}
  {{- with $connector.shard -}}
    {{- $parts := splitList "/" . -}}
    {{- if gt (int (first $parts)) (int (last $parts)) -}}
      {{- fail (printf "connectors.%d.shard: %s: there is no such share; the last is %s/%s" $i . (last $parts) (last $parts)) -}}
    {{- end -}}
  {{- end -}}
  {{- if and (not $connector.account) (hasKey $connector "channels") (not $connector.channels) -}}
    {{- fail (printf "connectors.%d.channels: empty, and there is no account: nothing to do" $i) -}}
  {{- end -}}
  {{- range $j, $other := $.Values.connectors -}}
    {{- if and (lt $j $i) $connector.exchange (eq (toString $other.exchange) $connector.exchange) -}}
      {{- include "tickbridge.overlap" (dict "i" $i "one" $connector "other" $other) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- $names = list -}}
{{- range $i, $consumer := .Values.consumers -}}
  {{- if has $consumer.name $names -}}
    {{- fail (printf "consumers.%d.name: %q stands twice" $i $consumer.name) -}}
  {{- end -}}
  {{- $names = append $names $consumer.name -}}
  {{- range $j, $other := $.Values.consumers -}}
    {{- if and (lt $j $i) (eq $other.service $consumer.service) -}}
      {{- include "tickbridge.consumerOverlap" (dict "i" $i "one" $consumer "other" $other) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- $redis := .Values.redis -}}
{{- if and $redis.existingSecret.consumersKey (not $redis.existingSecret.name) -}}
  {{- fail "redis.existingSecret.consumersKey: needs redis.existingSecret.name" -}}
{{- end -}}
{{- range $list := list "connectors" "consumers" -}}
  {{- range $i, $item := index $.Values $list -}}
    {{- include "tickbridge.workloadChecks" (dict "root" $ "item" $item "path" (printf "%s.%d" $list $i)) -}}
  {{- end -}}
{{- end -}}
{{- range $service := list "candles" "parquet" "web" -}}
  {{- $section := index $.Values $service -}}
  {{- if $section.enabled -}}
    {{- include "tickbridge.workloadChecks" (dict "root" $ "item" $section "path" $service) -}}
    {{- range $i, $consumer := $.Values.consumers -}}
      {{- if eq $consumer.name $service -}}
        {{- fail (printf "consumers.%d.name: %q is the name of the chart's own, %s.enabled" $i $service $service) -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- if and .Values.web.enabled (not .Values.web.existingSecret.name) -}}
  {{- fail "web.existingSecret.name: needed: a Secret with a file of tokens, without which nobody may be let in (docs/how-to/watch-in-a-browser.md)" -}}
{{- end -}}
{{- if and .Values.web.enabled .Values.web.ingress.enabled (not .Values.web.ingress.hosts) -}}
  {{- fail "web.ingress.hosts: needed: the names under which browsers reach the gateway" -}}
{{- end -}}
{{- if and .Values.ca.secret .Values.ca.configMap -}}
  {{- fail "ca: give secret or configMap, not both" -}}
{{- end -}}
{{- if and $redis.ca.secret $redis.ca.configMap -}}
  {{- fail "redis.ca: give secret or configMap, not both" -}}
{{- end -}}
{{- $tls := or $redis.ca.secret $redis.ca.configMap $redis.clientCertificate.secret -}}
{{- if and $tls (not $redis.existingSecret.name) (not (hasPrefix "rediss" $redis.url)) -}}
  {{- fail "redis.url: a CA or a client certificate makes sense only with rediss://" -}}
{{- end -}}
{{- if and .Values.trialRedis.enabled (not .Values.trialRedis.existingSecret.name) -}}
  {{- fail "trialRedis.existingSecret.name: needed: a Secret with the ACL file that `tickbridge acl` prints" -}}
{{- end -}}
{{- if and .Values.trialRedis.enabled (not $redis.existingSecret.name) -}}
  {{- fail (printf "redis.existingSecret.name: needed with trialRedis: a Secret with the URL redis://USER:PASSWORD@%s-redis:6379/0" (include "tickbridge.fullname" .)) -}}
{{- end -}}
{{- if not (regexMatch "^[a-z]" (include "tickbridge.fullname" .)) -}}
  {{- fail (printf "fullnameOverride: needed, since names of Services begin with a letter and this release's is %q" .Release.Name) -}}
{{- end -}}
{{- include "tickbridge.limits" . -}}
{{- end -}}

{{/* What holds for every workload: (dict "root" $ "item" "path"). */}}
{{- define "tickbridge.workloadChecks" -}}
{{- $own := dict -}}
{{- include "tickbridge.settle" (dict "root" .root "item" .item "into" $own) -}}
{{- $path := .path -}}
{{- if and .item.redisKey (not .root.Values.redis.existingSecret.name) -}}
  {{- fail (printf "%s.redisKey: needs redis.existingSecret.name" $path) -}}
{{- end -}}
{{- $names := list -}}
{{- range $own.env -}}
  {{- if has .name $names -}}{{- fail (printf "%s.env: %s is set twice; an item's env and extraEnv are added to the chart's extraEnv" $path .name) -}}{{- end -}}
  {{- $names = append $names .name -}}
{{- end -}}
{{- $grace := $own.terminationGracePeriodSeconds -}}
{{- $timeout := .root.Values.config.shutdown_timeout -}}
{{- if le (float64 $grace) (include "tickbridge.seconds" $timeout | float64) -}}
  {{- $path = ternary (printf "%s.terminationGracePeriodSeconds" $path) "terminationGracePeriodSeconds" (hasKey .item "terminationGracePeriodSeconds") -}}
  {{- fail (printf "%s: %d is not more than config.shutdown_timeout (%v): pods would be killed while they end" $path (int $grace) $timeout) -}}
{{- end -}}
{{- end -}}

{{/* Two connectors of one exchange: may they run at the same time? */}}
{{- define "tickbridge.overlap" -}}
{{- $one := .one -}}
{{- $other := .other -}}
{{- if and $one.account $other.account (eq $one.account (toString $other.account)) -}}
  {{- fail (printf "connectors.%d.account: connector %q has account %q already, and a stream takes one connector" .i $other.name $one.account) -}}
{{- end -}}
{{- $shards := and $one.shard $other.shard -}}
{{- if $shards -}}
  {{- $a := splitList "/" $one.shard -}}
  {{- $b := splitList "/" $other.shard -}}
  {{- if ne (last $a) (last $b) -}}
    {{- fail (printf "connectors.%d.shard: %s beside %s of connector %q: all shards of an exchange's pairs have one number after the slash" .i $one.shard $other.shard $other.name) -}}
  {{- end -}}
  {{- $shards = ne (first $a) (first $b) -}}
{{- end -}}
{{- if not $shards -}}
  {{- $all := list "trades" "book" "quotes" "ticker" "funding" "mark" "interest" "liquidations" -}}
  {{- $mine := ternary $one.channels $all (hasKey $one "channels") -}}
  {{- $theirs := ternary $other.channels $all (hasKey $other "channels") -}}
  {{- range $pair := $one.pairs -}}
    {{- if has $pair $other.pairs -}}
      {{- range $channel := $mine -}}
        {{- if has $channel $theirs -}}
          {{- fail (printf "connectors.%d.pairs: connector %q has %s of %s already, and a stream takes one connector" $.i $other.name $channel $pair) -}}
        {{- end -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- end -}}
