{{/* One address to scrape, under the job that rules and boards know. Takes root, port, job. */}}
{{- define "lmserve.scrape" -}}
- port: {{ .port }}
  path: /metrics
  interval: {{ .root.Values.monitoring.interval }}
  relabelings:
    - {action: replace, targetLabel: job, replacement: {{ .job }}}
    - {action: replace, targetLabel: cluster, replacement: {{ include "lmserve.monitoredCluster" .root | quote }}}
{{- end -}}
