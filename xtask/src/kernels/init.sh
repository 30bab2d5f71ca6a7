#!/bin/busybox sh
# The first process of a guest: runs the checks and says on the console how they ended.
#
#   @@ kernel RELEASE          @@ begin CHECK
#   @@ fact NAME VALUE         @@ end CHECK EXIT-CODE SECONDS
#   @@ done
#
# Everything else on the console is for people. /settings comes with the kernel:
# CHECKS, PACE (how much slower than usual this machine is), JOBS, INTEGRITY, TESTS (words in tests'
# names), LACKS (a word in what `status` says of a rule that cannot work in full on this kernel).
bb=/bin/busybox
here=/opt/sockway
bin=$here/target/release
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root CI=1 SOCKWAY_PRIVILEGED=1 SOCKWAY_OWN_KERNEL=1

$bb mount -t proc proc /proc
$bb mount -t sysfs sys /sys
$bb mount -t devtmpfs dev /dev
$bb mkdir -p /dev/pts /dev/shm
$bb mount -t devpts pts /dev/pts
for at in /dev/shm /tmp /run; do $bb mount -t tmpfs none $at; done
$bb mount -t cgroup2 cgroup2 /sys/fs/cgroup
# Pods' memory is accounted, with that of their sockets, as on a node with cgroup2.
echo +memory >/sys/fs/cgroup/cgroup.subtree_control
$bb mount -t bpf bpf /sys/fs/bpf
$bb chmod 1777 /tmp
# The shell's own `ip` would be another program.
/usr/bin/ip link set lo up
ulimit -n 65536
. /settings
echo "@@ kernel $($bb uname -r)"
while read -r module; do
    $bb insmod "/modules/$module" || echo "the module $module is refused"
done </modules/order
cd $here || echo "no $here"
# A disk: pages read from it can be taken back, those of this guest's files cannot.
$bb truncate -s 64M /tmp/disk && $bb losetup /dev/loop0 /tmp/disk && export SOCKWAY_DISK=/dev/loop0

# check NAME SECONDS COMMAND...: as many seconds on a machine that is not slow.
check() {
    name=$1 limit=$2
    shift 2
    case " $CHECKS " in *" $name "*) ;; *) return ;; esac
    echo "@@ begin $name"
    started=$($bb date +%s)
    "$@" 2>&1 &
    child=$!
    ($bb sleep "$((limit * PACE))" && echo "$name takes too long" && kill -9 "$child") &
    clock=$!
    wait "$child"
    echo "@@ end $name $? $(($($bb date +%s) - started))"
    kill "$clock" 2>/dev/null
}

# A node of its own for `sockway`, named after the check.
sockway() {
    node=/tmp/$1
    shift
    SOCKWAY_CNI_BIN_DIR=$node/bin SOCKWAY_CNI_CONF_DIR=$node/net.d SOCKWAY_RUN_DIR=$node/run \
        SOCKWAY_BPFFS=/sys/fs/bpf/${node##*/} SOCKWAY_CGROUP=/sys/fs/cgroup/${node##*/} \
        SOCKWAY_LOG_FILE=$node/log $bin/sockway "$@"
}

# Every program and map is loaded and attached; then what works with less.
load() {
    $bb mkdir -p "/tmp/$1/bin" "/tmp/$1/net.d" "/sys/fs/cgroup/$1"
    echo '{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"bridge"}]}' >"/tmp/$1/net.d/10-n.conflist"
    force=
    if [ "$1" = no-btf ]; then
        # Nothing can be accelerated there, and install says so.
        force=--force
        sockway "$1" install
        [ $? = 6 ] || return 1
    fi
    sockway "$1" install $force && sockway "$1" status && sockway "$1" status -o json >/tmp/status || return
    echo "@@ fact $1.status $($bb tr -d '\n' </tmp/status)"
    # Only a kernel without BTF may make a rule work with less, but for what this kernel lacks or does wrong.
    [ "$1" = no-btf ] || $bb grep -q '"limits": \[\]' /tmp/status ||
        ! $bb sed -n '/"limits": \[/,/\]/p' /tmp/status | $bb grep '^ *"' |
        $bb grep -v -e '"limits"' -e IP_RECVERR -e FIONREAD -e "$LACKS" || return 1
    sockway "$1" uninstall --purge >/dev/null
}

fact() { if "$@" >/dev/null 2>&1; then echo yes; else echo no; fi; }
echo "@@ fact msg_tot_len $(fact $bb grep -q msg_tot_len /sys/kernel/btf/vmlinux)"
echo "@@ fact tls $(fact $bb grep -q '^tls ' /proc/modules)"

# The kernel's BTF out of sight, as on a kernel without.
hide_btf() { $bb mount -t tmpfs none /sys/kernel/btf; }

check load 60 load load
hide_btf
check no-btf 60 load no-btf
$bb umount /sys/kernel/btf
export SOCKWAY_PACE=$PACE
# shellcheck disable=SC2086 # several arguments each
check datapath 250 tests/privileged_datapath --test-threads=1 $TESTS
# shellcheck disable=SC2086
check registry 30 tests/privileged_registry --test-threads=1 $TESTS
# shellcheck disable=SC2086
check semantics 150 $bin/sockway-semantics --pace "$PACE" --jobs "$JOBS" $TESTS
# shellcheck disable=SC2086
check integrity 200 $bin/sockway-e2e test $INTEGRITY
echo "@@ done"
$bb reboot -f
