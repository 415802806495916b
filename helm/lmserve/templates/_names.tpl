{{/* A name that KubeRay takes: it begins with a letter, has no dots, and at most 47 characters. */}}
{{- define "lmserve.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- $release := .Release.Name | replace "." "-" -}}
{{- $full := .Values.fullnameOverride -}}
{{- if not $full -}}
{{- $full = contains $name $release | ternary $release (printf "%s-%s" $release $name) -}}
{{- end -}}
{{- if not (regexMatch "^[a-z]" $full) -}}
{{- $full = printf "lm-%s" $full -}}
{{- end -}}
{{- if gt (len $full) 47 -}}
{{- $full = printf "%s-%s" ($full | trunc 40 | trimSuffix "-") ($full | sha256sum | trunc 6) -}}
{{- end -}}
{{- $full -}}
{{- end -}}

{{/* By which the release's own pods are known. */}}
{{- define "lmserve.selector" -}}
app.kubernetes.io/name: {{ .Values.nameOverride | default .Chart.Name | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "lmserve.labels" -}}
{{ include "lmserve.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
app.kubernetes.io/part-of: "lmserve"
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
{{- range $name, $value := .Values.commonLabels }}
{{ $name }}: {{ $value | quote }}
{{- end }}
{{- end -}}

{{/* Name, labels and annotations of an object. Takes root, name, and maybe labels, annotations. */}}
{{- define "lmserve.metadata" -}}
{{- $annotations := merge dict (.annotations | default dict) .root.Values.commonAnnotations -}}
name: {{ .name | quote }}
namespace: {{ .root.Release.Namespace | quote }}
labels:
  {{- include "lmserve.labels" .root | nindent 2 }}
  {{- range $name, $value := .labels | default dict }}
  {{ $name }}: {{ $value | quote }}
  {{- end }}
{{- if $annotations }}
annotations:
  {{- range $name, $value := $annotations }}
  {{ $name }}: {{ $value | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* The name of an image. Takes image (as in values), and the tag where it has none. */}}
{{- define "lmserve.imageName" -}}
{{- $image := .image -}}
{{- $repository := $image.repository -}}
{{- with $image.registry -}}
{{- $repository = printf "%s/%s" . $repository -}}
{{- end -}}
{{- if $image.digest -}}
{{ $repository }}@{{ $image.digest }}
{{- else -}}
{{ $repository }}:{{ $image.tag | default .tag }}
{{- end -}}
{{- end -}}

{{- define "lmserve.image" -}}
{{- include "lmserve.imageName" (dict "image" .Values.image "tag" .Chart.AppVersion) -}}
{{- end -}}

{{- define "lmserve.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "lmserve.fullname" .) "default") -}}
{{- end -}}

{{/* The Secret with Ray's token; empty where KubeRay makes one, or nobody does. */}}
{{- define "lmserve.tokenSecret" -}}
{{- $own := .Values.auth.generate | ternary (printf "%s-ray-token" (include "lmserve.fullname" .)) "" -}}
{{- .Values.auth.existingSecret | default $own -}}
{{- end -}}

{{- define "lmserve.claimName" -}}
{{- .Values.storage.persistence.existingClaim | default (printf "%s-data" (include "lmserve.fullname" .)) -}}
{{- end -}}

{{/* KubeRay's Service before the service's pods. */}}
{{- define "lmserve.serveServiceName" -}}
{{- printf "%s-serve-svc" (include "lmserve.fullname" .) -}}
{{- end -}}

{{/* The value of the label `cluster` of all series. */}}
{{- define "lmserve.monitoredCluster" -}}
{{- .Values.monitoring.cluster | default (printf "%s/%s" .Release.Namespace (include "lmserve.fullname" .)) -}}
{{- end -}}
