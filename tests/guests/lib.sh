# What the scripts of guests have in common: `. /guest/lib.sh`.

# Busybox's shell would take its own.
ip() {
    /usr/sbin/ip "$@"
}
now() {
    cut -d. -f1 /proc/uptime
}
part() {
    echo "== $* (after $(now) s)"
}
# All that fails is told, not the first of it only.
failures=0
fail() {
    echo "FAILED: $*"
    failures=$((failures + 1))
}
same() {
    [ "$1" = "$2" ] || fail "\`$1\` is not \`$2\`"
}
# Until it succeeds, a minute at most: the emulator is slow where others are busy.
soon() {
    deadline=$(($(now) + 60))
    until "$@" >/dev/null 2>&1; do
        if [ "$(now)" -ge $deadline ]; then
            fail "$*"
            return
        fi
        sleep 0.2
    done
}
# It is refused with this status, and changes nothing, neither in Fabric nor of what `links` of the script tells.
refused() {
    code=$1
    shift
    before=$(links; fabric network ls -q; fabric ps -aq)
    echo "\$ $*"
    status=0
    "$@" 2>&1 || status=$?
    [ $status -eq "$code" ] || fail "it ended with $status"
    [ "$before" = "$(links; fabric network ls -q; fabric ps -aq)" ] || fail "it changed something"
}
healthy() {
    fabric doctor >/guest/doctor 2>&1 || fail "the doctor complains: $(cat /guest/doctor)"
}
# From the namespace of that name, which the script makes.
from_far() {
    ip netns exec far ping -c 1 -W 1 "$1"
}
# One of the addresses of a container, by its name in JSON.
address() {
    fabric inspect "$1" --format json | sed -n "s/^ *\"$2\": \"\(.*\)\",*$/\1/p" | head -n 1
}
inside() {
    container=$1
    shift
    fabric exec "$container" "$@"
}
