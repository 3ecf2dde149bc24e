{{- define "tokenspeed.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "tokenspeed.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "tokenspeed.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "tokenspeed.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "tokenspeed.selector" -}}
app.kubernetes.io/name: {{ include "tokenspeed.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tokenspeed.labels" -}}
{{ include "tokenspeed.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "tokenspeed.image" -}}
{{- $image := .Values.image }}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{- define "tokenspeed.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "tokenspeed.fullname" .) }}
{{- else }}
{{- .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{- define "tokenspeed.keysSecret" -}}
{{- .Values.auth.existingSecret | default (printf "%s-keys" (include "tokenspeed.fullname" .)) }}
{{- end }}

{{/* What has to hold between values, beyond their schema. */}}
{{- define "tokenspeed.check" -}}
{{- $auth := .Values.auth }}
{{- if not (or $auth.existingSecret $auth.keys $auth.insecure) }}
{{- fail "auth.existingSecret is needed: a Secret with API keys (or auth.keys for a trial, or auth.insecure behind something that asks for credentials)" }}
{{- end }}
{{- if and .Values.redis.enabled .Values.externalRedis.existingSecret }}
{{- fail "redis.enabled and externalRedis.existingSecret: there is one Redis" }}
{{- end }}
{{- if and .Values.ingress.enabled .Values.httpRoute.enabled }}
{{- fail "ingress.enabled and httpRoute.enabled: take one" }}
{{- end }}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) }}
{{- fail "httpRoute.parentRefs is needed: the Gateway that the route belongs to" }}
{{- end }}
{{- if gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas) }}
{{- fail "autoscaling.minReplicas is more than autoscaling.maxReplicas" }}
{{- end }}
{{- end }}

{{/* Seconds from the wish that a pod goes to SIGKILL: preStop, the drain, and what comes after. */}}
{{- define "tokenspeed.grace" -}}
{{- add .Values.preStopSeconds .Values.drainSeconds 15 }}
{{- end }}

{{- define "tokenspeed.env" -}}
- { name: TOKENSPEED_HOST, value: "0.0.0.0" }
- { name: TOKENSPEED_PORT, value: "8000" }
- { name: TOKENSPEED_DRAIN_S, value: {{ .Values.drainSeconds | quote }} }
- { name: TOKENSPEED_MAX_SESSIONS, value: {{ .Values.maxSessions | quote }} }
{{- if eq .Values.kind "Deployment" }}
- { name: TOKENSPEED_METRICS_PORT, value: {{ .Values.metricsPort | quote }} }
{{- end }}
{{- if .Values.auth.insecure }}
- { name: TOKENSPEED_INSECURE, value: "1" }
{{- else }}
- name: TOKENSPEED_API_KEYS
  valueFrom:
    secretKeyRef: { name: {{ include "tokenspeed.keysSecret" . }}, key: {{ .Values.auth.key }} }
{{- end }}
{{- with .Values.publicUrl }}
- { name: TOKENSPEED_PUBLIC_URL, value: {{ . | quote }} }
{{- end }}
{{- with .Values.origins }}
- { name: TOKENSPEED_ORIGINS, value: {{ join "," . | quote }} }
{{- end }}
{{- with .Values.proxies }}
- { name: TOKENSPEED_PROXIES, value: {{ join "," . | quote }} }
{{- end }}
{{- if .Values.redis.enabled }}
- name: REDIS_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ .Values.redis.existingSecret | default (printf "%s-redis" .Release.Name) }}
      key: password
- { name: TOKENSPEED_REDIS_URL, value: "redis://:$(REDIS_PASSWORD)@{{ .Release.Name }}-redis:6379/0" }
{{- else if .Values.externalRedis.existingSecret }}
- name: TOKENSPEED_REDIS_URL
  valueFrom:
    secretKeyRef:
      name: {{ .Values.externalRedis.existingSecret }}
      key: {{ .Values.externalRedis.key }}
{{- end }}
{{- if .Values.model.path }}
- { name: TOKENSPEED_MODEL, value: {{ .Values.model.path | quote }} }
{{- end }}
{{- if .Values.gpu.count }}
- { name: TOKENSPEED_DEVICE, value: "cuda{{ if gt (int .Values.gpu.count) 1 }}:{{ untilStep 0 (int .Values.gpu.count) 1 | join "," }}{{ end }}" }
- { name: TRITON_CACHE_DIR, value: /tmp/triton }
{{- end }}
- { name: HOME, value: /tmp } # the root is read-only
{{- range $name, $value := .Values.settings }}
- { name: {{ $name }}, value: {{ $value | quote }} }
{{- end }}
{{- end }}

{{- define "tokenspeed.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "tokenspeed.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{- define "tokenspeed.resources" -}}
{{- $limits := deepCopy (.Values.resources.limits | default dict) }}
{{- if .Values.gpu.count }}
{{- $_ := set $limits .Values.gpu.resource (int .Values.gpu.count) }}
{{- end }}
{{- toYaml (merge (dict "limits" $limits) .Values.resources) }}
{{- end }}

{{- define "tokenspeed.mounts" -}}
- { name: tmp, mountPath: /tmp }
{{- if .Values.model.existingClaim }}
- { name: models, mountPath: /models, readOnly: true }
{{- end }}
{{- if or (gt (int .Values.gpu.count) 1) (eq .Values.kind "RayService") }}
- { name: shm, mountPath: /dev/shm }
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "tokenspeed.volumes" -}}
- name: tmp
  emptyDir: { sizeLimit: 8Gi }
{{- if .Values.model.existingClaim }}
- name: models
  persistentVolumeClaim: { claimName: {{ .Values.model.existingClaim }}, readOnly: true }
{{- end }}
{{- if or (gt (int .Values.gpu.count) 1) (eq .Values.kind "RayService") }}
- name: shm # several GPUs speak through it, and Ray's processes
  emptyDir: { medium: Memory, sizeLimit: 1Gi }
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Where pods may run. */}}
{{- define "tokenspeed.placing" -}}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- if or .Values.tolerations .Values.gpu.count }}
tolerations:
  {{- if .Values.gpu.count }}
  - { key: {{ .Values.gpu.resource }}, operator: Exists, effect: NoSchedule }
  {{- end }}
  {{- with .Values.tolerations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .Values.topologySpread }}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - topologyKey: {{ . }}
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "tokenspeed.selector" $ | nindent 8 }}
  {{- end }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The service that a proxy in front asks. */}}
{{- define "tokenspeed.backend" -}}
{{- if eq .Values.kind "RayService" -}}
{{ include "tokenspeed.fullname" . }}-serve-svc
{{- else -}}
{{ include "tokenspeed.fullname" . }}
{{- end }}
{{- end }}

{{- define "tokenspeed.backendPort" -}}
{{- if eq .Values.kind "RayService" }}8000{{ else }}{{ .Values.service.port }}{{ end }}
{{- end }}
