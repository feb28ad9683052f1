{{/* Names. A Service's name has 63 characters at most; "-canary" must still fit. */}}
{{- define "marserve.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 56 | trimSuffix "-" -}}
{{- end }}

{{- define "marserve.fullname" -}}
{{- $name := include "marserve.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 56 | trimSuffix "-" -}}
{{- end }}

{{- define "marserve.serviceAccountName" -}}
{{- default (ternary (include "marserve.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end }}

{{/* What all pods of a release have in common, the candidate's included. */}}
{{- define "marserve.selector" -}}
app.kubernetes.io/name: {{ include "marserve.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: server
{{- end }}

{{- define "marserve.testSelector" -}}
app.kubernetes.io/name: {{ include "marserve.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: test
{{- end }}

{{- define "marserve.labels" -}}
app.kubernetes.io/name: {{ include "marserve.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (replace "+" "_" .Chart.Version) }}
{{- end }}

{{/* Which Kubernetes: "true" where it is at least the second of (list $ "1.29"). Vendors' versions have suffixes, which -0 takes. */}}
{{- define "marserve.kubernetes" -}}
{{- $root := index . 0 -}}
{{- $version := default $root.Capabilities.KubeVersion.Version $root.Values.kubeVersion -}}
{{- semverCompare (printf ">=%s-0" (index . 1)) $version -}}
{{- end }}

{{/* The one step for old clusters: policy/v1 exists since 1.21, autoscaling/v2 since 1.23. NOTES.txt says where it was taken. */}}
{{- define "marserve.policyVersion" -}}
{{- eq (include "marserve.kubernetes" (list . "1.21")) "true" | ternary "policy/v1" "policy/v1beta1" -}}
{{- end }}
{{- define "marserve.autoscalingVersion" -}}
{{- eq (include "marserve.kubernetes" (list . "1.23")) "true" | ternary "autoscaling/v2" "autoscaling/v2beta2" -}}
{{- end }}

{{/* An image of (dict "root" $ "image" .Values.image "of" .Values.image.web). */}}
{{- define "marserve.image" -}}
{{- $tag := default .root.Chart.AppVersion .of.tag -}}
{{- with .image.registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- .of.repository }}{{ if .of.digest }}@{{ .of.digest }}{{ else }}:{{ $tag }}{{ end -}}
{{- end }}

{{/* What checkov would rather have, and why it is not so; of (dict "root" $ "image" $values.image "test" false). */}}
{{- define "marserve.checkov" -}}
{{- $skips := list -}}
{{- if not (and .image.web.digest (or .test .image.torchserve.digest)) -}}
{{- $skips = append $skips "CKV_K8S_43=digests are of the images that you build: image.*.digest" -}}
{{- end -}}
{{- if ne .image.pullPolicy "Always" -}}
{{- $skips = append $skips "CKV_K8S_15=a tag is a version, which does not change; pods start while the registry is away" -}}
{{- end -}}
{{- if .test -}}
{{- $skips = concat $skips (list "CKV_K8S_8=it runs once and ends" "CKV_K8S_9=it runs once and ends") -}}
{{- else -}}
{{- with .root.Values }}{{ if or .secrets.cache.existingSecret (and .tracing.endpoint .secrets.tracingHeaders.existingSecret) -}}
{{- $skips = append $skips "CKV_K8S_35=an address and headers, which the programs read from variables alone; keys and certificates are files" -}}
{{- end }}{{ end -}}
{{- end -}}
{{- range $number, $skip := $skips }}
checkov.io/skip{{ add $number 1 }}: {{ $skip | quote }}
{{- end }}
{{- end }}

{{- define "marserve.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "marserve.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "marserve.scheme" -}}
{{- ternary "HTTPS" "HTTP" (not (empty .Values.secrets.tls.existingSecret)) -}}
{{- end }}

{{/* Seconds from SIGTERM to SIGKILL: it stops being ready and goes on accepting; what began to arrive arrives (upload_deadline_s) and is
answered (request_deadline_s); then TorchServe ends. It rarely takes as long: the pod is gone when nobody waits any more. */}}
{{- define "marserve.graceSeconds" -}}
{{- $settings := .web.settings -}}
{{- $upload := default 30 $settings.upload_deadline_s -}}
{{- $request := default 10 $settings.request_deadline_s -}}
{{- add .drainSeconds (ceil $upload) (ceil $request) 10 -}}
{{- end }}

{{/* Variables that must be the same in both containers. */}}
{{- define "marserve.sharedEnv" -}}
- {name: MARSERVE_HOME, value: /run/marserve}
- {name: MARSERVE_GRACE_S, value: {{ include "marserve.graceSeconds" . | quote }}}
{{- range $name, $value := pick .web.settings "max_image_bytes" "max_image_pixels" "max_in_flight" }}
- {name: MARSERVE_{{ upper $name }}, value: {{ include "marserve.text" $value | quote }}}
{{- end }}
{{- end }}

{{/* A value as text: Helm reads numbers as floats, and would write 50000000 as 5e+07. */}}
{{- define "marserve.text" -}}
{{- if kindIs "slice" . }}{{ join "," . }}{{ else if and (kindIs "float64" .) (eq . (floor .)) }}{{ int64 . }}{{ else }}{{ . }}{{ end -}}
{{- end }}

{{- define "marserve.apiKeysVolume" -}}
{{- with .Values.secrets.apiKeys }}{{ if .existingSecret -}}
- name: api-keys
  secret: {secretName: {{ .existingSecret }}, defaultMode: 0440, items: [{key: {{ .key }}, path: keys}]}
{{- end }}{{ end }}
{{- end }}

{{/* OpenTelemetry's own variables: without an endpoint nothing is traced. */}}
{{- define "marserve.tracingEnv" -}}
{{- with .Values.tracing }}{{ if .endpoint -}}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ .endpoint | quote }}}
- {name: OTEL_TRACES_SAMPLER, value: {{ .sampler | quote }}}
- {name: OTEL_TRACES_SAMPLER_ARG, value: {{ .samplerArg | quote }}}
- {name: OTEL_SERVICE_NAME, value: {{ include "marserve.fullname" $ | quote }}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- {name: OTEL_RESOURCE_ATTRIBUTES, value: "k8s.namespace.name={{ $.Release.Namespace }},k8s.pod.name=$(POD_NAME)"}
{{- with $.Values.secrets.tracingHeaders }}{{ if .existingSecret }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom: {secretKeyRef: {name: {{ .existingSecret }}, key: {{ .key }}}}
{{- end }}{{ end }}
{{- end }}{{ end }}
{{- end }}

{{/* How many requests are in flight: a gauge, added up over pods. The labels are those that the ServiceMonitor gives. */}}
{{- define "marserve.inFlightQuery" -}}
sum(avg_over_time(web_requests_in_flight{namespace="{{ .Release.Namespace }}",job="{{ include "marserve.fullname" . }}",track="stable"}[30s]))
{{- end }}

{{/* Refuses the upgrade that begins to scale while Helm alone owns the number of pods: as Helm gives the field up, the server would set
its default, one pod, until whatever scales now acts. A second owner keeps the number. (`lookup` finds nothing without a cluster.) */}}
{{- define "marserve.keepReplicas" -}}
{{- $name := include "marserve.fullname" . -}}
{{- $now := lookup "apps/v1" "Deployment" .Release.Namespace $name -}}
{{- $owners := list -}}
{{- range dig "metadata" "managedFields" list $now -}}
{{- if and (eq .operation "Apply") (hasKey (dig "f:spec" dict .fieldsV1) "f:replicas") -}}
{{- $owners = append $owners .manager -}}
{{- end -}}
{{- end -}}
{{- $pods := int (dig "spec" "replicas" 0 $now) -}}
{{- if and $owners (not (has "autoscaling" $owners)) (gt $pods 1) -}}
{{- $patch := dict "apiVersion" "apps/v1" "kind" "Deployment" "metadata" (dict "name" $name) "spec" (dict "replicas" $pods) | toJson -}}
{{- fail (printf "\nautoscaling.engine: %s would begin with one pod in place of %d. To keep them, run this first:\n\n    echo '%s' |\n      kubectl -n %s apply --server-side --field-manager autoscaling --validate=false -f -\n" .Values.autoscaling.engine $pods $patch .Release.Namespace) -}}
{{- end -}}
{{- end }}
