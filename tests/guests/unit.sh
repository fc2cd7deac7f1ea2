# What systemd does with Fabric's unit: run by tests/tests/unit.rs as `sh -eu` in a guest whose first process is systemd, and
# on which the package is unpacked.

. /guest/lib.sh
for module in veth bridge br_netfilter overlay nf_tables nf_conntrack; do modprobe $module; done

# The same, with what it is that is to be the same.
same_of() {
    same "$1: $2" "$1: $3"
}
# What systemd says of the unit.
of_unit() {
    systemctl show --property "$1" --value netd
}
times_said() {
    journalctl --unit netd --output cat --no-pager | grep -c -- "$1" || true
}
said() {
    [ "$(times_said "$1")" -gt 0 ]
}
is_replaced() {
    [ "$(of_unit MainPID)" != "$1" ] && [ "$(of_unit ActiveState)" = active ]
}
# When it began, in ticks since the boot: numbers of processes are used again, this with them is not.
since() {
    sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20 || true
}
limits() {
    for file in memory.max cpu.max pids.max; do cat "/sys/fs/cgroup$group/$file" || true; done | tr '\n' ' '
}
answers() {
    wc -l </guest/shared/answers
}
more_answers_than() {
    [ "$(answers)" -gt "$1" ]
}
# The containers run on as the processes that they were, in the groups that they were in, over the connection that they had.
go_on() {
    same_of "$1: since when api runs" "$(since $api)" "$api_since"
    same_of "$1: since when web runs" "$(since $web)" "$web_since"
    same_of "$1: the group of api" "$(sed -n 's/^0:://p' /proc/$api/cgroup)" "$group"
    same_of "$1: its limits" "$(limits)" "$limits"
    soon more_answers_than "$(answers)"
}
# And netd knows them, and can do something about them.
are_managed() {
    same_of "$1: state" "$(of_unit ActiveState) $(of_unit SubState)" "active running"
    same_of "$1: pid of api" "$(fabric inspect api --format '{{.pid}}')" "$api"
    same_of "$1: exec" "$(fabric exec api echo inside)" inside
    go_on "$1"
}

part install
mkdir -p /etc/systemd/system/netd.service.d /guest/shared
# Not half a minute, for the sake of the test.
printf '[Service]\nWatchdogSec=10\n' >/etc/systemd/system/netd.service.d/test.conf
sh /guest/package/postinst configure ""
# It answers once systemctl has returned: nobody waits.
fabric network create web
same_of "the unit" "$(of_unit ActiveState) $(of_unit SubState) $(of_unit Type) $(of_unit UnitFileState)" \
    "active running notify enabled"
same_of "who may use the socket" "$(stat -c '%G %a' /run/fabric/netd.sock)" "fabric 660"
systemctl status --no-pager netd | grep -q 'Status: "Answering requests"' || fail "its status"
fabric image import /guest/busybox.tar busybox
fabric run -d --name api --network web --memory 64m --cpus 0.5 --pids-limit 50 busybox nc -ll -p 7 -e cat
api=$(fabric inspect api --format '{{.pid}}')
soon grep -qs ':0007 [0-9A-F]*:0000 0A' "/proc/$api/net/tcp" "/proc/$api/net/tcp6"
fabric run -d --name web --network web -v /guest/shared:/shared busybox \
    sh -c 'while :; do date; sleep 0.2; done | nc api 7 >/shared/answers'
web=$(fabric inspect web --format '{{.pid}}')
api_since=$(since "$api") web_since=$(since "$web")
group=$(sed -n 's/^0:://p' "/proc/$api/cgroup")
limits=$(limits)
same_of limits "$limits" "67108864 50000 100000 50 "
soon more_answers_than 0
are_managed install
# Below no unit's group: what systemd does to those, and to what it does not know in them, is none of the containers' affair.
case "$group" in /fabric-*/*) ;; *) fail "api is in $group" ;; esac
same_of "shims outside of the unit" "$(wc -l <"/sys/fs/cgroup${group%/*}/shims/cgroup.procs")" 2

part restart
main=$(of_unit MainPID)
systemctl restart netd
is_replaced "$main" || fail "netd is the same"
are_managed restart

part upgrade
main=$(of_unit MainPID)
sh /guest/package/postinst configure 0.0.1
is_replaced "$main" || fail "netd is the same"
are_managed upgrade

part stop
before=$(now)
systemctl stop netd
[ $(($(now) - before)) -lt 20 ] || fail "it took $(($(now) - before)) s to stop"
same_of "the unit" "$(of_unit ActiveState) $(of_unit SubState) $(of_unit Result)" "inactive dead success"
! fabric ps 2>/dev/null || fail "somebody answers"
go_on stop
# Whatever makes systemd look at all groups again: a new manager, units that need controllers and need them no more.
printf '[Service]\nType=oneshot\nExecStart=/bin/true\nCPUQuota=50%%\nTasksMax=5\n' >/etc/systemd/system/other.service
systemctl daemon-reload
go_on "daemon-reload without netd"
systemctl start other
systemctl daemon-reexec
go_on "daemon-reexec"
soon systemctl start netd
are_managed start
main=$(of_unit MainPID)
systemctl daemon-reload
is_replaced "$main" && fail "daemon-reload replaced netd"
are_managed daemon-reload

part watchdog
# It gives signs of life in time, or systemd would have replaced it by now.
same_of "restarts by systemd" "$(of_unit NRestarts)" 0
kill -STOP "$main"
soon is_replaced "$main"
soon said "Watchdog timeout"
same_of "restarts by systemd" "$(of_unit NRestarts)" 1
are_managed watchdog

part zygote
main=$(of_unit MainPID)
for process in /proc/[0-9]*; do
    # Shims are forked from it.
    [ "$(tr -d '\0' 2>/dev/null <"$process/cmdline")" != fabric-zygote ] || grep -qx fabric-shim "$process/comm" ||
        kill -9 "${process#/proc/}"
done
soon is_replaced "$main"
soon said "its zygote has ended"
are_managed zygote
fabric run --rm --network web busybox true || fail "no container can be made"

part kill
main=$(of_unit MainPID)
systemctl kill --signal KILL netd
soon is_replaced "$main"
are_managed kill

part settings
echo 'colour = "blue"' >/etc/fabric/netd.toml
! systemctl restart netd 2>/dev/null || fail "it starts with settings that make no sense"
is_failed() {
    [ "$(of_unit ActiveState)" = failed ]
}
soon is_failed
soon said 'unknown field `colour`'
same_of "how it ended" "$(of_unit Result) $(of_unit ExecMainStatus)" "exit-code 2"
same_of "how often it was tried" "$(times_said 'unknown field')" 1
go_on settings
: >/etc/fabric/netd.toml
systemctl start netd
are_managed mended

# What netd has run itself may be about to end when it is started again; whoever looks after containers never is.
journalctl --unit netd --output cat --no-pager | grep "left-over process" || true
! said "left-over process.*shim" || fail "systemd finds processes in the unit that look after containers"

part end
fabric stop -t 1 web
fabric rm web
fabric rm -f api
[ -z "$(since "$api")$(since "$web")" ] || fail "they still run"
[ ! -e "/sys/fs/cgroup$group" ] || fail "$group is left"
healthy

# The host is shut down: who wants to end well can do so, also beyond the time that systemd gives netd by itself, who does not
# is not waited for beyond its time, and nobody is started.
printf '[Service]\nTimeoutStopSec=6\n' >>/etc/systemd/system/netd.service.d/test.conf
systemctl daemon-reload
cat >/guest/shared/clock.sh <<'END'
trap 'sleep 8; echo "and so has clock" >>/shared/db; exit' TERM
httpd -h /etc
while :; do sleep 0.1; done
END
cat >/guest/shared/db.sh <<'END'
trap 'echo "asked $(wget -q -O - http://clock/hostname)" >>/shared/db; echo "ended well" >>/shared/db; exit 3' TERM
echo begun >>/shared/db
while :; do sleep 0.1; done
END
at_work="--network web --restart always -v /guest/shared:/shared"
fabric run -d --name clock $at_work --stop-timeout 60 busybox sh /shared/clock.sh
fabric run -d --name db $at_work --stop-timeout 60 busybox sh /shared/db.sh
fabric run -d --network web --stop-timeout 1 busybox sleep 10000
is_begun() {
    grep -q begun /guest/shared/db
}
soon is_begun
cat >/guest/last <<'END'
echo "== db"
cat /guest/shared/db
END
[ $failures -eq 0 ] || journalctl --no-pager --output short-monotonic
part over
exit $((failures > 0))
