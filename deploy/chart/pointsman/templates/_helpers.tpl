{{/* Labels of every object. */}}
{{- define "pointsman.labels" -}}
app.kubernetes.io/name: pointsman
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/*
Labels of the pods, used by selectors. Names and selectors do not depend on the release: each node runs one proxy, because the ports
and the tables belong to the node.
*/}}
{{- define "pointsman.selectorLabels" -}}
app.kubernetes.io/name: pointsman
{{- end }}

{{- define "pointsman.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* The KubeProxyConfiguration, as the pods read it. */}}
{{- define "pointsman.config" -}}
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
{{ toYaml .Values.config }}
{{- end }}

{{/* The port of an address like 0.0.0.0:10256 or [::]:10256. */}}
{{- define "pointsman.port" -}}
{{ . | splitList ":" | last }}
{{- end }}

{{/* The port of health checks. An empty address means kube-proxy's default. */}}
{{- define "pointsman.healthPort" -}}
{{ .Values.config.healthzBindAddress | default "0.0.0.0:10256" | include "pointsman.port" }}
{{- end }}
