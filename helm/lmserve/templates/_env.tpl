{{/* A list of variables in which a later one takes the place of an earlier of its name. Takes lists. */}}
{{- define "lmserve.env" -}}
{{- $names := list -}}
{{- $found := dict -}}
{{- range $list := .lists -}}
{{- range $one := $list -}}
{{- $names = append $names $one.name -}}
{{- $_ := set $found $one.name $one -}}
{{- end -}}
{{- end -}}
{{- $env := list -}}
{{- range $name := $names | uniq -}}
{{- $env = append $env (get $found $name) -}}
{{- end -}}
{{- toYaml $env -}}
{{- end -}}

{{/* Variables of all of Ray's pods. Takes root, part. */}}
{{- define "lmserve.baseEnv" -}}
- name: RAY_USAGE_STATS_ENABLED
  value: "0"
- name: RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO
  value: "0"
- name: LMSERVE_METRICS_DIR
  value: /var/lib/lmserve/metrics
{{- if and (ne .part "job") (include "lmserve.redisCa" .root) }}
- name: RAY_REDIS_CA_CERT
  value: /etc/lmserve/redis-ca/ca.crt
{{- end }}
{{- end -}}

{{/* Variables of the service's pods. */}}
{{- define "lmserve.servingEnv" -}}
{{- $serving := .Values.serving -}}
- name: RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH
  value: cluster.edge.middlewares
- name: LMSERVE_DRAIN_S
  value: {{ $serving.drainSeconds | quote }}
- name: LMSERVE_LOG_FORMAT
  value: {{ $serving.logFormat | quote }}
{{- range $name, $value := $serving.protection }}
- name: LMSERVE_{{ $name }}
  value: {{ include "lmserve.plain" $value | quote }}
{{- end }}
{{- if $serving.apiKeys.existingSecret }}
- name: LMSERVE_API_KEYS_FILE
  value: /etc/lmserve/keys/{{ $serving.apiKeys.key }}
{{- end }}
{{- if and (include "lmserve.servingUsesRedis" .) (include "lmserve.redisSecret" .) }}
- name: LMSERVE_REDIS_PASSWORD_FILE
  value: /etc/lmserve/redis/{{ .Values.redis.auth.key }}
{{- end }}
{{- if $serving.haproxy }}
{{ include "lmserve.haproxyEnv" . }}
{{- end }}
{{- with $serving.otel }}
{{- if .endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ .endpoint | quote }}
- name: OTEL_SERVICE_NAME
  value: {{ .serviceName | quote }}
{{- if .headersSecret.name }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom:
    secretKeyRef:
      name: {{ .headersSecret.name | quote }}
      key: {{ .headersSecret.key | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* As docs/models.md has them. */}}
{{- define "lmserve.haproxyEnv" -}}
- name: RAY_SERVE_ENABLE_HA_PROXY
  value: "1"
- name: RAY_SERVE_HAPROXY_BINARY_PATH
  value: /opt/venv/bin/lmserve-haproxy
- name: RAY_SERVE_HAPROXY_RETRY_ON
  value: conn-failure empty-response
- name: RAY_SERVE_HAPROXY_RETRIES
  value: "15"
- name: RAY_SERVE_HAPROXY_TUNE_BUFSIZE
  value: "262144"
- name: RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S
  value: "5"
{{- end -}}

{{/* A number as people write it, not 1e+06; several values with commas between. */}}
{{- define "lmserve.plain" -}}
{{- if kindIs "float64" . -}}
{{- if eq . (floor .) }}{{ printf "%.0f" . }}{{ else }}{{ printf "%v" . }}{{ end -}}
{{- else if kindIs "slice" . -}}
{{- join "," . -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}
