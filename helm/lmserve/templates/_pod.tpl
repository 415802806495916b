{{/* By which pods of one of Ray's clusters are known. Takes root, cluster. */}}
{{- define "lmserve.clusterSelector" -}}
{{ include "lmserve.selector" .root }}
lmserve/cluster: {{ .cluster | quote }}
{{- end -}}

{{/*
The template of one of Ray's pods. Takes root; part: serve, job or cluster; cluster: a name for the
label; type: head or worker; node: of the values, a head or a worker group; env: lists of variables;
autoscaling; roll: what makes new pods when it changes.
*/}}
{{- define "lmserve.rayPod" -}}
{{- $root := .root -}}
{{- $pods := $root.Values.pods -}}
{{- $node := .node -}}
{{- $serve := eq .part "serve" -}}
{{- $envFrom := concat $pods.extraEnvFrom ($node.extraEnvFrom | default list) -}}
{{- with $root.Values.storage.existingSecret -}}
{{- $envFrom = prepend $envFrom (dict "secretRef" (dict "name" .)) -}}
{{- end -}}
{{- $mounts := include "lmserve.mounts" . -}}
{{- $extraMounts := concat $pods.extraVolumeMounts ($node.extraVolumeMounts | default list) -}}
{{- with $extraMounts -}}
{{- $mounts = printf "%s\n%s" $mounts (toYaml .) -}}
{{- end -}}
{{- $own := include "lmserve.baseEnv" (dict "root" $root "part" .part) | fromYamlArray -}}
{{- $env := include "lmserve.env" (dict "lists" (list $own .env $pods.extraEnv ($node.extraEnv | default list))) -}}
{{- $annotations := merge dict ($node.podAnnotations | default dict) $pods.annotations -}}
{{- with .roll -}}
{{- $_ := set $annotations "checksum/secrets" . -}}
{{- end -}}
metadata:
  labels:
    {{- include "lmserve.clusterSelector" . | nindent 4 }}
    app.kubernetes.io/component: {{ .type | quote }}
    app.kubernetes.io/part-of: "lmserve"
    {{- range $name, $value := merge dict ($node.podLabels | default dict) $pods.labels $root.Values.commonLabels }}
    {{ $name }}: {{ $value | quote }}
    {{- end }}
  {{- with $annotations }}
  annotations:
    {{- range $name, $value := . }}
    {{ $name }}: {{ $value | quote }}
    {{- end }}
  {{- end }}
spec:
  serviceAccountName: {{ include "lmserve.serviceAccountName" $root | quote }}
  automountServiceAccountToken: {{ and .autoscaling (eq .type "head") }}
  enableServiceLinks: false
  securityContext:
    {{- toYaml $pods.securityContext | nindent 4 }}
  {{- with $root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . | quote }}
    {{- end }}
  {{- end }}
  {{- with include "lmserve.placement" . | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  terminationGracePeriodSeconds: {{ include "lmserve.graceSeconds" . }}
  {{- with include "lmserve.initContainers" (merge (dict "envFrom" $envFrom "mounts" $mounts "variables" $env) .) | trim }}
  initContainers:
    {{- . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ printf "ray-%s" .type }}
      image: {{ include "lmserve.image" $root | quote }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      env:
        {{- $env | nindent 8 }}
      {{- with $envFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        {{- include "lmserve.ports" . | trim | nindent 8 }}
      {{- if $serve }}
      # New requests go elsewhere while those in flight are answered.
      lifecycle:
        preStop:
          exec:
            command: [sleep, {{ add $root.Values.serving.drainSeconds 5 | quote }}]
      {{- end }}
      {{- include "lmserve.probes" . | nindent 6 }}
      resources:
        {{- toYaml $node.resources | nindent 8 }}
      securityContext:
        {{- toYaml $pods.containerSecurityContext | nindent 8 }}
      volumeMounts:
        {{- $mounts | nindent 8 }}
    {{- with concat $pods.sidecars ($node.sidecars | default list) }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    {{- include "lmserve.volumes" . | nindent 4 }}
    {{- with concat $pods.extraVolumes ($node.extraVolumes | default list) }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/* After the pause of the end: Ray's own time for replicas, and some to spare. */}}
{{- define "lmserve.graceSeconds" -}}
{{- $least := eq .part "serve" | ternary (add (mul .root.Values.serving.drainSeconds 2) 30) 30 -}}
{{- .node.terminationGracePeriodSeconds | default $least -}}
{{- end -}}

{{/* Where a pod runs. What a head or group says comes before what `pods` says. */}}
{{- define "lmserve.placement" -}}
{{- $pods := .root.Values.pods -}}
{{- $node := .node -}}
{{- with merge dict ($node.nodeSelector | default dict) $pods.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with concat $pods.tolerations ($node.tolerations | default list) }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $node.affinity | default $pods.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- $spread := $node.topologySpreadConstraints | default $pods.topologySpreadConstraints }}
{{- if $spread }}
topologySpreadConstraints:
  {{- toYaml $spread | nindent 2 }}
{{- else if and (eq .part "serve") (eq .type "worker") }}
topologySpreadConstraints:
  {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "lmserve.clusterSelector" $ | nindent 8 }}
        app.kubernetes.io/component: "worker"
  {{- end }}
{{- end }}
{{- range $name := list "priorityClassName" "runtimeClassName" "schedulerName" }}
{{- with get $node $name | default (get $pods $name) }}
{{ $name }}: {{ . | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* What begins before Ray. Takes what `lmserve.rayPod` takes, and envFrom, mounts, variables. */}}
{{- define "lmserve.initContainers" -}}
{{- $pods := .root.Values.pods -}}
{{- $serving := .root.Values.serving -}}
{{- if .root.Values.metrics.enabled }}
{{ include "lmserve.metricsContainer" .root }}
{{- end }}
{{- $scores := or (eq .type "worker") (empty $serving.workerGroups) }}
{{- if and (eq .part "serve") $scores $serving.model.verify }}
{{ include "lmserve.verifyContainer" (dict "root" .root "envFrom" .envFrom "env" .variables "mounts" .mounts "resources" .node.resources) }}
{{- end }}
{{- with concat $pods.initContainers (.node.initContainers | default list) }}
{{ toYaml . }}
{{- end }}
{{- end -}}
