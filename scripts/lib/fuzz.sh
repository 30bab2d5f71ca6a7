# shellcheck shell=bash
# cargo-fuzz, which drives libFuzzer for `cargo xtask fuzz`.
# Sourced by scripts/setup, not run.

CARGO_FUZZ=0.13.1

setup_fuzz() {
    local home=$SOCKWAY_CACHE/cargo-fuzz-$CARGO_FUZZ log=$SOCKWAY_CACHE/cargo-fuzz.log cargo
    setup_rust
    cargo=${tools[SOCKWAY_CARGO]}
    # libFuzzer itself is C++.
    program g++ g++
    tools[SOCKWAY_CARGO_FUZZ]=$home/bin/cargo-fuzz
    [[ -x $home/bin/cargo-fuzz ]] && return 0
    say "building cargo-fuzz $CARGO_FUZZ (a minute or two, once; log in $log)"
    rm -rf "$home.new"
    if ! env -u RUSTC_WRAPPER -u CARGO_BUILD_TARGET PATH="$(dirname "$cargo"):$PATH" CARGO_TARGET_DIR="$home.new/target" \
        "$cargo" install cargo-fuzz --version "$CARGO_FUZZ" --locked --no-track --root "$home.new" 9>&- >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        rm -rf "$home.new"
        fail "cargo-fuzz cannot be built; the end of $log is above"
    fi
    rm -rf "$home.new/target" "$home"
    mv "$home.new" "$home"
}
