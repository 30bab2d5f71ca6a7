# shellcheck shell=bash
# Real programs that run behind sidecars in `cargo xtask test-programs`.
# Sourced by scripts/setup, not run.

GO_PROGRAMS_SOURCE=e2e/programs/go
JAVA_PROGRAMS_SOURCE=e2e/programs/java
MAVEN_DEPENDENCY_PLUGIN=3.8.1

setup_programs() {
    local missing=()
    command -v curl >/dev/null || missing+=(curl)
    command -v wget >/dev/null || missing+=(wget)
    command -v nc.openbsd >/dev/null || missing+=(netcat-openbsd)
    command -v python3 >/dev/null || missing+=(python3)
    command -v node >/dev/null || missing+=(nodejs)
    command -v javac >/dev/null || missing+=(default-jdk-headless)
    command -v mvn >/dev/null || missing+=(maven)
    in_sbin nginx || missing+=(nginx-light)
    in_sbin haproxy || missing+=(haproxy)
    command -v redis-benchmark >/dev/null || missing+=(redis-tools)
    command -v redis-server >/dev/null || missing+=(redis-server)
    [[ ${#missing[@]} -eq 0 ]] || without_services "${missing[@]}"
    setup_go_programs
    setup_java_programs
}

in_sbin() { command -v "$1" >/dev/null || [[ -x /usr/sbin/$1 ]]; }

# Packages of servers start them at once on many machines, on ports that others may use.
without_services() {
    local policy=/usr/sbin/policy-rc.d
    if [[ $EUID -ne 0 || -e $policy ]]; then
        packages "$@"
        return
    fi
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    # In a subshell: `packages` leaves by `exit` where it fails.
    (packages "$@") || {
        rm -f "$policy"
        exit 1
    }
    rm -f "$policy"
}

setup_go_programs() {
    local directory go log=$SOCKWAY_CACHE/go-programs.log
    directory=$SOCKWAY_CACHE/go-programs-$(cat "$GO_PROGRAMS_SOURCE"/{*.go,go.mod,go.sum} | sha256sum | cut -c 1-12)
    tools[SOCKWAY_GO_PROGRAMS]=$directory/programs
    [[ -x $directory/programs ]] && return 0
    go=$(find_go)
    say "building the Go programs of the tests (a minute or two, once; log in $log)"
    rm -rf "$directory.new"
    mkdir -p "$directory.new"
    if ! env -C "$GO_PROGRAMS_SOURCE" -u GOROOT CGO_ENABLED=0 GOFLAGS=-modcacherw \
        "$go" build -mod=readonly -trimpath -ldflags '-s -w' -o "$directory.new/programs" . 9>&- >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        rm -rf "$directory.new"
        fail "$GO_PROGRAMS_SOURCE cannot be built: the Go module proxy must be reachable (GOPROXY); the end of $log is above"
    fi
    rm -rf "$directory"
    mv "$directory.new" "$directory"
}

# Netty's jars by Maven, which the checksums in the tree are compared with, and our classes.
setup_java_programs() {
    local directory log=$SOCKWAY_CACHE/java-programs.log
    directory=$SOCKWAY_CACHE/java-programs-$(cat "$JAVA_PROGRAMS_SOURCE"/{Netty,Nio,Reading}.java "$JAVA_PROGRAMS_SOURCE"/{pom.xml,jars.sha256} | sha256sum | cut -c 1-12)
    tools[SOCKWAY_JAVA_PROGRAMS]=$directory
    [[ -d $directory ]] && return 0
    [[ $(uname -m) == x86_64 ]] || fail "$JAVA_PROGRAMS_SOURCE/pom.xml names Netty's native library for x86_64 only"
    say "fetching Netty and building the Java programs of the tests (log in $log)"
    rm -rf "$directory.new"
    mkdir -p "$directory.new"
    if ! {
        mvn --quiet --batch-mode --file "$JAVA_PROGRAMS_SOURCE/pom.xml" \
            "org.apache.maven.plugins:maven-dependency-plugin:$MAVEN_DEPENDENCY_PLUGIN:copy-dependencies" \
            "-DoutputDirectory=$directory.new/jars" &&
            (cd "$directory.new/jars" && sha256sum --check --quiet) <"$JAVA_PROGRAMS_SOURCE/jars.sha256" &&
            javac -cp "$directory.new/jars/*" -d "$directory.new/classes" \
                "$JAVA_PROGRAMS_SOURCE"/{Netty,Nio,Reading}.java
    } 9>&- >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        rm -rf "$directory.new"
        fail "$JAVA_PROGRAMS_SOURCE cannot be built: Maven must reach its repository, and get the jars that jars.sha256 names; the end of $log is above"
    fi
    mv "$directory.new" "$directory"
}
