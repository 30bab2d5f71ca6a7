# shellcheck shell=bash
# arm64 from a machine of another architecture, for scripts/setup: the distribution's
# cross compiler, and guests that run what it builds. Sourced, not run.

# What guests run beside our own programs; Debian's, with the libraries that they ask for.
ARM64_PACKAGES=(busybox-static iproute2 iptables containernetworking-plugins)

setup_arm64() {
    setup_build
    [[ $(uname -m) != aarch64 ]] || return 0
    program aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu
    [[ -e /usr/aarch64-linux-gnu/lib/libc.a ]] || packages libc6-dev-arm64-cross
}

# The guests' kernels, and the root that they share, on whichever machine.
setup_kernels-arm64() {
    local home=$SOCKWAY_CACHE/kernels-arm64
    setup_arm64
    program qemu-system-aarch64 qemu-system-arm
    kernel_tools
    tools[SOCKWAY_KERNELS_ARM64]=$home
    fetch_kernels "$home" arm64 "${KERNEL_MODULES_ARM64[@]}"
    fetch_guest "$home/guest" "${ARM64_PACKAGES[@]}"
    fetch_envoy "$home/envoy-$ENVOY" " for arm64" --platform manylinux_2_31_aarch64
    build_guest_cnitool "$home/cnitool-$CNITOOL"
    ln -sfn "envoy-$ENVOY" "$home/envoy"
    ln -sfn "cnitool-$CNITOOL" "$home/cnitool"
}

# Unpacks packages with all that they depend on: programs and libraries only.
fetch_guest() {
    local home=$1 names=("${@:2}") work file
    [[ "$(cat "$home/wanted" 2>/dev/null)" != "${names[*]}" ]] || return 0
    packages debian-archive-keyring
    work=$(mktemp -d "$home.XXXXXX")
    private_apt "$work/apt" arm64
    say "fetching ${names[*]} for arm64 (25 MB)"
    "${kernel_apt[@]}" apt-get -qq -y --no-install-recommends --download-only \
        -t bookworm install "${names[@]}" >"$SOCKWAY_CACHE/apt.log" 2>&1 9>&- || {
        tail -n 15 "$SOCKWAY_CACHE/apt.log" >&2
        fail "apt cannot fetch ${names[*]} for arm64; its own message is above"
    }
    for file in "$work"/apt/cache/archives/*.deb; do dpkg -x "$file" "$work/tree"; done
    mkdir -p "$work/new/root"
    # As systems with merged directories have them: /lib is /usr/lib.
    for file in bin sbin lib usr/bin usr/sbin usr/lib; do
        [[ -d $work/tree/$file ]] || continue
        mkdir -p "$work/new/root/usr/${file#usr/}"
        cp -a "$work/tree/$file/." "$work/new/root/usr/${file#usr/}/"
    done
    for file in bin sbin lib; do ln -s "usr/$file" "$work/new/root/$file"; done
    printf '%s\n' "${names[*]}" >"$work/new/wanted"
    rm -rf "$home"
    mv "$work/new" "$home"
    rm -rf "$work"
}

build_guest_cnitool() {
    local directory=$1 work
    [[ ! -x $directory/cnitool ]] || return 0
    program go golang-go
    [[ $(go_minor) -ge 21 ]] || fail "cnitool $CNITOOL needs Go 1.21, and this is 1.$(go_minor)"
    say "building cnitool $CNITOOL for arm64"
    work=$(mktemp -d "$SOCKWAY_CACHE/cnitool.XXXXXX")
    # Without GOBIN, which Go refuses for another machine.
    env -u GOBIN GOPATH="$work" GOMODCACHE="$(go env GOMODCACHE)" GOTOOLCHAIN=local GOARCH=arm64 \
        CGO_ENABLED=0 GOFLAGS=-modcacherw \
        go install "github.com/containernetworking/cni/cnitool@v$CNITOOL" 9>&- ||
        fail "cnitool cannot be built: the Go module proxy must be reachable (GOPROXY), its own message is above"
    mkdir -p "$directory"
    find "$work/bin" -name cnitool -exec install -m 0755 {} "$directory/cnitool" \;
    rm -rf "$work"
}
