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
    {{- else if ne $account.exchange $connector.exchange -}}
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
    {{- if and (lt $j $i) (eq $other.exchange $connector.exchange) -}}
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
    {{- if and $item.redisKey (not $redis.existingSecret.name) -}}
      {{- fail (printf "%s.%d.redisKey: needs redis.existingSecret.name" $list $i) -}}
    {{- end -}}
  {{- end -}}
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
