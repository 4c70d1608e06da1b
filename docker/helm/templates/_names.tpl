{{- define "sightline.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sightline.metadata" -}}
name: {{ .Release.Name }}
labels:
  {{- include "sightline.selector" . | nindent 2 }}
  app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{- /* Numbers and lists as JSON: Helm would else print 20971520 as 2.097152e+07. */}}
{{- define "sightline.value" -}}
{{ kindIs "string" . | ternary . (toJson .) | quote }}
{{- end }}
