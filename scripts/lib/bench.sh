# shellcheck shell=bash
# What `make bench` measures with: fortio, as load generator and as server,
# h2load, and nginx. Sourced by scripts/setup, not run.

FORTIO=1.66.5 # the last that needs no module beyond what every proxy has

setup_bench() {
    local directory=$SOCKWAY_CACHE/fortio-$FORTIO log=$SOCKWAY_CACHE/fortio.log go
    program h2load nghttp2-client
    in_sbin nginx || without_services nginx-light
    tools[SOCKWAY_FORTIO]=$directory/fortio
    [[ -x $directory/fortio ]] && return 0
    go=$(find_go)
    say "building fortio $FORTIO (one to three minutes, once; log in $log)"
    rm -rf "$directory.new"
    if ! build_fortio "$go" "$directory.new" >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        rm -rf "$directory.new"
        fail "fortio $FORTIO cannot be built: the Go module proxy must be reachable (GOPROXY); the end of $log is above"
    fi
    rm -rf "$directory"
    mv "$directory.new" "$directory"
}

build_fortio() {
    local go=$1 out=$2
    # Outside the repository: `go install` of a version takes no module of ours into account.
    (cd / && env -u GOROOT CGO_ENABLED=0 GOFLAGS=-modcacherw GOBIN="$out" \
        "$go" install -trimpath -ldflags '-s -w' "fortio.org/fortio@v$FORTIO")
} 9>&-
