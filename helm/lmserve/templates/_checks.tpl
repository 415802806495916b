{{/*
What the schema cannot see: values that do not go together. KubeRay's operator would refuse most of
them only once they are in the cluster. Each problem is a line.
*/}}
{{- define "lmserve.problems" -}}
{{- include "lmserve.servingProblems" . -}}
{{- include "lmserve.redisProblems" . -}}
{{- include "lmserve.networkProblems" . -}}
{{- include "lmserve.jobProblems" . -}}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) (or .Values.rbac.rules .Values.serving.nodeAutoscaling.enabled) }}
- serviceAccount.create is false and serviceAccount.name is empty: rights would go to the namespace's ServiceAccount "default". Name one.
{{- end }}
{{- if and (eq .Values.auth.mode "token") (semverCompare "<2.52.0" .Values.rayVersion) }}
- auth.mode is token and rayVersion is {{ .Values.rayVersion }}: Ray knows tokens from 2.52.0 on.
{{- end }}
{{- if and .Values.auth.existingSecret .Values.auth.generate }}
- auth.existingSecret and auth.generate are both given: give one.
{{- end }}
{{- if and (eq .Values.auth.mode "disabled") (or .Values.auth.existingSecret .Values.auth.generate) }}
- auth.mode is disabled and a token is given: set auth.mode to token, or leave the token out.
{{- end }}
{{- if and .Values.monitoring.podMonitor.enabled .Values.monitoring.serviceMonitor.enabled }}
- monitoring.podMonitor and monitoring.serviceMonitor are both enabled: everything would be counted twice. Enable one.
{{- end }}
{{- if and (or .Values.monitoring.podMonitor.enabled .Values.monitoring.serviceMonitor.enabled) (not .Values.metrics.enabled) }}
- monitoring is to scrape lmserve's metrics and metrics.enabled is false: enable it.
{{- end }}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) }}
- httpRoute.enabled is true and httpRoute.parentRefs is empty: name a Gateway.
{{- end }}
{{- if and (or .Values.ingress.enabled .Values.httpRoute.enabled) (not .Values.serving.enabled) }}
- ingress or httpRoute is enabled and serving.enabled is false: there is nothing to lead to.
{{- end }}
{{- end -}}

{{- define "lmserve.servingProblems" -}}
{{- $serving := .Values.serving }}
{{- if $serving.enabled }}
{{- $strategy := $serving.upgradeStrategy }}
{{- if eq $strategy.type "NewClusterWithIncrementalUpgrade" }}
{{- if not $serving.nodeAutoscaling.enabled }}
- serving.upgradeStrategy.type is NewClusterWithIncrementalUpgrade, which needs serving.nodeAutoscaling.enabled.
{{- end }}
{{- if not $strategy.gatewayClassName }}
- serving.upgradeStrategy.type is NewClusterWithIncrementalUpgrade, which needs serving.upgradeStrategy.gatewayClassName.
{{- end }}
{{- if or .Values.ingress.enabled .Values.httpRoute.enabled }}
- serving.upgradeStrategy.type is NewClusterWithIncrementalUpgrade, for which KubeRay makes a Gateway and its HTTPRoute: disable ingress and httpRoute.
{{- end }}
{{- end }}
{{- if and $serving.autoscaling.enabled (gt (int $serving.autoscaling.minReplicas) (int $serving.autoscaling.maxReplicas)) }}
- serving.autoscaling.minReplicas is {{ $serving.autoscaling.minReplicas }} and maxReplicas {{ $serving.autoscaling.maxReplicas }}: the first must not be more.
{{- end }}
{{- if and (hasPrefix "cuda" $serving.model.device) (le (float64 $serving.gpusPerReplica) 0.0) }}
- serving.model.device is {{ $serving.model.device }} and serving.gpusPerReplica 0: give 1, or a part of one.
{{- end }}
{{- $url := contains "://" $serving.model.location }}
{{- if and (not $url) (not .Values.storage.persistence.enabled) }}
- serving.model.location is {{ $serving.model.location }} and storage.persistence.enabled false: enable it, or give a URL.
{{- end }}
{{- if and (not $url) .Values.storage.persistence.enabled (not (hasPrefix (printf "%s/" .Values.storage.persistence.mountPath) $serving.model.location)) }}
- serving.model.location is {{ $serving.model.location }}, which is not below storage.persistence.mountPath, {{ .Values.storage.persistence.mountPath }}.
{{- end }}
{{- if and $serving.role $serving.workerGroups }}
{{- $roles := list ($serving.head.role | default "") }}
{{- range $serving.workerGroups }}{{ $roles = append $roles (.role | default "") }}{{ end }}
{{- if not (has $serving.role $roles) }}
- serving.role is {{ $serving.role }}, which no worker group has: no replica could run.
{{- end }}
{{- end }}
{{- if and $serving.role (not $serving.workerGroups) (ne $serving.role ($serving.head.role | default "")) }}
- serving.workerGroups is empty and serving.head.role is not {{ $serving.role }}: no replica could run.
{{- end }}
{{- include "lmserve.clusterProblems" (dict "path" "serving" "of" $serving "root" $ "faultTolerance" (and (include "lmserve.hasRedis" $) .Values.redis.gcsFaultTolerance)) }}
{{- end }}
{{- if .Values.cluster.enabled }}
{{- include "lmserve.clusterProblems" (dict "path" "cluster" "of" .Values.cluster "root" $ "faultTolerance" .Values.cluster.gcsFaultTolerance) }}
{{- if and .Values.cluster.gcsFaultTolerance (not (include "lmserve.hasRedis" .)) }}
- cluster.gcsFaultTolerance is true and there is no Redis: set redis.enabled or redis.externalUrl.
{{- end }}
{{- end }}
{{- end -}}

{{/* Of one of Ray's clusters. Takes path, of, root, faultTolerance. */}}
{{- define "lmserve.clusterProblems" -}}
{{- $taken := dict }}
{{- range $group := .of.workerGroups }}
{{- if hasKey $taken $group.name }}
- {{ $.path }}.workerGroups has two groups of the name {{ $group.name }}.
{{- end }}
{{- $_ := set $taken $group.name true }}
{{- $least := hasKey $group "minReplicas" | ternary $group.minReplicas 0 | int }}
{{- $most := $group.maxReplicas | default 2147483647 | int }}
{{- if or (gt $least $most) (gt ($group.replicas | default 1 | int) $most) }}
- {{ $.path }}.workerGroups, {{ $group.name }}: maxReplicas is {{ $most }}, which is less than minReplicas or replicas.
{{- end }}
{{- end }}
{{- $env := concat .root.Values.pods.extraEnv (.of.extraEnv | default list) (.of.head.extraEnv | default list) }}
{{- range $env }}
{{- if has .name (list "RAY_REDIS_ADDRESS" "REDIS_PASSWORD" "REDIS_USERNAME" "RAY_external_storage_namespace") }}
- {{ $.path }}: the variable {{ .name }} is KubeRay's to set, from redis: leave it out of extraEnv.
{{- end }}
{{- if has .name (list "RAY_AUTH_MODE" "RAY_AUTH_TOKEN") }}
- {{ $.path }}: the variable {{ .name }} is KubeRay's to set, from auth: leave it out of extraEnv.
{{- end }}
{{- if eq .name "RAY_enable_autoscaler_v2" }}
- {{ $.path }}: the variable {{ .name }} is KubeRay's to set, from nodeAutoscaling: leave it out of extraEnv.
{{- end }}
{{- end }}
{{- range $name := list "redis-password" "redis-username" "labels" }}
{{- if hasKey ($.of.head.rayStartParams | default dict) $name }}
- {{ $.path }}.head.rayStartParams has {{ $name }}, which KubeRay refuses: use {{ eq $name "labels" | ternary "role" "redis" }}.
{{- end }}
{{- end }}
{{- range $group := .of.workerGroups }}
{{- if hasKey ($group.rayStartParams | default dict) "labels" }}
- {{ $.path }}.workerGroups, {{ $group.name }}: rayStartParams has labels, which KubeRay refuses: use role.
{{- end }}
{{- end }}
{{- end -}}

{{- define "lmserve.redisProblems" -}}
{{- $redis := .Values.redis }}
{{- if and $redis.enabled $redis.externalUrl }}
- redis.enabled is true and redis.externalUrl is given: choose one.
{{- end }}
{{- if $redis.externalUrl }}
{{- $parts := urlParse $redis.externalUrl }}
{{- if contains ":" $parts.userinfo }}
- redis.externalUrl has a password in it, which Ray would log: put it in a Secret and name that in redis.auth.existingSecret.
{{- end }}
{{- if and $redis.gcsFaultTolerance (not (has $parts.scheme (list "redis" "rediss"))) (or .Values.serving.enabled .Values.cluster.gcsFaultTolerance) }}
- redis.externalUrl is of {{ $parts.scheme }}, which Ray's head cannot use: give redis:// or rediss://, or set redis.gcsFaultTolerance to false.
{{- end }}
{{- if $redis.auth.generate }}
- redis.auth.generate is for Redis of this release: name the other's Secret in redis.auth.existingSecret.
{{- end }}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.redis.to) }}
- redis.externalUrl is given and networkPolicy.redis.to is empty: nothing could reach it. Say where it is.
{{- end }}
{{- end }}
{{- if $redis.enabled }}
{{- if not (or $redis.auth.existingSecret $redis.auth.generate) }}
- redis.enabled is true and has no password: name a Secret in redis.auth.existingSecret, or set redis.auth.generate.
{{- end }}
{{- if and $redis.auth.existingSecret $redis.auth.generate }}
- redis.auth.existingSecret and redis.auth.generate are both given: give one.
{{- end }}
{{- if and $redis.tls.enabled (not $redis.tls.existingSecret) }}
- redis.tls.enabled is true: name a Secret with tls.crt, tls.key and ca.crt in redis.tls.existingSecret.
{{- end }}
{{- end }}
{{- end -}}

{{- define "lmserve.networkProblems" -}}
{{- $policy := .Values.networkPolicy }}
{{- if $policy.enabled }}
{{- if and .Values.serving.enabled (contains "://" .Values.serving.model.location) (not $policy.storage.to) }}
- serving.model.location is a URL and networkPolicy.storage.to is empty: it could not be fetched. Say where the store is.
{{- end }}
{{- if and .Values.serving.enabled .Values.serving.otel.endpoint (not $policy.otel.to) }}
- serving.otel.endpoint is given and networkPolicy.otel.to is empty: spans could not be sent. Say where the collector is.
{{- end }}
{{- if and (or .Values.ingress.enabled .Values.httpRoute.enabled) (not $policy.clients) }}
- ingress or httpRoute is enabled and networkPolicy.clients is empty: its controller could not reach the service. Say where it is.
{{- end }}
{{- if and .Values.serving.enabled (eq .Values.serving.upgradeStrategy.type "NewClusterWithIncrementalUpgrade") (not $policy.clients) }}
- serving.upgradeStrategy.type is NewClusterWithIncrementalUpgrade and networkPolicy.clients is empty: the Gateway could not reach the service. Say where it is.
{{- end }}
{{- range (include "lmserve.allJobs" . | fromYaml).jobs }}
{{- if and (contains "://" (join " " (concat (.text | default list) (.valid | default list) (list (.model | default "") (.output | default "") (.to | default ""))))) (not $policy.storage.to) }}
- jobs.{{ .kind }}, {{ .name }}, has a URL and networkPolicy.storage.to is empty: it could not be reached. Say where the store is.
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "lmserve.jobProblems" -}}
{{- $taken := dict }}
{{- range $job := (include "lmserve.allJobs" . | fromYaml).jobs }}
{{- $path := printf "jobs.%s, %s" $job.kind $job.name }}
{{- if gt (len $job.fullName) 47 }}
- {{ $path }}: its full name {{ $job.fullName }} has {{ len $job.fullName }} characters, and KubeRay takes 47: shorten it, or set fullnameOverride.
{{- end }}
{{- if hasKey $taken $job.fullName }}
- {{ $path }}: there are two of this name.
{{- end }}
{{- $_ := set $taken $job.fullName true }}
{{- if and $job.role $job.workerGroups }}
{{- $roles := list }}
{{- range $job.workerGroups }}{{ $roles = append $roles (.role | default "") }}{{ end }}
{{- if not (has $job.role $roles) }}
- {{ $path }}: its role is {{ $job.role }}, which none of its worker groups has.
{{- end }}
{{- end }}
{{- range (concat (list ($job.model | default "") ($job.output | default "") ($job.to | default "")) ($job.text | default list) ($job.valid | default list)) }}
{{- if and . (not (contains "://" .)) (not $.Values.storage.persistence.enabled) }}
- {{ $path }}: {{ . }} is a path and storage.persistence.enabled is false: enable it, or give a URL.
{{- else if and . (not (contains "://" .)) (not (hasPrefix (printf "%s/" $.Values.storage.persistence.mountPath) .)) }}
- {{ $path }}: {{ . }} is not below storage.persistence.mountPath, {{ $.Values.storage.persistence.mountPath }}: other nodes would not see it.
{{- end }}
{{- end }}
{{- include "lmserve.clusterProblems" (dict "path" $path "of" $job "root" $ "faultTolerance" false) }}
{{- end }}
{{- end -}}
