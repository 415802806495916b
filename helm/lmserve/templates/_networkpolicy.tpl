{{/* Begins a policy. Takes root, suffix, selector (lines of labels). */}}
{{- define "lmserve.policy" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "lmserve.metadata" (dict "root" .root "name" (printf "%s-%s" (include "lmserve.fullname" .root) .suffix)) | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "lmserve.selector" .root | nindent 6 }}
      {{- with .selector }}
      {{- . | nindent 6 }}
      {{- end }}
{{- end -}}

{{/* Ports of TCP, as a rule has them. */}}
{{- define "lmserve.tcp" -}}
ports:
  {{- range . }}
  - {protocol: TCP, port: {{ . }}}
  {{- end }}
{{- end -}}

{{/* Pods of the release. Takes root, and labels: lines. */}}
{{- define "lmserve.ownPods" -}}
- podSelector:
    matchLabels:
      {{- include "lmserve.selector" .root | nindent 6 }}
      {{- .labels | nindent 6 }}
{{- end -}}

{{/* All of Ray's pods of the release. */}}
{{- define "lmserve.allRayPods" -}}
- podSelector:
    matchLabels:
      {{- include "lmserve.selector" . | nindent 6 }}
    matchExpressions:
      - {key: lmserve/cluster, operator: Exists}
{{- end -}}

{{/* The names of Ray's clusters, as the label `lmserve/cluster` has them, under `names`. */}}
{{- define "lmserve.clusterNames" -}}
names:
  {{- if .Values.serving.enabled }}
  - serve
  {{- end }}
  {{- if .Values.cluster.enabled }}
  - cluster
  {{- end }}
  {{- range (include "lmserve.allJobs" . | fromYaml).jobs }}
  - {{ printf "%s-%s" .kind .name | quote }}
  {{- end }}
{{- end -}}

{{/* Those of them whose heads have an autoscaler, under `names`. */}}
{{- define "lmserve.scaledClusterNames" -}}
names:
  {{- if and .Values.serving.enabled .Values.serving.nodeAutoscaling.enabled }}
  - serve
  {{- end }}
  {{- if and .Values.cluster.enabled .Values.cluster.nodeAutoscaling.enabled }}
  - cluster
  {{- end }}
  {{- range (include "lmserve.allJobs" . | fromYaml).jobs }}
  {{- if .nodeAutoscaling.enabled }}
  - {{ printf "%s-%s" .kind .name | quote }}
  {{- end }}
  {{- end }}
{{- end -}}
