{{/* The command's part for one kind of job. */}}
{{- define "lmserve.jobModule" -}}
{{- get (dict "build" "build_ngram" "counts" "counts" "train" "train" "score" "score_corpus" "publish" "publish") . -}}
{{- end -}}

{{/* A word as a shell takes it, whatever is in it. */}}
{{- define "lmserve.shellWord" -}}
{{- if regexMatch "^[A-Za-z0-9_@%+=:,./-]+$" . -}}
{{- . -}}
{{- else -}}
{{- printf "'%s'" (replace "'" "'\"'\"'" .) -}}
{{- end -}}
{{- end -}}

{{/* A job's command: Ray has one shell read it, in every submission mode. Takes kind, job. */}}
{{- define "lmserve.jobCommand" -}}
{{- $job := .job -}}
{{- $words := list "python" "-m" (printf "jobs.%s" (include "lmserve.jobModule" .kind)) -}}
{{- with $job.model -}}
{{- $words = append $words . -}}
{{- end -}}
{{- $words = concat $words ($job.text | default list) -}}
{{- range $job.valid | default list -}}
{{- $words = concat $words (list "--valid" .) -}}
{{- end -}}
{{- with $job.output -}}
{{- $words = concat $words (list "--output" .) -}}
{{- end -}}
{{- with $job.to -}}
{{- $words = concat $words (list "--to" .) -}}
{{- end -}}
{{- if and $job.role (ne .kind "publish") -}}
{{- $words = concat $words (list "--role" $job.role) -}}
{{- end -}}
{{- $shell := list -}}
{{- range concat $words $job.args -}}
{{- $shell = append $shell (include "lmserve.shellWord" (toString .)) -}}
{{- end -}}
{{- join " " $shell -}}
{{- end -}}

{{/* All jobs with what they do not say themselves, as a list under `jobs`; each has kind, fullName. */}}
{{- define "lmserve.allJobs" -}}
{{- $all := list -}}
{{- range $kind := list "build" "counts" "train" "score" "publish" -}}
{{- range $entry := get $.Values.jobs $kind -}}
{{- $job := mergeOverwrite (deepCopy $.Values.jobs.defaults) (deepCopy $entry) -}}
{{- $_ := set $job "kind" $kind -}}
{{- $_ := set $job "fullName" (printf "%s-%s-%s" (include "lmserve.fullname" $) $kind $job.name) -}}
{{- $all = append $all $job -}}
{{- end -}}
{{- end -}}
{{- dict "jobs" $all | toYaml -}}
{{- end -}}


{{/* The pod that submits a job; KubeRay adds the command and Ray's token. */}}
{{- define "lmserve.submitterPod" -}}
{{- $root := .root -}}
{{- $pods := $root.Values.pods -}}
metadata:
  labels:
    {{- include "lmserve.selector" $root | nindent 4 }}
    app.kubernetes.io/component: "submitter"
    app.kubernetes.io/part-of: "lmserve"
    {{- range $name, $value := merge dict $pods.labels $root.Values.commonLabels }}
    {{ $name }}: {{ $value | quote }}
    {{- end }}
spec:
  restartPolicy: Never
  automountServiceAccountToken: false
  enableServiceLinks: false
  securityContext:
    {{- toYaml $pods.securityContext | nindent 4 }}
  {{- with $root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . | quote }}
    {{- end }}
  {{- end }}
  {{- with include "lmserve.placement" (dict "root" $root "node" .job.submitter "part" "job" "type" "submitter") | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  containers:
    - name: ray-job-submitter
      image: {{ include "lmserve.image" $root | quote }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      env:
        - name: RAY_USAGE_STATS_ENABLED
          value: "0"
      securityContext:
        {{- toYaml $pods.containerSecurityContext | nindent 8 }}
      resources:
        {{- toYaml .job.submitter.resources | nindent 8 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
  volumes:
    - name: tmp
      emptyDir: {sizeLimit: 1Gi}
{{- end -}}
