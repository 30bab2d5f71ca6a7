# shellcheck shell=bash
# The parts of a cluster: Kubernetes, etcd, CoreDNS and Istio, built from the Go
# modules below e2e/cluster/tools, which pin their versions; and a Prometheus.
# Sourced by scripts/setup, not run.

CLUSTER_TOOLS=e2e/cluster/tools

setup_cluster() {
    local log=$SOCKWAY_CACHE/cluster.log
    setup_runtime
    setup_conf
    setup_e2e
    setup_bench
    setup_go_programs
    program openssl openssl
    program nsenter util-linux
    tools[SOCKWAY_CLUSTER_KUBERNETES]=$(cluster_directory kubernetes)
    tools[SOCKWAY_CLUSTER_ISTIO]=$(cluster_directory istio)
    cluster_module kubernetes "$log"
    cluster_module istio "$log"
    fetch_prometheus "$log"
}

# Where the programs of a module are: another pin, another directory.
cluster_directory() {
    local module=$1
    printf '%s/cluster-%s-%s\n' "$SOCKWAY_CACHE" "$module" \
        "$(find "$CLUSTER_TOOLS/$module" -type f -print0 | LC_ALL=C sort -z | xargs -0 cat | sha256sum | cut -c 1-12)"
}

cluster_module() {
    local module=$1 log=$2 directory go
    directory=$(cluster_directory "$module")
    [[ -f $directory/complete ]] && return 0
    go=$(find_go)
    say "building $module from its Go modules (some ten minutes, once; Go's caches take up to 12 GB; log in $log)"
    mkdir -p "$directory"
    if ! "build_$module" "$go" "$directory" >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        fail "$CLUSTER_TOOLS/$module cannot be built: the Go module proxy must be reachable (GOPROXY); the end of $log is above. What is built stays, so that the next run goes on there"
    fi
    cp "$CLUSTER_TOOLS/$module/go.mod" "$directory/complete"
}

# The version that a module pins.
pinned() {
    awk -v name="$2" '$1 == name { print $2; exit }  $1 == "require" && $2 == name { print $3; exit }' "$CLUSTER_TOOLS/$1/go.mod"
}

# One program after the other: linking several at once takes more memory than small machines have.
build_go() {
    local go=$1 module=$2 out=$3 flags=$4 package
    for package in "${@:5}"; do
        env -C "$CLUSTER_TOOLS/$module" -u GOROOT CGO_ENABLED=0 GOFLAGS=-modcacherw GOWORK=off \
            nice -n 10 "$go" build -mod=readonly -trimpath -ldflags "-s -w $flags" \
            -tags vtprotobuf,disable_pgv -o "$out/" "$package" || return 1
        printf 'built %s\n' "$package"
    done
} 9>&-

build_kubernetes() {
    local go=$1 out=$2 version stamp
    version=$(pinned kubernetes k8s.io/kubernetes)
    stamp=k8s.io/component-base/version
    build_go "$go" kubernetes "$out" \
        "-X $stamp.gitVersion=$version -X $stamp.gitMajor=1 -X $stamp.gitMinor=$(cut -d . -f 2 <<<"$version")" \
        k8s.io/kubernetes/cmd/{kubectl,kube-apiserver,kube-controller-manager,kube-scheduler,kube-proxy,kubelet} \
        ./coredns ./etcd
}

build_istio() {
    local go=$1 out=$2
    build_go "$go" istio "$out" "" istio.io/istio/{istioctl/cmd/istioctl,pilot/cmd/pilot-agent,cni/cmd/istio-cni,cni/cmd/install-cni,pilot/cmd/pilot-discovery}
    # Envoy's first configuration, which pilot-agent fills in.
    install -m 0644 "$(env -C "$CLUSTER_TOOLS/istio" -u GOROOT GOFLAGS=-modcacherw GOWORK=off "$go" list -mod=readonly -m -f '{{.Dir}}' istio.io/istio)/tools/packaging/common/envoy_bootstrap.json" "$out/envoy_bootstrap.json"
}

# Unpacked and not installed: the package would start a server.
fetch_prometheus() {
    local log=$1 directory=$SOCKWAY_CACHE/prometheus-1 work
    tools[SOCKWAY_PROMETHEUS]=$directory/prometheus
    [[ -x $directory/prometheus ]] && return 0
    if command -v prometheus >/dev/null; then
        tools[SOCKWAY_PROMETHEUS]=$(command -v prometheus)
        return 0
    fi
    [[ -n $(candidate prometheus) ]] || refresh_lists
    say "fetching prometheus"
    work=$(mktemp -d "$SOCKWAY_CACHE/prometheus.XXXXXX")
    mkdir -p "$directory"
    (cd "$work" && apt-get -qq -o APT::Sandbox::User=root download prometheus && dpkg -x prometheus_*.deb unpacked) >>"$log" 2>&1 9>&- &&
        install -m 0755 "$work/unpacked/usr/bin/prometheus" "$directory/prometheus" ||
        fail "prometheus cannot be fetched; see $log"
    rm -rf "$work"
}
