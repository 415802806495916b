{{/*
A cluster as KubeRay has it. Takes root, part and cluster as `lmserve.rayPod`; of: of the values,
what has head, workerGroups, nodeAutoscaling; env: a list of variables; faultTolerance; roll.
*/}}
{{- define "lmserve.rayClusterSpec" -}}
{{- $root := .root -}}
{{- $of := .of -}}
{{- $scaling := $of.nodeAutoscaling.enabled -}}
{{- $pod := dict "root" $root "part" .part "cluster" .cluster "env" .env "autoscaling" $scaling "roll" .roll -}}
rayVersion: {{ $root.Values.rayVersion | quote }}
enableInTreeAutoscaling: {{ $scaling }}
{{- if $scaling }}
autoscalerOptions:
  version: v2
  idleTimeoutSeconds: {{ $of.nodeAutoscaling.idleTimeoutSeconds }}
  upscalingMode: {{ $of.nodeAutoscaling.upscalingMode }}
  imagePullPolicy: {{ $root.Values.image.pullPolicy }}
  resources:
    {{- toYaml $of.nodeAutoscaling.resources | nindent 4 }}
  securityContext:
    {{- toYaml $root.Values.pods.containerSecurityContext | nindent 4 }}
  # KubeRay adds the folder that it shares with the head, below this one.
  volumeMounts:
    - {name: tmp, mountPath: /tmp}
{{- end }}
authOptions:
  mode: {{ $root.Values.auth.mode }}
  {{- if eq $root.Values.auth.mode "token" }}
  {{- with include "lmserve.tokenSecret" $root }}
  secretName: {{ . | quote }}
  {{- end }}
  {{- end }}
{{- if .faultTolerance }}
gcsFaultToleranceOptions:
  {{- include "lmserve.gcsFaultTolerance" $root | nindent 2 }}
{{- end }}
headGroupSpec:
  serviceType: ClusterIP
  rayStartParams:
    {{- include "lmserve.startParams" $of.head | trim | nindent 4 }}
  {{- with $of.head.role }}
  labels:
    lmserve/role: {{ . | quote }}
  {{- end }}
  template:
    {{- include "lmserve.rayPod" (merge (dict "type" "head" "node" $of.head) $pod) | nindent 4 }}
workerGroupSpecs:
  {{- range $group := $of.workerGroups }}
  - groupName: {{ $group.name | quote }}
    replicas: {{ $group.replicas | default 1 }}
    minReplicas: {{ hasKey $group "minReplicas" | ternary $group.minReplicas ($group.replicas | default 1) }}
    maxReplicas: {{ $group.maxReplicas | default (max ($group.replicas | default 1 | int) ($group.minReplicas | default 0 | int)) }}
    numOfHosts: {{ $group.numOfHosts | default 1 }}
    {{- with $group.idleTimeoutSeconds }}
    idleTimeoutSeconds: {{ . }}
    {{- end }}
    {{- with $group.role }}
    labels:
      lmserve/role: {{ . | quote }}
    {{- end }}
    rayStartParams:
      {{- include "lmserve.startParams" $group | trim | nindent 6 }}
    template:
      {{- include "lmserve.rayPod" (merge (dict "type" "worker" "node" $group) $pod) | nindent 6 }}
  {{- else }}
  []
  {{- end }}
{{- end -}}

{{- define "lmserve.startParams" -}}
{{- range $name, $value := .rayStartParams | default dict }}
{{ $name }}: {{ $value | quote }}
{{- else }}
{}
{{- end }}
{{- end -}}
