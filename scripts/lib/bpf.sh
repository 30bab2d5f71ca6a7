# shellcheck shell=bash
# The eBPF build for scripts/setup: a toolchain with the standard library's
# sources, and bpf-linker built with the LLVM that it uses. Sourced, not run.

BPF_LINKER=0.13.0

setup_build() {
    program gcc gcc
    [[ -e /usr/include/stdlib.h ]] || packages libc6-dev
    program make make
    [[ -e /etc/ssl/certs/ca-certificates.crt || -e /etc/pki/tls/certs/ca-bundle.crt ]] || packages ca-certificates
    setup_rust
    setup_xtask
    setup_bpf_linker
}

# Asks xtask, which knows what the build will use; sets `bpf_cargo` and `bpf_llvm`.
find_bpf_toolchain() {
    local line
    line=$(SOCKWAY_BPF_LLVM=${1:-} target/debug/xtask toolchain 2>"$SOCKWAY_CACHE/toolchain.log") || return 1
    read -r bpf_cargo bpf_llvm <<<"$line"
}

# The major version of the LLVM that a bpf-linker is linked with; nothing when it does not run.
llvm_of() {
    [[ -x $1 ]] && "$1" --version >/dev/null 2>&1 || return 0
    { ldd "$1" || true; } | sed -n 's/^[^a-z]*libLLVM[.-]\(so\.\)\{0,1\}\([0-9]*\).*/\2/p'
}

setup_xtask() {
    local cargo=${tools[SOCKWAY_CARGO]} log=$SOCKWAY_CACHE/xtask.log
    if ! CARGO_TARGET_DIR=target PATH=$(dirname "$cargo"):$PATH \
        "$cargo" ${CI:+--locked} build --quiet --package xtask 9>&- 2>"$log"; then
        cat "$log" >&2
        fail "xtask, which runs the build, cannot be built; cargo's own message is above"
    fi
}

setup_bpf_linker() {
    local directory=$SOCKWAY_CACHE/bpf-linker-$BPF_LINKER/bin linked bpf_cargo bpf_llvm
    linked=$(llvm_of "$directory/bpf-linker")
    if ! find_bpf_toolchain "$linked" && ! find_bpf_toolchain; then
        add_library_sources
        find_bpf_toolchain "$linked" || find_bpf_toolchain || {
            cat "$SOCKWAY_CACHE/toolchain.log" >&2
            fail "the eBPF programs cannot be built with any Rust toolchain here, for the reasons above"
        }
    fi
    if [[ -z $linked || $linked -lt $bpf_llvm ]]; then
        build_bpf_linker "$bpf_llvm"
        linked=$(llvm_of "$directory/bpf-linker")
        [[ -n $linked ]] || fail "$directory/bpf-linker was built but does not run"
    fi
    tools[SOCKWAY_BPF_LINKER_DIR]=$directory
    tools[SOCKWAY_BPF_LLVM]=$linked
}

add_library_sources() {
    local package
    package=$(package_of "${tools[SOCKWAY_CARGO]}")
    if [[ -n $package && $package != rustup ]]; then
        packages "$(sibling_package "$package" src)"
        return
    fi
    # A rustup that is a package must stay, and the distribution's rustc conflicts with it.
    [[ -n $(cargo_package) ]] || refresh_lists
    package=$(cargo_package)
    if [[ -n $package ]] && ! installed rustup; then
        say "taking the distribution's Rust for the eBPF programs"
        packages "$package" "$(sibling_package "$package" rustc)" "$(sibling_package "$package" src)"
        return
    fi
    say "adding the standard library's sources with rustup"
    rustup component add rust-src 9>&- ||
        fail "rustup cannot add rust-src, and the distribution has no Rust 1.$RUST_MINOR or newer; get one of them and run this again"
}

build_bpf_linker() {
    local llvm=$1 home=$SOCKWAY_CACHE/bpf-linker-$BPF_LINKER prefix=/usr/lib/llvm-$1 log=$SOCKWAY_CACHE/bpf-linker.log cargo=${tools[SOCKWAY_CARGO]}
    local started=$SECONDS
    [[ -n $(candidate "llvm-$llvm-dev") ]] || refresh_lists
    [[ -n $(candidate "llvm-$llvm-dev") ]] || installed "llvm-$llvm-dev" ||
        fail "bpf-linker needs LLVM $llvm (the one this Rust uses), and apt has no llvm-$llvm-dev here; add LLVM's own apt repository (its script llvm.sh $llvm does that), then run this again"
    packages "llvm-$llvm-dev" "libpolly-$llvm-dev" zlib1g-dev libzstd-dev libxml2-dev g++
    say "building bpf-linker $BPF_LINKER with LLVM $llvm (some minutes, once; log in $log)"
    rm -rf "$home.new"
    # -L: without it the link cannot find libLLVM. rpath: so that it runs without the LLVM in any path.
    if ! env -u RUSTC_WRAPPER -u CARGO_BUILD_TARGET \
        PATH="$(dirname "$cargo"):$prefix/bin:$PATH" \
        "LLVM_SYS_${llvm}1_PREFIX=$prefix" \
        RUSTFLAGS="-L $prefix/lib -C link-arg=-Wl,-rpath,$prefix/lib" \
        CARGO_TARGET_DIR="$home.new/target" \
        "$cargo" install bpf-linker --version "$BPF_LINKER" --locked --no-track \
        --no-default-features --features "llvm-$llvm" --root "$home.new" 9>&- >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        rm -rf "$home.new"
        fail "bpf-linker cannot be built; the end of $log is above"
    fi
    rm -rf "$home.new/target" "$home"
    mv "$home.new" "$home"
    say "bpf-linker built in $((SECONDS - started)) s"
}
