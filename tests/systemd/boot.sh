#!/bin/bash
# Boots a real systemd as PID 1 of its own namespaces, runs a command as root in it, and throws all of it away.
#
#   boot.sh [--bind HOSTPATH:PATH]... -- COMMAND [ARG...]
#
# The booted system is an overlay over this machine's root: what stands there is seen, and nothing that is written
# reaches it. A --bind puts more there, read-only. It has processes, /run, /dev, journal, hostname, control groups and network (of
# loopback alone) of its own. Ends with COMMAND's status, or with 69 and one line that says why it cannot be done here.
set -u
cannot() { echo "boot.sh: $*" >&2; exit 69; }

# In the new namespaces: builds the mounts and becomes systemd. $1: work folder; the others: binds.
become_init() {
    local work=$1 new=$1/root bind target device
    shift
    read -r pid _ </proc/self/stat; echo "$pid" >"$work/pid"       # /proc is still the machine's, and so is this number
    set -e
    mount -t tmpfs -o nosuid,mode=755 tmpfs "$new/dev"
    mkdir "$new/dev/pts" "$new/dev/shm"
    mount -t devpts -o newinstance,nosuid,noexec,mode=620,gid=5,ptmxmode=666 devpts "$new/dev/pts"
    mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs "$new/dev/shm"
    for device in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do
        IFS=: read -r name major minor <<<"$device"
        mknod -m 666 "$new/dev/$name" c "$major" "$minor"
    done
    ln -s pts/ptmx "$new/dev/ptmx"; ln -s /proc/self/fd "$new/dev/fd"
    for name in stdin:0 stdout:1 stderr:2; do ln -s "/proc/self/fd/${name#*:}" "$new/dev/${name%:*}"; done
    # The kernel's settings are the machine's own: not to be written from here.
    mount -t proc -o nosuid,nodev,noexec proc "$new/proc"
    mount --bind "$new/proc/sys" "$new/proc/sys"
    mount -o remount,bind,ro,nosuid,nodev,noexec "$new/proc/sys"
    [ ! -e "$new/proc/sysrq-trigger" ] || mount --bind "$new/dev/null" "$new/proc/sysrq-trigger"
    mount -t sysfs -o nosuid,nodev,noexec,ro sysfs "$new/sys"
    mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$new/sys/fs/cgroup"
    mount -t tmpfs -o nosuid,nodev,mode=755 tmpfs "$new/run"

    # Nothing of an installation on this machine, which `mount` over its folders would not hide: an overlay looks below.
    cd "$new"
    rm -rf opt/adainf etc/adainf usr/local/bin/adainf usr/local/bin/adainfd usr/local/lib/systemd/system/adainfd* \
        etc/systemd/system/adainfd* var/{lib,cache}/{,private/}adainf var/lib/adainf-runs var/opt/adainf \
        root/.{cache,local/state,local/share}/adainf
    sed -i '/^adainf:/d' etc/group etc/gshadow

    # A short boot: none of the machine's own units, and /tmp as it is.
    cd "$new/etc"
    rm -rf systemd/system/*.wants systemd/system/*.requires systemd/system/default.target rc?.d/S*
    mkdir -p tmpfiles.d systemd/system systemd/journald.conf.d
    ln -sfn /dev/null tmpfiles.d/tmp.conf
    for name in tmp.mount systemd-sysctl.service systemd-modules-load.service systemd-tmpfiles-clean.timer \
                systemd-firstboot.service; do
        ln -sfn /dev/null "systemd/system/$name"
    done
    printf '[Journal]\nStorage=volatile\nAudit=no\nReadKMsg=no\n' >systemd/journald.conf.d/boot.conf

    for bind in "$@"; do
        target=$new${bind#*:}
        if [ -d "${bind%%:*}" ]; then mkdir -p "$target"; else mkdir -p "${target%/*}"; : >>"$target"; fi
        mount --bind "${bind%%:*}" "$target"
        mount -o remount,bind,ro "$target"
    done
    cd "$new"
    pivot_root . .
    umount -l .                                                     # the old root, which lay on top
    mount --make-rshared /
    # Clock, kernel modules and raw devices are the machine's.
    exec setpriv --bounding-set=-sys_module,-sys_rawio,-sys_time,-syslog,-mac_admin,-mac_override \
        env -i container=adainf-test PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        /lib/systemd/systemd --system --unit=multi-user.target </dev/null >/dev/null 2>&1
}

if [ "${1-}" = --init ]; then shift; become_init "$@"; fi
if [ "${1-}" != --apart ]; then
    [ "$(id -u)" = 0 ] || cannot 'needs root'
    for program in unshare nsenter setpriv /lib/systemd/systemd systemd-run dbus-daemon; do
        type -P "$program" >/dev/null || cannot "$program is missing (Debian packages systemd, dbus, util-linux)"
    done
    [[ $(</proc/self/uid_map) =~ ^\ *0\ +0\ +4294967295$ ]] || cannot 'runs in a user namespace'
    unshare --mount --pid --fork --ipc --uts --net --cgroup true 2>/dev/null || cannot 'may not make namespaces here'
    exec unshare --mount --propagation private "$BASH" "$0" --apart "$@"
fi
shift
binds=()
while [ "${1-}" != -- ]; do [ "$1" = --bind ] || exit 64; binds+=("$2"); shift 2; done
shift

work=$(mktemp -d /tmp/adainf-boot.XXXXXX) || cannot 'cannot make a temporary folder'
runner='' group=''
cleanup() {
    trap - EXIT
    [ -z "$runner" ] || { kill -KILL "$runner"; wait; } 2>/dev/null          # its PID 1 goes along, and so do all
    for _ in {1..50}; do
        [ -d "$group" ] || break
        find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
    done
    umount -R -l "$work" 2>/dev/null
    rmdir "$work" 2>/dev/null
}
trap cleanup EXIT; trap 'exit 143' INT TERM HUP
mount -t tmpfs -o mode=755 tmpfs "$work" || cannot 'cannot mount a tmpfs'
mkdir "$work/upper" "$work/overlay" "$work/root" "$work/groups"
chmod --reference=/ "$work/upper"
mount -t overlay overlay "$work/root" -o "lowerdir=/,upperdir=$work/upper,workdir=$work/overlay" 2>/dev/null ||
    cannot 'cannot mount an overlay over /'
mount -t cgroup2 cgroup2 "$work/groups" 2>/dev/null || cannot 'cannot mount cgroup v2'
group=$work/groups/${work##*/}
mkdir "$group" 2>/dev/null || cannot 'cannot make a control group'
(
    trap - EXIT INT TERM HUP
    echo "$BASHPID" >"$group/cgroup.procs" || exit
    exec setpriv --pdeathsig KILL unshare --fork --kill-child=KILL --pid --mount --ipc --uts --net --cgroup \
        "$BASH" "$0" --init "$work" "${binds[@]}" </dev/null
) &
runner=$!
inside() { nsenter --target "$init" --mount --uts --ipc --net --pid --cgroup -- "$@"; }

state='' init=''
for ((tries = 0; tries < 600; tries++)); do
    kill -0 "$runner" 2>/dev/null || cannot 'the new system ended before it was up'
    if read -r init 2>/dev/null <"$work/pid" && [ "$(cat "/proc/$init/comm" 2>/dev/null)" = systemd ]; then
        state=$(inside timeout 10 systemctl is-system-running 2>/dev/null)
    fi
    [ "$state" != running ] && [ "$state" != degraded ] || break
    sleep 0.1
done
[ -n "$state" ] || cannot 'systemd was not up after a minute'

settings=()
for name in PATH HOME LANG ADAINF_BOOTED; do
    [ -z "${!name+set}" ] || settings+=("--setenv=$name=${!name}")
done
# In the background, so that a signal to this script is acted on at once. systemd expands "$": it is doubled.
inside systemd-run --quiet --pipe --wait --collect --service-type=exec --working-directory="$PWD" "${settings[@]}" -- \
    /bin/sh -c '"$$@"; echo $$? >/.status' sh "${@//\$/\$\$}" </dev/null &
wait $!
read -r status 2>/dev/null <"$work/upper/.status" || status=70
kill -s RTMIN+4 "$init" 2>/dev/null                                 # systemd's signal to power off
for _ in {1..100}; do kill -0 "$runner" 2>/dev/null || break; sleep 0.1; done
exit "$status"
