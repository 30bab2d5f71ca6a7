# shellcheck shell=bash
# What `cargo xtask kernels` boots: qemu, and Debian's kernels for machines in
# clouds with the modules that pods need. Sourced by scripts/setup, not run.
#
# The kernels come from Debian whatever this machine is, through an apt
# configuration of their own: nothing of this machine's packages changes.

# NAME RELEASE META-PACKAGE-: old versions leave the archive, so the newest of each is taken.
# The architecture follows the last dash.
KERNELS=(
    "5.10 bullseye linux-image-cloud-"
    "6.1 bookworm linux-image-cloud-"
    "6.12 bookworm linux-image-6.12-cloud-"
    "7 sid linux-image-cloud-"
)
# veth and bridge for pods, REDIRECT and owner for sidecars, kTLS with its ciphers, a disk.
# What a kernel does not have as a module it has built in, or not at all.
KERNEL_MODULES=(
    veth bridge nf_tables nft_compat nft_chain_nat nft_counter
    xt_REDIRECT xt_owner xt_tcpudp tcp_diag tls gcm aesni_intel loop
)
KERNEL_MODULES_ARM64=("${KERNEL_MODULES[@]/aesni_intel/aes_ce_blk}" ctr ghash-generic)

setup_kernels() {
    [[ $(uname -m) == x86_64 ]] || fail "the kernels are booted on x86_64 only, and this is $(uname -m); those for arm64 are the piece kernels-arm64"
    setup_e2e
    program qemu-system-x86_64 qemu-system-x86
    kernel_tools
    tools[SOCKWAY_KERNELS]=$SOCKWAY_CACHE/kernels
    fetch_kernels "${tools[SOCKWAY_KERNELS]}" amd64 "${KERNEL_MODULES[@]}"
}

kernel_tools() {
    # Named, or apt would take it away where it is.
    packages qemu-utils busybox-static
    program cpio cpio
    program modprobe kmod
    program xz xz-utils
    program zstd zstd
}

fetch_kernels() {
    local home=$1 architecture=$2 modules=("${@:3}") kernel name release package missing=()
    for kernel in "${KERNELS[@]}"; do
        [[ "$(cat "$home/${kernel%% *}/wanted" 2>/dev/null)" == "${modules[*]}" ]] ||
            missing+=("$kernel$architecture")
    done
    [[ ${#missing[@]} -gt 0 ]] || return 0
    packages debian-archive-keyring
    mkdir -p "$home"
    private_apt "$home/apt" "$architecture"
    for kernel in "${missing[@]}"; do
        read -r name release package <<<"$kernel"
        say "fetching Linux $name of Debian $release for $architecture (20 to 40 MB)"
        fetch_kernel "$home" "$name" "$release" "$package" "${modules[@]}"
    done
    rm -rf "$home/apt"
}

# The mirror of Debian that this machine's own apt uses; Ubuntu's has none.
debian_mirror() {
    local mirror
    mirror=$({ cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true; } |
        sed -n 's#^[^\#]*\(https\{0,1\}://[^ ]*/debian\)/\{0,1\}\( .*\)\{0,1\}$#\1#p' | head -n 1)
    mirror=${SOCKWAY_DEBIAN_MIRROR:-$mirror}
    [[ -n $mirror ]] || fail "this machine's apt has no mirror of Debian: name one, which has DIRECTORY and DIRECTORY-security, as SOCKWAY_DEBIAN_MIRROR=https://HOST/debian"
    printf '%s\n' "$mirror"
}

private_apt() {
    local home=$1 architecture=$2 mirror release key=/usr/share/keyrings/debian-archive-keyring.gpg
    rm -rf "$home"
    mkdir -p "$home"/{lists/partial,cache/archives/partial,preferences.d}
    touch "$home/status"
    mirror=$(debian_mirror) || exit 1
    for release in bullseye bookworm sid; do
        printf 'deb [signed-by=%s] %s %s main\n' "$key" "$mirror" "$release"
        [[ $release == sid ]] ||
            printf 'deb [signed-by=%s] %s-security %s-security main\n' "$key" "$mirror" "$release"
    done >"$home/sources.list"
    cat >"$home/apt.conf" <<EOF
Dir::State "$home";
Dir::State::lists "$home/lists";
Dir::State::status "$home/status";
Dir::Cache "$home/cache";
Dir::Etc::sourcelist "$home/sources.list";
Dir::Etc::sourceparts "-";
Dir::Etc::preferencesparts "$home/preferences.d";
APT::Architecture "$architecture";
APT::Architectures { "$architecture"; };
APT::Sandbox::User "root";
Acquire::Languages "none";
EOF
    kernel_apt=(env "APT_CONFIG=$home/apt.conf")
    "${kernel_apt[@]}" apt-get -qq update 9>&- ||
        fail "Debian's package lists cannot be fetched from $mirror; apt's own message is above"
}

# Leaves vmlinuz, modules/*.ko, modules/order (in which they are loaded), release, and
# wanted: the modules that were asked for.
fetch_kernel() {
    local home=$1/$2 release=$3 package=$4 wanted=("${@:5}") work version module file
    work=$(mktemp -d "$1/$2.XXXXXX")
    # The archive names files of old releases' updates that it has no more: then the release's own.
    version=$(download_kernel "$work" "$package" "$release-security") ||
        version=$(download_kernel "$work" "$package" "$release") ||
        fail "apt can fetch no $package of Debian $release; its own message is above"
    for file in "$work"/*.deb; do dpkg -x "$file" "$work/tree"; done
    [[ -d $work/tree/lib ]] || ln -s usr/lib "$work/tree/lib"
    depmod -b "$work/tree" "$version" 2>/dev/null
    mkdir -p "$work/new/modules"
    for module in "${wanted[@]}"; do
        modprobe -S "$version" -d "$work/tree" --show-depends "$module" 2>/dev/null || true
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r file; do
        module=$(basename "$file")
        module=${module%%.ko*}.ko
        case $file in
            *.xz) xz -dc "$file" ;;
            *.zst) zstd -qdc "$file" ;;
            *) cat "$file" ;;
        esac >"$work/new/modules/$module"
        printf '%s\n' "$module"
    done >"$work/new/modules/order"
    cp "$work"/tree/boot/vmlinuz-* "$work/new/vmlinuz" 2>/dev/null ||
        cp "$work/tree/lib/modules/$version/vmlinuz" "$work/new/vmlinuz"
    printf '%s\n' "$version" >"$work/new/release"
    printf '%s\n' "${wanted[*]}" >"$work/new/wanted"
    rm -rf "$home"
    mv "$work/new" "$home"
    rm -rf "$work"
}

# Leaves the packages of the newest version of a suite in a directory; says which that is.
download_kernel() {
    local work=$1 package=$2 suite=$3 image version modules
    image=$("${kernel_apt[@]}" apt-cache show "$package/$suite" 2>/dev/null | newest_image)
    [[ -n $image ]] || return 1
    version=${image#linux-image-}
    modules=("$image")
    # Split since 7.x.
    [[ -z $("${kernel_apt[@]}" apt-cache show "linux-binary-$version" 2>/dev/null) ]] ||
        modules=("linux-binary-$version" "linux-modules-$version")
    (cd "$work" && "${kernel_apt[@]}" apt-get -qq download "${modules[@]}" 9>&-) || return 1
    printf '%s\n' "$version"
}

# The image that the newest meta package wants.
newest_image() {
    sed -n 's/^Depends: .*\(linux-image-[0-9][^ ,]*\).*/\1/p' | sort -V | tail -n 1
}
