# What networks on VLANs do, on a kernel that has them: run by tests/tests/vlan.rs as `sh -eu` in a guest.
#
# lan0 is the host's interface. On its wire 192.0.2.10 and 2001:db8::10 are somebody else's by frames of VLAN 10,
# 192.0.2.11 by frames without a tag, and 192.0.2.12 by those of VLAN 11.

. /guest/lib.sh
for module in veth bridge br_netfilter overlay macvlan ipvlan nf_tables nf_conntrack garp mrp; do modprobe $module; done
ip netns add far
# Nobody answers for an address of another interface.
ip netns exec far sh -c 'echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore'
ip -n far link set lo up
cable() {
    ip link add lan0 type veth peer name far0 netns far
    ip link set lan0 up
    ip -n far link set far0 up
}
answer_by_vlans() {
    for id in 10 11; do
        ip -n far link add link far0 name far0.$id type vlan id $id
        ip -n far link set far0.$id up
    done
    ip -n far address add 192.0.2.10/24 dev far0.10
    ip -n far address add 2001:db8::10/64 dev far0.10 nodad
    ip -n far address add 192.0.2.11/32 dev far0
    ip -n far address add 192.0.2.12/32 dev far0.11
}
cable

export FABRIC_SOCKET=/run/fabric/netd.sock
trap '[ $? -eq 0 ] || cat /guest/netd.log' EXIT
links() {
    ip -o link | grep -v ': fe-' | cut -d: -f2 | cut -d@ -f1 | sort
}
# netd, with these settings of the environment.
start() {
    env "$@" netd >>/guest/netd.log 2>&1 &
    netd=$!
    soon fabric network ls
}
stop() {
    kill -9 $netd 2>/dev/null || true
    wait $netd 2>/dev/null || true
}
vlans() {
    ip -o link show type vlan | cut -d: -f2 | cut -d@ -f1 | tr -d ' '
}
has_no_vlans() {
    [ -z "$(vlans)" ]
}
is_up() {
    ip -o link show "$1" | grep -q '[<,]UP[,>]'
}
has_mtu() {
    ip -o link show "$1" | grep -q " mtu $2 "
}
# A network, and its container's first interface.
have_mtu() {
    network=$(fabric network inspect "$1" --format '{{.mtu}}')
    [ "$network" = "$3" ] && inside "$2" ip -o link show eth0 | grep -q " mtu $3 "
}

start
fabric image import /guest/busybox.tar busybox
clean=$(links)
lan="--subnet 192.0.2.0/24 --ip-range 192.0.2.128/25 --subnet 2001:db8::/64"
gateways="--gateway 192.0.2.10 --gateway 2001:db8::10"
tagged="--driver macvlan --opt parent=lan0.10 $lan $gateways"

part refusals
# The module is not there yet.
refused 1 fabric network create wire $tagged
insmod /guest/8021q.ko
refused 1 fabric network create wire --driver macvlan --opt parent=lan9.10 --subnet 192.0.2.0/24
refused 1 fabric network create wire --driver macvlan --opt parent=lan0.4095 --subnet 192.0.2.0/24
refused 1 fabric network create wire $tagged --mtu 9000
ip link add link lan0 name blue type vlan id 10
refused 1 fabric network create wire $tagged
ip link del blue
answer_by_vlans

part macvlan
fabric network create wire $tagged
made=$(ip -d -o link show lan0.10)
echo "$made" | grep 'vlan protocol 802.1Q id 10 ' | grep -q LOOSE_BINDING || fail "it is not for VLAN 10: $made"
ip -o link show lan0.10 | grep -q 'alias fabric:vlan:lan0.10' || fail "it does not say whose it is"
is_up lan0.10 || fail "it is not up"
has_mtu lan0.10 1500 || fail "it has another MTU"
same "" "$(ip -o address show dev lan0.10)"
fabric run -d --name api --network wire busybox httpd -f -h /etc
fabric run -d --name web --network wire busybox sleep 1000
api4=$(address api ipv4) api6=$(address api ipv6)
soon from_far "$api4"
soon from_far "$api6"
soon inside api ping -c 1 -W 1 192.0.2.10
soon inside api ping -6 -c 1 -W 1 2001:db8::10
soon inside web wget -q -O - http://api/hostname
# Neither without a tag nor with another.
for other in 192.0.2.11 192.0.2.12; do
    if inside api ping -c 1 -W 2 $other >/dev/null; then fail "it reaches $other"; fi
done
healthy

part shared
index=$(cat /sys/class/net/lan0.10/ifindex)
fabric network create more --driver macvlan --opt parent=lan0.10 --subnet 198.51.100.0/24
same "$index" "$(cat /sys/class/net/lan0.10/ifindex)"
fabric network rm more
same "$index" "$(cat /sys/class/net/lan0.10/ifindex)"
from_far "$api4" >/dev/null || fail "the other network took it along"
fabric network create more --driver macvlan --opt parent=lan0.10 --subnet 198.51.100.0/24
refused 1 fabric network create other --driver ipvlan --opt parent=lan0.10 --subnet 203.0.113.0/24

part damage
ip link del lan0.10
soon from_far "$api4"
ip link set lan0.10 down
soon is_up lan0.10
soon from_far "$api4"
ip link set lan0 down
is_up lan0.10 || fail "it went down with what it is on"
ip link set lan0 up
soon from_far "$api4"
ip link set lan0 mtu 1400
soon has_mtu lan0.10 1400
soon have_mtu wire api 1400
refused 1 fabric network update wire --mtu 1500
# Its interface can be made anew.
fabric restart -t 0 api
soon from_far "$api4"
have_mtu wire api 1400 || fail "it has another MTU than its network"
fabric network create small --driver macvlan --opt parent=lan0.30 --subnet 203.0.113.0/24
has_mtu lan0.30 1400 || fail "another MTU than the parent's"
same 1400 "$(fabric network inspect small --format '{{.mtu}}')"
fabric network rm small
ip link set lan0 mtu 1500
soon has_mtu lan0.10 1500
soon have_mtu wire api 1500
soon have_mtu wire web 1500
soon from_far "$api4"
# With nobody who mends it meanwhile.
stop
ip link del lan0.10
start
soon from_far "$api4"
stop
start NETD_HANDS_OFF=1
ip link del lan0.10
ip link add link lan0 name lan0.77 group 0x66616272 type vlan id 77
if fabric doctor >/guest/doctor 2>&1; then fail "the doctor sees nothing"; fi
grep -q 'interface lan0.10 of networks `more`, `wire`: is missing' /guest/doctor || fail "$(cat /guest/doctor)"
grep -q 'interface lan0.77: belongs to no network and no container' /guest/doctor || fail "$(cat /guest/doctor)"
fabric doctor --fix >/guest/doctor 2>&1 || fail "the doctor cannot mend it: $(cat /guest/doctor)"
same lan0.10 "$(vlans)"
soon from_far "$api4"
# Somebody else's is neither used nor taken away.
ip link del lan0.10
ip link add lan0.10 type veth peer name other0
if fabric doctor --fix >/guest/doctor 2>&1; then fail "the doctor sees nothing"; fi
ip link show other0 >/dev/null || fail "it took somebody else's away"
ip link del lan0.10
fabric doctor --fix >/guest/doctor 2>&1 || fail "the doctor cannot mend it: $(cat /guest/doctor)"
soon from_far "$api4"
# What it is on goes, and comes back.
ip link del lan0
cable
answer_by_vlans
fabric doctor --fix >/guest/doctor 2>&1 || fail "the doctor cannot mend it: $(cat /guest/doctor)"
soon from_far "$api4"
# A start of the host: nothing of the last one is there but the files.
fabric stop -t 0 api web
stop
for link in $(ip -o link show group 0x66616272 | cut -d: -f2 | cut -d@ -f1); do
    ip link del "$link" 2>/dev/null || true
done
for pin in /run/fabric/netns/* /run/fabric/netns; do umount $pin 2>/dev/null || true; done
rm -rf /run/fabric
same "" "$(vlans)"
start
soon is_up lan0.10
fabric start api
soon from_far "$api4"
healthy
# The last network takes it along.
fabric rm -f api web
fabric network rm wire
is_up lan0.10 || fail "it went with the first of two networks"
fabric network rm more
same "$clean" "$(links)"

part crashes
has_died() {
    [ ! -e /proc/$netd ] || grep -q '^State:[[:space:]]*Z' /proc/$netd/status
}
# netd is killed right after this step of a command, and started again.
crash() {
    stop
    start NETD_CRASH_AT="$1"
    shift
    "$@" >/dev/null 2>&1 || true
    soon has_died
    stop
    start
}
for step in "network intended" "kernel: create lan0.10 for VLAN 10 of lan0" "kernel: set lan0.10 ipv6 off" \
    "kernel: set lan0.10 alias fabric:vlan:lan0.10 up"; do
    crash "$step" fabric network create wire $tagged
    same wire "$(fabric network ls -q)"
    soon is_up lan0.10
    healthy
    fabric network rm wire
    has_no_vlans || fail "after \`$step\` it stays"
done
for step in "network no longer intended" "kernel: set lan0.10 down" "kernel: remove lan0.10"; do
    fabric network create wire $tagged
    crash "$step" fabric network rm wire
    same "" "$(fabric network ls -q)"
    soon has_no_vlans
    healthy
done
same "$clean" "$(links)"

part others
# What was there before is used as it is, whatever it is, and stays.
ip link add link lan0 name lan0.10 type vlan id 10
ip link set lan0.10 up
index=$(cat /sys/class/net/lan0.10/ifindex)
fabric network create wire $tagged
fabric run -d --name api --network wire busybox sleep 1000
soon from_far "$(address api ipv4)"
fabric rm -f api
fabric network rm wire
same "$index" "$(cat /sys/class/net/lan0.10/ifindex)"
ip link del lan0.10
ip link add lan0.10 type veth peer name other0
fabric network create wire $tagged
fabric network rm wire
ip link show other0 >/dev/null || fail "it took somebody else's away"
ip link del lan0.10

part ipvlan
fabric network create wire --driver ipvlan --opt parent=lan0.10 $lan $gateways
fabric run -d --name api --network wire busybox sleep 1000
soon from_far "$(address api ipv4)"
soon from_far "$(address api ipv6)"
if inside api ping -c 1 -W 2 192.0.2.11 >/dev/null; then fail "it reaches 192.0.2.11"; fi
for mtu in 1400 1500; do
    ip link set lan0 mtu $mtu
    soon has_mtu lan0.10 $mtu
    soon have_mtu wire api $mtu
done
healthy
fabric rm -f api
fabric network rm wire
# While what it is on is down, too.
ip link set lan0 down
fabric network create wire $tagged
is_up lan0.10 || fail "it is not up"
fabric network rm wire

same "$clean" "$(links)"
part over
exit $((failures > 0))
