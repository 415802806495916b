{{/* Kubernetes makes a label of it and a hash, so that a StatefulSet's name has 52 characters. */}}
{{- define "lmserve.redisName" -}}
{{- printf "%s-redis" (include "lmserve.fullname" . | trunc 46 | trimSuffix "-") -}}
{{- end -}}

{{/* Whether there is a Redis: "true" or nothing. */}}
{{- define "lmserve.hasRedis" -}}
{{- if or .Values.redis.enabled .Values.redis.externalUrl }}true{{ end -}}
{{- end -}}

{{/* The URL without database and query, as Ray's head wants it. */}}
{{- define "lmserve.redisAddress" -}}
{{- if .Values.redis.externalUrl -}}
{{- $parts := urlParse .Values.redis.externalUrl -}}
{{- printf "%s://%s" $parts.scheme $parts.host -}}
{{- else -}}
{{- $scheme := .Values.redis.tls.enabled | ternary "rediss" "redis" -}}
{{- printf "%s://%s.%s.svc.%s:6379" $scheme (include "lmserve.redisName" .) .Release.Namespace .Values.clusterDomain -}}
{{- end -}}
{{- end -}}

{{/* The user in the URL, if there is one. */}}
{{- define "lmserve.redisUser" -}}
{{- with .Values.redis.externalUrl -}}
{{- (urlParse .).userinfo -}}
{{- end -}}
{{- end -}}

{{/* The URL as the service wants it: with the certificate authority, where there is one. */}}
{{- define "lmserve.redisUrl" -}}
{{- $url := .Values.redis.externalUrl | default (printf "%s/0" (include "lmserve.redisAddress" .)) -}}
{{- if and (include "lmserve.redisCa" .) (not (contains "ssl_ca_certs=" $url)) -}}
{{- $mark := contains "?" $url | ternary "&" "?" -}}
{{- $url = printf "%s%sssl_ca_certs=/etc/lmserve/redis-ca/ca.crt" $url $mark -}}
{{- end -}}
{{- $url -}}
{{- end -}}

{{/* The Secret with the password; empty where there is none. */}}
{{- define "lmserve.redisSecret" -}}
{{- $own := and .Values.redis.enabled .Values.redis.auth.generate | ternary (include "lmserve.redisName" .) "" -}}
{{- .Values.redis.auth.existingSecret | default $own -}}
{{- end -}}

{{/* The Secret with the certificate authority; empty where the system's are enough. */}}
{{- define "lmserve.redisCa" -}}
{{- if and (include "lmserve.hasRedis" .) (hasPrefix "rediss" (include "lmserve.redisAddress" .)) -}}
{{- .Values.redis.tls.existingSecret -}}
{{- end -}}
{{- end -}}

{{- define "lmserve.servingUsesRedis" -}}
{{- if and (include "lmserve.hasRedis" .) .Values.redis.forService }}true{{ end -}}
{{- end -}}

{{/* What KubeRay is told about fault tolerance. The name in Redis is left to it: during an upgrade,
two clusters of one RayService keep theirs apart. */}}
{{- define "lmserve.gcsFaultTolerance" -}}
redisAddress: {{ include "lmserve.redisAddress" . | quote }}
{{- with include "lmserve.redisUser" . }}
redisUsername:
  value: {{ . | quote }}
{{- end }}
{{- with include "lmserve.redisSecret" . }}
redisPassword:
  valueFrom:
    secretKeyRef:
      name: {{ . | quote }}
      key: {{ $.Values.redis.auth.key | quote }}
{{- end }}
{{- end -}}
