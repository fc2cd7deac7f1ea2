# An association of the kernel's own SCTP through a published port: run by tests/tests/sctp.rs as `sh -eu` in a guest.
#
# lan0 is the host's interface, on whose wire 192.0.2.10 is somebody else's. Perl has sockets of any protocol by itself.

. /guest/lib.sh
for module in veth bridge br_netfilter overlay nf_tables nf_conntrack sctp; do modprobe $module; done
ip netns add far
ip link add lan0 type veth peer name far0 netns far
ip address add 192.0.2.1/24 dev lan0
ip link set lan0 up
ip -n far link set lo up
ip -n far link set far0 up
ip -n far address add 192.0.2.10/24 dev far0
ip -n far route add default via 192.0.2.1

export FABRIC_SOCKET=/run/fabric/netd.sock
netd >/guest/netd.log 2>&1 &
trap '[ $? -eq 0 ] || cat /guest/netd.log' EXIT

# Addresses are `struct sockaddr_in` of ip(7); a stream socket of protocol 132 is SCTP's one-to-one style (RFC 6458 §4).
cat >/guest/server.pl <<'END'
$| = 1;
socket(my $listener, 2, 1, 132) or die "socket: $!";
bind($listener, pack("S n a4 x8", 2, 3869, "\0\0\0\0")) or die "bind: $!";
listen($listener, 5) or die "listen: $!";
print "listening\n";
for (1 .. 2) {
    my $peer = accept(my $client, $listener) or die "accept: $!";
    my ($family, $port, $address) = unpack("S n a4", $peer);
    print "asked from ", join(".", unpack("C4", $address)), "\n";
    while (sysread($client, my $line, 2000)) { syswrite($client, "answer to $line") }
    print "ended\n";
}
END
cat >/guest/client.pl <<'END'
$| = 1;
alarm 30;
my ($to, $port) = @ARGV;
socket(my $server, 2, 1, 132) or die "socket: $!\n";
connect($server, pack("S n a4 x8", 2, $port, pack("C4", split(/\./, $to)))) or die "connect: $!\n";
for my $length (1, 1000) {
    syswrite($server, "q" x $length) or die "write: $!\n";
    sysread($server, my $answer, 4000) or die "read: $!\n";
    print "answered with ", length($answer), " octets\n";
}
END
ask() {
    ip netns exec far perl /guest/client.pl "$@" 2>&1
}

soon fabric network ls
fabric image import /guest/busybox.tar busybox >/dev/null
fabric network create web >/dev/null
fabric run -d --name api --network web -p 3868:3869/sctp busybox sleep 1000 >/dev/null
nsenter -t "$(fabric inspect api --format '{{.pid}}')" -n perl /guest/server.pl >/guest/heard 2>&1 &
soon grep listening /guest/heard
echo "== published"
ask 192.0.2.1 3868
# The host's own programs, by an address of the host.
echo "== from the host"
perl /guest/client.pl 192.0.2.1 3868 2>&1
both_have_ended() {
    [ "$(grep -c ended /guest/heard)" -eq 2 ]
}
soon both_have_ended
echo "== heard"
cat /guest/heard
echo "== removed"
fabric rm -f api >/dev/null
ask 192.0.2.1 3868 || echo "ended with $?"
echo "== over"
