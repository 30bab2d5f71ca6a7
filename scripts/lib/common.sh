# shellcheck shell=bash
# Messages, packages and target/tools.env for scripts/setup. Sourced, not run.

SOCKWAY_CACHE=${SOCKWAY_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/sockway}
SOCKWAY_SHARED=${SOCKWAY_SHARED:-/var/lib/sockway-test}
TOOLS_FILE=target/tools.env
declare -A tools=()
apt_lists_fresh=no

say() { printf 'setup: %s\n' "$*" >&2; }

fail() {
    printf 'setup: error: %s\n' "$*" >&2
    exit 1
}

# A second setup waits for the first: both would write the same caches.
one_at_a_time() {
    mkdir -p "$SOCKWAY_CACHE" target || fail "cannot create $SOCKWAY_CACHE; set SOCKWAY_CACHE to a directory that you can write"
    exec 9>"$SOCKWAY_CACHE/setup.lock"
    command -v flock >/dev/null || return 0
    flock -n 9 && return 0
    say "waiting for another setup"
    flock -w 900 9 || fail "another setup has held $SOCKWAY_CACHE/setup.lock for 15 minutes"
}

# Keeps the lines of pieces that this run does not set up.
read_tools() {
    [[ -f $TOOLS_FILE ]] || return 0
    local name value
    while IFS='=' read -r name value; do
        [[ $name == SOCKWAY_* ]] && tools[$name]=$value
    done <"$TOOLS_FILE"
    return 0
}

write_tools() {
    local name new
    new=$(
        echo '# Written by scripts/setup; the environment overrides each line.'
        for name in "${!tools[@]}"; do printf '%s=%s\n' "$name" "${tools[$name]}"; done | LC_ALL=C sort
    )
    [[ -f $TOOLS_FILE && $(<"$TOOLS_FILE") == "$new" ]] && return 0
    printf '%s\n' "$new" >"$TOOLS_FILE.new"
    mv "$TOOLS_FILE.new" "$TOOLS_FILE"
}

has_apt() { command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; }

installed() {
    [[ $(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# The version apt would install, or nothing.
candidate() {
    has_apt || return 0
    LC_ALL=C apt-cache policy "$1" 2>/dev/null | awk '$1 == "Candidate:" && $2 != "(none)" { print $2 }'
}

# The package lists are fetched at most once, and only when something is missing from them.
refresh_lists() {
    [[ $apt_lists_fresh == no ]] || return 0
    apt_lists_fresh=yes
    has_apt && [[ $EUID -eq 0 ]] || return 0
    say "fetching apt's package lists"
    apt-get -qq -o DPkg::Lock::Timeout=300 update 9>&- || say "apt-get update failed; going on with the lists there are"
}

# Installs those of the packages that are missing. Never removes one: cargo-web
# for example would push out a packaged rustup.
packages() {
    local name missing=()
    has_apt || fail "this machine has no apt; install by hand what these Debian packages hold: $*"
    for name in "$@"; do
        installed "$name" || missing+=("$name")
    done
    [[ ${#missing[@]} -gt 0 ]] || return 0
    [[ $EUID -eq 0 ]] || fail "these packages are missing, as root run: apt-get install --no-install-recommends ${missing[*]}"
    for name in "${missing[@]}"; do
        [[ -n $(candidate "$name") ]] || refresh_lists
        [[ -n $(candidate "$name") ]] || fail "the package $name is not in this machine's apt sources (enable the distribution's main, universe, updates and security sections)"
    done
    say "installing ${missing[*]}"
    apt_install "${missing[@]}" && return 0
    # Old lists name files that the archive no longer has.
    [[ $apt_lists_fresh == no ]] && refresh_lists && apt_install "${missing[@]}" && return 0
    fail "apt-get cannot install ${missing[*]}; its own message is above"
}

apt_install() {
    DEBIAN_FRONTEND=noninteractive apt-get -y -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 \
        --no-install-recommends --no-remove install "$@" >"$SOCKWAY_CACHE/apt.log" 2>&1 9>&- && return 0
    tail -n 15 "$SOCKWAY_CACHE/apt.log" >&2
    return 1
}

# The package that holds a program, unless the program is there already.
program() {
    command -v "$1" >/dev/null || packages "$2"
}
