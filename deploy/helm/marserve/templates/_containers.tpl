{{/* TorchServe's container, of (dict "root" $ "values" $values "native" true). */}}
{{- define "marserve.torchserve" -}}
{{- $values := .values -}}
- name: torchserve
  image: {{ include "marserve.image" (dict "root" .root "image" $values.image "of" $values.image.torchserve) }}
  imagePullPolicy: {{ $values.image.pullPolicy }}
  {{- if .native }}
  restartPolicy: Always # a native sidecar: it starts before the web service, and ends after it
  {{- end }}
  args:
    - serve
    - --only=torchserve
    - --archive={{ ternary "/models" "/archive/models" (eq $values.archive.source "baked") }}
    {{- with $values.torchserve.workers }}
    - --workers={{ . }}
    {{- end }}
    {{- with $values.torchserve.extraArgs }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  env:
    {{- include "marserve.sharedEnv" $values | nindent 4 }}
    {{- with $values.archive.sha256 }}
    - {name: MARSERVE_ARCHIVE_SHA256, value: {{ . | quote }}}
    {{- end }}
    {{- with $values.torchserve.extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  startupProbe:
    exec: {command: [python3, -I, -m, marserve.probe, started]}
    periodSeconds: 2
    timeoutSeconds: 5
    failureThreshold: {{ div (add $values.torchserve.startupSeconds 1) 2 }}
  # Of the supervisor in it, which itself replaces Java and workers that die or hang. Readiness is the web service's to say.
  livenessProbe:
    exec: {command: [python3, -I, -m, marserve.probe, alive]}
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 3
  {{- if not .native }}
  readinessProbe: # says no more; but old kubelets notice a minute late that a container is ready that has none (kubernetes#95140)
    exec: {command: [python3, -I, -m, marserve.probe, alive]}
    periodSeconds: 2
    timeoutSeconds: 5
    failureThreshold: 3
  {{- end }}
  resources:
    {{- toYaml $values.torchserve.resources | nindent 4 }}
  securityContext:
    {{- include "marserve.securityContext" .root | nindent 4 }}
  volumeMounts:
    - {name: run, mountPath: /run/marserve}
    {{- if eq $values.archive.source "claim" }}
    - name: archive
      mountPath: /archive/models
      readOnly: true
      {{- with $values.archive.claim.subPath }}
      subPath: {{ . }}
      {{- end }}
    {{- else if ne $values.archive.source "baked" }}
    - {name: archive, mountPath: /archive, readOnly: true}
    {{- end }}
{{- end }}

{{/* The archive's own image, run once to copy what is in it, of (dict "root" $ "values" $values). */}}
{{- define "marserve.copyArchive" -}}
- name: archive
  image: {{ include "marserve.image" (dict "root" .root "image" .values.image "of" .values.archive.image) }}
  imagePullPolicy: {{ .values.image.pullPolicy }}
  command: [cp, -r, /models, /archive/]
  resources:
    requests: {cpu: 100m, memory: 64Mi}
    limits: {cpu: "1", memory: 64Mi}
  securityContext:
    {{- include "marserve.securityContext" .root | nindent 4 }}
  volumeMounts:
    - {name: archive, mountPath: /archive}
{{- end }}

{{/* The web service's container, of (dict "root" $ "values" $values). */}}
{{- define "marserve.web" -}}
{{- $values := .values -}}
{{- $secrets := .root.Values.secrets -}}
{{- $scheme := include "marserve.scheme" .root -}}
- name: web
  image: {{ include "marserve.image" (dict "root" .root "image" $values.image "of" $values.image.web) }}
  imagePullPolicy: {{ $values.image.pullPolicy }}
  args: [serve, --only=web, --host=0.0.0.0]
  ports:
    - {name: http, containerPort: 5000, protocol: TCP}
  env:
    {{- include "marserve.sharedEnv" $values | nindent 4 }}
    - {name: MARSERVE_DRAIN_S, value: {{ $values.drainSeconds | quote }}}
    {{- range $name, $value := omit $values.web.settings "max_image_bytes" "max_image_pixels" "max_in_flight" }}
    - {name: MARSERVE_{{ upper $name }}, value: {{ include "marserve.text" $value | quote }}}
    {{- end }}
    {{- if $secrets.apiKeys.existingSecret }}
    - {name: MARSERVE_API_KEYS_FILE, value: /etc/marserve/api-keys/keys}
    {{- end }}
    {{- with $secrets.cache.existingSecret }}
    - name: MARSERVE_CACHE_URL
      valueFrom: {secretKeyRef: {name: {{ . }}, key: {{ $secrets.cache.key }}}}
    {{- end }}
    {{- if $secrets.tls.existingSecret }}
    - {name: MARSERVE_TLS_CERTIFICATE, value: /etc/marserve/tls/tls.crt}
    - {name: MARSERVE_TLS_KEY, value: /etc/marserve/tls/tls.key}
    {{- end }}
    {{- with include "marserve.tracingEnv" .root }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with $values.web.extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  startupProbe:
    httpGet: {path: /healthz, port: http, scheme: {{ $scheme }}}
    periodSeconds: 1
    timeoutSeconds: 3
    failureThreshold: 120
  livenessProbe:
    httpGet: {path: /healthz, port: http, scheme: {{ $scheme }}}
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 3
  # True only after a picture was classified, as TorchServe's own ping is not: that is healthy without a worker.
  readinessProbe:
    httpGet: {path: /readyz, port: http, scheme: {{ $scheme }}}
    periodSeconds: 1
    timeoutSeconds: 3
    failureThreshold: 1
  resources:
    {{- toYaml $values.web.resources | nindent 4 }}
  securityContext:
    {{- include "marserve.securityContext" .root | nindent 4 }}
  volumeMounts:
    - {name: run, mountPath: /run/marserve}
    {{- if $secrets.apiKeys.existingSecret }}
    - {name: api-keys, mountPath: /etc/marserve/api-keys, readOnly: true}
    {{- end }}
    {{- if $secrets.tls.existingSecret }}
    - {name: tls, mountPath: /etc/marserve/tls, readOnly: true}
    {{- end }}
    {{- with .root.Values.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
