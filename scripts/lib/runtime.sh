# shellcheck shell=bash
# What the CNI conformance tests run: the current libcni with cnitool and the
# reference plugins, built from e2e/conformance/libcni, and a container runtime.
# Sourced by scripts/setup, not run.

LIBCNI_SOURCE=e2e/conformance/libcni
# Fetched as a Go module where there is no Go that fetches newer ones itself.
GO_TOOLCHAIN=1.24.2

setup_runtime() {
    program ip iproute2
    program iptables iptables
    program containerd containerd
    program runc runc
    setup_libcni
}

setup_libcni() {
    local directory go log=$SOCKWAY_CACHE/libcni.log
    directory=$SOCKWAY_CACHE/libcni-$(cat "$LIBCNI_SOURCE"/{main.go,tools.go,go.mod,go.sum} | sha256sum | cut -c 1-12)
    tools[SOCKWAY_LIBCNI]=$directory
    [[ -x $directory/sockway-libcni ]] && return 0
    go=$(find_go)
    say "building libcni's cnitool, the reference plugins and our driver (one to three minutes, once; log in $log)"
    rm -rf "$directory.new"
    mkdir -p "$directory.new/plugins"
    if ! build_libcni "$go" "$directory.new" >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        rm -rf "$directory.new"
        fail "$LIBCNI_SOURCE cannot be built: the Go module proxy must be reachable (GOPROXY); the end of $log is above"
    fi
    rm -rf "$directory"
    mv "$directory.new" "$directory"
}

build_libcni() {
    local go=$1 out=$2 cni=github.com/containernetworking/cni plugins=github.com/containernetworking/plugins/plugins
    local build=(env -C "$LIBCNI_SOURCE" -u GOROOT CGO_ENABLED=0 GOFLAGS=-modcacherw "$go" build -mod=readonly -trimpath -ldflags '-s -w')
    "${build[@]}" -o "$out/sockway-libcni" . &&
        "${build[@]}" -o "$out/cnitool" "$cni/cnitool" &&
        "${build[@]}" -o "$out/plugins/" "$plugins"/main/{bridge,loopback,ptp} \
            "$plugins/ipam/host-local" "$plugins"/meta/{bandwidth,portmap,tuning}
} 9>&-

# A Go that builds the module: 1.21 and later fetch what go.mod asks for.
find_go() {
    local go version root
    for go in "$(command -v go || true)" /usr/local/go/bin/go /usr/lib/go-1.*/bin/go; do
        if [[ -x $go ]]; then
            version=$({ GOTOOLCHAIN=local "$go" env GOVERSION 2>/dev/null || true; } | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
            [[ ${version:-0} -lt 21 ]] || {
                printf '%s\n' "$go"
                return 0
            }
        fi
    done
    # Debian 12's is older.
    program go golang-go
    fetch_go_toolchain
}

# Go's releases are modules too: one that old versions can fetch, but not use by themselves.
fetch_go_toolchain() {
    local root architecture
    architecture=$(go env GOOS)-$(go env GOARCH)
    say "fetching Go $GO_TOOLCHAIN"
    root=$(cd / && GOFLAGS=-modcacherw go mod download -json "golang.org/toolchain@v0.0.1-go$GO_TOOLCHAIN.$architecture" 9>&- | sed -n 's/^\t"Dir": "\(.*\)",*$/\1/p')
    [[ -n $root ]] || fail "Go $GO_TOOLCHAIN cannot be fetched: the Go module proxy must be reachable (GOPROXY), or install Go 1.21 or newer"
    # Modules carry no executable bits.
    chmod -R u+w "$root" && chmod +x "$root"/bin/* "$root"/pkg/tool/*/*
    printf '%s\n' "$root/bin/go"
}
