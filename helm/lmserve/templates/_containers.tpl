{{/* A probe of Ray by HTTP. Takes times, path, port. */}}
{{- define "lmserve.probe" -}}
httpGet:
  path: {{ .path }}
  port: {{ .port }}
{{ toYaml .times }}
{{- end -}}

{{/* Probes of Ray's container; of a worker of the service, whether HTTP is answered there. */}}
{{- define "lmserve.probes" -}}
{{- $raylet := dict "path" "/api/local_raylet_healthz" "port" 52365 -}}
{{- $ready := $raylet -}}
{{- if eq .type "head" -}}
{{- $ready = dict "path" "/api/gcs_healthz" "port" 8265 -}}
{{- else if eq .part "serve" -}}
{{- $ready = dict "path" "/-/healthz" "port" 8000 -}}
{{- end -}}
{{- $times := .root.Values.probes -}}
startupProbe:
  {{- include "lmserve.probe" (merge (dict "times" $times.startup) $raylet) | nindent 2 }}
livenessProbe:
  {{- include "lmserve.probe" (merge (dict "times" $times.liveness) $raylet) | nindent 2 }}
readinessProbe:
  {{- include "lmserve.probe" (merge (dict "times" $times.readiness) $ready) | nindent 2 }}
{{- end -}}

{{/* Ports of Ray's container, by the names that KubeRay knows. */}}
{{- define "lmserve.ports" -}}
{{- if eq .type "head" }}
- {name: gcs-server, containerPort: 6379}
- {name: dashboard, containerPort: 8265}
- {name: client, containerPort: 10001}
- {name: as-metrics, containerPort: 44217}
- {name: dash-metrics, containerPort: 44227}
{{- end }}
{{- if eq .part "serve" }}
- {name: serve, containerPort: 8000}
{{- end }}
- {name: metrics, containerPort: 8080}
{{- end -}}

{{/* Beside Ray from beginning to end, and started again by itself: an init container that stays. */}}
{{- define "lmserve.metricsContainer" -}}
- name: lmserve-metrics
  image: {{ include "lmserve.image" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  restartPolicy: Always
  command: [lmserve, metrics, --host, 0.0.0.0, --port, "9465", --disk, /tmp, --disk, /home/lmserve/.cache]
  env:
    - name: LMSERVE_METRICS_DIR
      value: /var/lib/lmserve/metrics
  ports:
    - {name: lmserve-metrics, containerPort: 9465}
  livenessProbe:
    httpGet: {path: /metrics, port: 9465}
    periodSeconds: 60
    timeoutSeconds: 10
    failureThreshold: 3
  securityContext:
    {{- toYaml .Values.pods.containerSecurityContext | nindent 4 }}
  resources:
    {{- toYaml .Values.metrics.resources | nindent 4 }}
  volumeMounts:
    - {name: lmserve-metrics, mountPath: /var/lib/lmserve/metrics}
    - {name: tmp, mountPath: /tmp}
    - {name: cache, mountPath: /home/lmserve/.cache}
{{- end -}}

{{/* Checks every byte of the models before a pod serves them, and fetches those of a URL. */}}
{{- define "lmserve.verifyContainer" -}}
- name: verify-models
  image: {{ include "lmserve.image" .root | quote }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  command: [lmserve, verify, {{ .root.Values.serving.model.location | quote }}]
  {{- with .envFrom }}
  envFrom:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  env:
    {{- .env | nindent 4 }}
  securityContext:
    {{- toYaml .root.Values.pods.containerSecurityContext | nindent 4 }}
  resources:
    {{- toYaml .resources | nindent 4 }}
  volumeMounts:
    {{- .mounts | nindent 4 }}
{{- end -}}

{{/* What Ray's container sees. */}}
{{- define "lmserve.mounts" -}}
{{- $values := .root.Values -}}
- {name: tmp, mountPath: /tmp}
- {name: cache, mountPath: /home/lmserve/.cache}
- {name: lmserve-metrics, mountPath: /var/lib/lmserve/metrics}
{{- if $values.pods.sharedMemorySizeLimit }}
- {name: object-store, mountPath: /dev/shm}
{{- end }}
{{- if $values.storage.persistence.enabled }}
- {name: data, mountPath: {{ $values.storage.persistence.mountPath | quote }}, readOnly: {{ eq .part "serve" }}}
{{- end }}
{{- if and (ne .part "job") (include "lmserve.redisCa" .root) }}
- {name: redis-ca, mountPath: /etc/lmserve/redis-ca, readOnly: true}
{{- end }}
{{- if eq .part "serve" }}
{{- if and (include "lmserve.servingUsesRedis" .root) (include "lmserve.redisSecret" .root) }}
- {name: redis-password, mountPath: /etc/lmserve/redis, readOnly: true}
{{- end }}
{{- if $values.serving.apiKeys.existingSecret }}
- {name: api-keys, mountPath: /etc/lmserve/keys, readOnly: true}
{{- end }}
{{- end }}
{{- end -}}

{{- define "lmserve.volumes" -}}
{{- $values := .root.Values -}}
- name: tmp
  emptyDir: {sizeLimit: {{ $values.pods.tmpSizeLimit | quote }}}
- name: cache
  emptyDir: {sizeLimit: {{ $values.pods.cacheSizeLimit | quote }}}
- name: lmserve-metrics
  emptyDir: {sizeLimit: 256Mi}
{{- with $values.pods.sharedMemorySizeLimit }}
- name: object-store
  emptyDir: {medium: Memory, sizeLimit: {{ . | quote }}}
{{- end }}
{{- if $values.storage.persistence.enabled }}
- name: data
  persistentVolumeClaim:
    claimName: {{ include "lmserve.claimName" .root | quote }}
{{- end }}
{{- if and (ne .part "job") (include "lmserve.redisCa" .root) }}
- name: redis-ca
  secret:
    secretName: {{ include "lmserve.redisCa" .root | quote }}
    defaultMode: 0440
    items: [{key: ca.crt, path: ca.crt}]
{{- end }}
{{- if eq .part "serve" }}
{{- if and (include "lmserve.servingUsesRedis" .root) (include "lmserve.redisSecret" .root) }}
- name: redis-password
  secret:
    secretName: {{ include "lmserve.redisSecret" .root | quote }}
    defaultMode: 0440
    items: [{key: {{ $values.redis.auth.key | quote }}, path: {{ $values.redis.auth.key | quote }}}]
{{- end }}
{{- with $values.serving.apiKeys.existingSecret }}
- name: api-keys
  secret:
    secretName: {{ . | quote }}
    defaultMode: 0440
    items: [{key: {{ $values.serving.apiKeys.key | quote }}, path: {{ $values.serving.apiKeys.key | quote }}}]
{{- end }}
{{- end }}
{{- end -}}
