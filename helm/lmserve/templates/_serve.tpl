{{/* What Ray Serve is told: the application that cluster/application.py is. */}}
{{- define "lmserve.serveConfig" -}}
{{- $serving := .Values.serving -}}
{{- $protection := $serving.protection -}}
{{- $least := $serving.autoscaling.enabled | ternary $serving.autoscaling.minReplicas $serving.replicas -}}
{{- $places := add (get $protection "MAX_CONCURRENT" | default 256 | int) (hasKey $protection "MAX_QUEUED" | ternary (get $protection "MAX_QUEUED") 256 | int) 64 -}}
proxy_location: EveryNode
http_options:
  host: 0.0.0.0
  port: 8000
applications:
  - name: lmserve
    import_path: cluster.application:service
    route_prefix: /
    args:
      model: {{ $serving.model.location | quote }}
      cache: {{ $serving.model.cache }}
      device: {{ $serving.model.device | quote }}
      poll_s: {{ $serving.model.pollSeconds }}
      replicas: {{ max 1 ($least | int) }}
      {{- if include "lmserve.servingUsesRedis" . }}
      redis_url: {{ include "lmserve.redisUrl" . | quote }}
      {{- end }}
    deployments:
      - name: scorer
        {{- if $serving.autoscaling.enabled }}
        autoscaling_config:
          {{- with $serving.autoscaling }}
          min_replicas: {{ .minReplicas }}
          initial_replicas: {{ .minReplicas }}
          max_replicas: {{ .maxReplicas }}
          target_ongoing_requests: {{ .targetOngoingRequests }}
          upscale_delay_s: {{ .upscaleDelaySeconds }}
          downscale_delay_s: {{ .downscaleDelaySeconds }}
          {{- end }}
        {{- else }}
        num_replicas: {{ $serving.replicas }}
        {{- end }}
        max_ongoing_requests: {{ $places }}
        graceful_shutdown_timeout_s: {{ add $serving.drainSeconds 10 }}
        ray_actor_options:
          num_cpus: {{ $serving.cpusPerReplica }}
          num_gpus: {{ $serving.gpusPerReplica }}
          {{- with $serving.role }}
          label_selector:
            lmserve/role: {{ . | quote }}
          {{- end }}
{{- end -}}


{{/* What changes when an existing Secret does, told by its version: nothing of what is in it. Keys of
the service are left out, as replicas read them again by themselves. */}}
{{- define "lmserve.secretVersions" -}}
{{- if .Values.serving.rollOnSecretChange -}}
{{- $versions := list -}}
{{- range $name := list .Values.auth.existingSecret .Values.redis.auth.existingSecret .Values.redis.tls.existingSecret .Values.storage.existingSecret .Values.serving.otel.headersSecret.name -}}
{{- if $name -}}
{{- $secret := lookup "v1" "Secret" $.Release.Namespace $name -}}
{{- $versions = append $versions (dig "metadata" "resourceVersion" "" $secret) -}}
{{- end -}}
{{- end -}}
{{- if $versions -}}
{{- join "," $versions | sha256sum -}}
{{- end -}}
{{- end -}}
{{- end -}}
