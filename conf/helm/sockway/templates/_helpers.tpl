{{- define "sockway.labels" -}}
app.kubernetes.io/name: sockway
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "sockway.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* What install, run and uninstall all need to know of the node. */}}
{{- define "sockway.pathsEnv" -}}
- name: SOCKWAY_BPFFS
  value: "{{ .Values.paths.bpffs }}/sockway"
- name: SOCKWAY_CNI_BIN_DIR
  value: {{ .Values.paths.cniBinDir | quote }}
- name: SOCKWAY_CNI_CONF_DIR
  value: {{ .Values.paths.cniConfDir | quote }}
- name: SOCKWAY_CONF_NAME
  value: {{ .Values.confName | quote }}
- name: SOCKWAY_RUN_DIR
  value: {{ .Values.paths.runDir | quote }}
- name: SOCKWAY_STATE_DIR
  value: {{ .Values.paths.stateDir | quote }}
{{- if ne .Values.paths.cgroup "auto" }}
- name: SOCKWAY_CGROUP
  value: {{ .Values.paths.cgroup | quote }}
{{- end }}
{{- end }}

{{/* Each capability with its reason. No privileged; hostPID only where lateReaders says so. */}}
{{- define "sockway.securityContext" -}}
runAsUser: 0
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
  add:
    # Loads programs, makes and reads maps.
    - BPF
    # The programs read kernel memory; guards are tracing programs.
    - PERFMON
    # Attaches sock_ops and sk_msg programs.
    - NET_ADMIN
    # Mounts cgroup2 on hosts that have none; enters pods' network namespaces
    # to check the addresses of pods that are older than the install; proves itself
    # in namespaces that it throws away (sockway doctor).
    - SYS_ADMIN
    {{- if .Values.raiseMemlock }}
    # Raises RLIMIT_MEMLOCK, against which maps count before Linux 5.11.
    - SYS_RESOURCE
    {{- end }}
    # Keeps the owner of a conflist that is not root's.
    - CHOWN
    # Writes into directories of the node that are not root's.
    - DAC_OVERRIDE
    {{- if ne .Values.lateReaders "none" }}
    # Sees in which system call the owners of sockets are that come in late.
    - SYS_PTRACE
    {{- end }}
seccompProfile:
  # The default profile refuses mount and setns on some runtimes.
  type: Unconfined
# The default AppArmor profile refuses to pin anything under /sys/fs/bpf.
{{- if semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version }}
appArmorProfile:
  type: Unconfined
{{- end }}
# The default SELinux type may not write into the node's directories.
seLinuxOptions:
  type: spc_t
{{- end }}

{{/* AppArmor before Kubernetes 1.30; the argument: root context, container's name. */}}
{{- define "sockway.appArmorAnnotation" -}}
{{- if semverCompare "<1.30.0-0" (index . 0).Capabilities.KubeVersion.Version }}
container.apparmor.security.beta.kubernetes.io/{{ index . 1 }}: unconfined
{{- end }}
{{- end }}

{{/* Where pods of the DaemonSets may be; the argument: root context, whether for nodes that are switched off. */}}
{{- define "sockway.placement" -}}
{{- $off := index . 1 }}
{{- with index . 0 }}
# The pod network may not work without this pod, so it does not depend on it.
hostNetwork: true
dnsPolicy: ClusterFirstWithHostNet
automountServiceAccountToken: false
priorityClassName: {{ .Values.priorityClassName }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
nodeSelector:
  kubernetes.io/os: linux
  {{- if eq $off "only" }}
  sockway.io/off: "true"
  {{- end }}
  {{- with .Values.nodeSelector }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- /* Beside what is given: each of its terms is enough for a node, so each gets ours. ACK's virtual nodes have
       no kernel of their own; nodes that are switched off have a DaemonSet of their own. */}}
{{- $ours := list
  (dict "key" "kubernetes.io/arch" "operator" "In" "values" (list "amd64" "arm64"))
  (dict "key" "type" "operator" "NotIn" "values" (list "virtual-kubelet")) }}
{{- if eq $off "none" }}
{{- $ours = append $ours (dict "key" "sockway.io/off" "operator" "NotIn" "values" (list "true")) }}
{{- end }}
{{- $affinity := deepCopy .Values.affinity }}
{{- $node := $affinity.nodeAffinity | default dict }}
{{- $given := ($node.requiredDuringSchedulingIgnoredDuringExecution | default dict).nodeSelectorTerms }}
{{- $terms := list }}
{{- range $given | default (list dict) }}
{{- $terms = append $terms (set . "matchExpressions" (concat (.matchExpressions | default list) $ours)) }}
{{- end }}
{{- $_ := set $node "requiredDuringSchedulingIgnoredDuringExecution" (dict "nodeSelectorTerms" $terms) }}
{{- $_ := set $affinity "nodeAffinity" $node }}
affinity: {{- toYaml $affinity | nindent 2 }}
tolerations: {{- toYaml .Values.tolerations | nindent 2 }}
{{- end }}
{{- end }}

{{- define "sockway.mounts" -}}
- name: cni-bin
  mountPath: {{ .Values.paths.cniBinDir }}
- name: cni-conf
  mountPath: {{ .Values.paths.cniConfDir }}
- name: bpffs
  mountPath: {{ .Values.paths.bpffs }}
- name: run
  mountPath: {{ .Values.paths.runDir }}
- name: state
  mountPath: {{ .Values.paths.stateDir }}
{{- end }}

{{- define "sockway.volumes" -}}
# The plugin's binary goes here.
- name: cni-bin
  hostPath: { path: {{ .Values.paths.cniBinDir }}, type: Directory }
# The conflist is here.
- name: cni-conf
  hostPath: { path: {{ .Values.paths.cniConfDir }}, type: Directory }
# Programs and maps are pinned here and outlive this pod.
- name: bpffs
  hostPath: { path: {{ .Values.paths.bpffs }}, type: Directory }
# The lock that keeps two keepers apart, and the private cgroup2 mount's directory.
- name: run
  hostPath: { path: {{ .Values.paths.runDir }}, type: DirectoryOrCreate }
# That the node was switched off.
- name: state
  hostPath: { path: {{ .Values.paths.stateDir }}, type: DirectoryOrCreate }
{{- end }}
