# What the driver ipvlan does, on a kernel that has it: run by tests/tests/ipvlan.rs as `sh -eu` in a guest.
#
# lan0 is the host's interface, on whose wire 192.0.2.10 and 2001:db8::10 are somebody else's.

. /guest/lib.sh
for module in veth bridge br_netfilter overlay macvlan nf_tables nf_conntrack; do modprobe $module; done
ip netns add far
ip link add lan0 type veth peer name far0 netns far
ip link set lan0 up
ip -n far link set lo up
ip -n far link set far0 up
ip -n far address add 192.0.2.10/24 dev far0
ip -n far address add 2001:db8::10/64 dev far0 nodad

export FABRIC_SOCKET=/run/fabric/netd.sock
netd >/guest/netd.log 2>&1 &
trap '[ $? -eq 0 ] || cat /guest/netd.log' EXIT
links() {
    ip -o link
}

soon fabric network ls
fabric image import /guest/busybox.tar busybox
# Made ahead of time: half of the four namespaces that wait for a container have an interface.
spares() {
    [ "$(ip -o link | grep -c ': fe-')" -eq 2 ]
}
soon spares
clean=$(links)

lan="--opt parent=lan0 --subnet 192.0.2.0/24 --ip-range 192.0.2.128/25 --subnet 2001:db8::/64"
gateways="--gateway 192.0.2.10 --gateway 2001:db8::10"

# The module is not there yet.
refused 1 fabric network create wire --driver ipvlan $lan $gateways
insmod /guest/ipvlan.ko

for mode in l3 l3s; do
    part $mode
    fabric network create wire --driver ipvlan --opt mode=$mode --opt parent=lan0 --subnet 198.51.100.0/24 \
        --subnet 2001:db8:1::/64
    ip address add 192.0.2.1/24 dev lan0
    ip address add 2001:db8::1/64 dev lan0 nodad
    ip -n far route add 198.51.100.0/24 via 192.0.2.1
    ip -n far route add 2001:db8:1::/64 via 2001:db8::1
    fabric run -d --name api --network wire busybox httpd -f -h /etc
    fabric run -d --name web --network wire busybox sleep 1000
    # The gateways of the subnets are nobody: none is shown.
    same "" "$(fabric network inspect wire | sed -n 's/^gateway  *\([0-9]\)/\1/p')$(address api gateway)$(address api gateway6)"
    same "default dev eth0 " "$(inside api ip -4 route show default | cut -d' ' -f1-3 | sed 's/ *$/ /')"
    inside api ip -6 route show default | grep -q '^default dev eth0 ' || fail "another IPv6 default route"
    api4=$(address api ipv4) api6=$(address api ipv6)
    soon inside web ping -c 1 -W 1 "$api4"
    soon inside web ping -6 -c 1 -W 1 "$api6"
    soon inside web wget -q -O - http://api/hostname
    soon inside api ping -c 1 -W 1 192.0.2.10
    soon from_far "$api4"
    healthy
    fabric rm -f api web
    fabric network rm wire
    ip address flush dev lan0
    ip -n far route flush via 192.0.2.1
    ip -n far -6 route flush via 2001:db8::1
done

part l2
fabric network create wire --driver ipvlan $lan $gateways
same "$clean" "$(links)"
refused 1 fabric network create other --driver macvlan --opt parent=lan0 --subnet 198.51.100.0/24
refused 1 fabric network create other --driver ipvlan --opt parent=lan0 --opt mode=l3 --subnet 198.51.100.0/24
refused 125 fabric run --network wire:mac=02:00:00:00:00:01 busybox true
fabric run -d --name api --network wire:alias=www busybox httpd -f -h /etc
fabric run -d --name web --network wire busybox sleep 1000
# No MAC address of its own: the parent's, and none is shown.
same "$(cat /sys/class/net/lan0/address)" "$(inside api cat /sys/class/net/eth0/address)"
same "" "$(address api mac)"
same "192.0.2.10 2001:db8::10" "$(address api gateway) $(address api gateway6)"
same "192.0.2.10, 2001:db8::10" "$(fabric network inspect wire | sed -n 's/^gateway  *\([0-9]\)/\1/p')"
same "default via 192.0.2.10 dev eth0 " "$(inside api ip -4 route show default | cut -d' ' -f1-5 | sed 's/$/ /')"
api4=$(address api ipv4) api6=$(address api ipv6)
soon inside web ping -c 1 -W 1 "$api4"
soon inside web ping -6 -c 1 -W 1 "$api6"
soon inside web wget -q -O - http://api/hostname
same api "$(inside web wget -q -O - http://www.wire/hostname)"
inside web nslookup -type=aaaa api | grep -q "$api6" || fail "the name has no IPv6 address"
soon from_far "$api4"
soon from_far "$api6"
soon inside api ping -c 1 -W 1 192.0.2.10
soon inside api ping -6 -c 1 -W 1 2001:db8::10
healthy
# What is damaged is found and mended, and nothing of it depends on the daemon that made it.
pid=$(fabric inspect api --format json | sed -n 's/^ *"pid": \([0-9]*\),*$/\1/p' | head -n 1)
nsenter -t "$pid" -n ip link del eth0
fabric doctor --fix || fail "the doctor cannot mend it"
soon from_far "$api4"
fabric restart -t 0 web
soon inside web wget -q -O - http://api/hostname
fabric rm -f api web
fabric network rm wire
same "$clean" "$(links)"

# A network without IPv6 has none though the LAN speaks it (CVE-2024-32473): not even a link-local address. Interfaces on
# one parent have one MAC address, and so one link-local address, of which each namespace may have one.
part without IPv6
fabric network create plain --driver ipvlan --opt parent=lan0 --subnet 192.0.2.0/24
fabric network create both --driver ipvlan --opt parent=lan0 --subnet 198.51.100.0/24 --subnet 2001:db8::/64
fabric run -d --name plain --network plain busybox sleep 1000
fabric run -d --name both --network both busybox sleep 1000
fabric run -d --name mixed --network plain --network both busybox sleep 1000
same "" "$(inside plain ip -6 -o address)"
same "" "$(inside plain ip -6 route)"
inside both ip -6 -o address show dev eth0 | grep -q fe80: || fail "no link-local address where there is IPv6"
inside mixed ip -6 -o address show dev eth1 | grep -q fe80: || fail "no link-local address beside a network without IPv6"
same "" "$(inside mixed ip -6 -o address show dev eth0)"
fabric rm -f plain both mixed
fabric network rm plain both

same "$clean" "$(links)"
part private
fabric network create wire --driver ipvlan --opt flag=private $lan $gateways
same "l2, private" "$(fabric network inspect wire | sed -n 's/^mode  *//p')"
fabric run -d --name api --network wire busybox sleep 1000
fabric run -d --name web --network wire busybox sleep 1000
soon from_far "$(address api ipv4)"
soon from_far "$(address web ipv4)"
if inside web ping -c 1 -W 2 "$(address api ipv4)" >/dev/null; then fail "they reach each other"; fi
fabric rm -f api web
fabric network rm wire

same "$clean" "$(links)"
part over
exit $((failures > 0))
