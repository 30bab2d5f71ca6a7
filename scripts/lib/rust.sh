# shellcheck shell=bash
# A Rust toolchain for scripts/setup. Sourced, not run.
#
# Any cargo of RUST_MINOR or newer will do: rustup's, or the distribution's
# packages, which are all that a machine without access to rustup's server has.

RUST_MINOR=95 # rust-version in Cargo.toml

# "1.96" out of "cargo 1.96.0 (...)": the minor number, or nothing.
minor_of() {
    { "$1" --version 2>/dev/null 9>&- || true; } | sed -n 's/^[a-z]* 1\.\([0-9]*\)\..*/\1/p'
}

new_enough() {
    local minor
    [[ -x $1 && -x $(dirname "$1")/rustc ]] || return 1
    minor=$(minor_of "$1")
    [[ -n $minor && $minor -ge $RUST_MINOR ]] || return 1
    minor=$(minor_of "$(dirname "$1")/rustc")
    [[ -n $minor && $minor -ge $RUST_MINOR ]]
}

# The first cargo that will do: the one in use, rustup's, the distribution's.
find_cargo() {
    local cargo
    for cargo in "${SOCKWAY_CARGO:-}" "$(command -v cargo || true)" "${CARGO_HOME:-${HOME:-/root}/.cargo}/bin/cargo" \
        /usr/bin/cargo /usr/local/bin/cargo /usr/lib/rust-*/bin/cargo; do
        if [[ -n $cargo ]] && new_enough "$cargo"; then
            printf '%s\n' "$cargo"
            return 0
        fi
    done
    return 1
}

# The best of the distribution's cargo packages that are new enough, or nothing:
# cargo-web (Debian's for browsers, kept new), cargo, cargo-1.NN (Ubuntu).
cargo_package() {
    local name version
    for name in cargo-web cargo $(apt-cache search -n '^cargo-1\.[0-9]+$' 2>/dev/null | awk '{ print $1 }' | sort -rV); do
        version=$(candidate "$name")
        if [[ -n $version ]] && dpkg --compare-versions "$version" ge "1.$RUST_MINOR"; then
            printf '%s\n' "$name"
            return 0
        fi
    done
}

# The package beside a cargo package that holds one more thing of the same toolchain.
sibling_package() {
    local cargo=$1 part=$2 suffix
    suffix=${cargo#cargo} # "", "-web" or "-1.NN"
    case $part in
        rustc) echo "rustc$suffix" ;;
        fmt) echo "rustfmt$suffix" ;;
        src) echo "rust$suffix-src" ;;
        clippy) echo "rust$suffix-clippy" ;;
    esac
}

# The installed cargo package that a cargo comes from, or nothing.
package_of() {
    has_apt || return 0
    { dpkg-query -S "$(readlink -f "$1")" 2>/dev/null || true; } | sed -n 's/^\([^:]*\):.*/\1/p'
}

setup_rust() {
    local cargo package
    if ! cargo=$(find_cargo); then
        say "no Rust 1.$RUST_MINOR or newer here yet"
        [[ -n $(cargo_package) ]] || refresh_lists
        package=$(cargo_package)
        if [[ -n $package ]] && ! installed rustup; then
            packages "$package" "$(sibling_package "$package" rustc)" "$(sibling_package "$package" src)"
        else
            install_with_rustup
        fi
        hash -r
        cargo=$(find_cargo) || fail "there is still no cargo of version 1.$RUST_MINOR or newer; install one with rustup and run this again"
    fi
    tools[SOCKWAY_CARGO]=$cargo
}

install_with_rustup() {
    if ! command -v rustup >/dev/null; then
        [[ -n $(candidate rustup) ]] || fail "the distribution has no Rust 1.$RUST_MINOR or newer; install rustup, then run this again"
        packages rustup
    fi
    say "installing Rust 1.$RUST_MINOR.0 with rustup"
    { rustup toolchain install "1.$RUST_MINOR.0" --profile minimal -c rust-src -c clippy -c rustfmt &&
        rustup default "1.$RUST_MINOR.0"; } 9>&- ||
        fail "rustup cannot install Rust 1.$RUST_MINOR.0; its own message is above"
}

# clippy and rustfmt of the toolchain in use, and clippy of the one for ebpf/.
setup_lint() {
    local bpf_cargo bpf_llvm
    program git git
    setup_build
    lint_tool "${tools[SOCKWAY_CARGO]}" clippy
    lint_tool "${tools[SOCKWAY_CARGO]}" fmt
    find_bpf_toolchain "${tools[SOCKWAY_BPF_LLVM]}" || fail "the toolchain for ebpf/ is gone; run this again"
    lint_tool "$bpf_cargo" clippy
}

lint_tool() {
    local cargo=$1 part=$2 package
    lint_tool_works "$cargo" "$part" && return 0
    package=$(package_of "$cargo")
    if [[ -n $package && $package != rustup ]]; then
        packages "$(sibling_package "$package" "$part")"
    else
        say "adding clippy and rustfmt with rustup"
        rustup component add clippy rustfmt 9>&- || true
    fi
    lint_tool_works "$cargo" "$part" ||
        fail "cargo $part does not run with $cargo; add it (rustup component add clippy rustfmt, or the distribution's package)"
}

lint_tool_works() {
    PATH=$(dirname "$1"):$PATH "$(dirname "$1")/cargo-$2" --version >/dev/null 2>&1 9>&-
}
