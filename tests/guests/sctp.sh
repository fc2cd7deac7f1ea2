# An association of the kernel's own SCTP through a published port: run by tests/tests/sctp.rs as `sh -eu` in a guest.
#
# lan0 is the host's interface, on whose wire 192.0.2.10 and 2001:db8::10 are somebody else's. Perl has sockets of
# any protocol by itself.

. /guest/lib.sh
for module in veth bridge br_netfilter overlay nf_tables nf_conntrack sctp sctp_diag; do modprobe $module; done
ip netns add far
ip link add lan0 type veth peer name far0 netns far
ip address add 192.0.2.1/24 dev lan0
ip address add 2001:db8::1/64 dev lan0 nodad
ip link set lan0 up
ip -n far link set lo up
ip -n far link set far0 up
ip -n far address add 192.0.2.10/24 dev far0
ip -n far address add 2001:db8::10/64 dev far0 nodad
ip -n far route add default via 192.0.2.1
ip -n far route add default via 2001:db8::1

export FABRIC_SOCKET=/run/fabric/netd.sock
netd >/guest/netd.log 2>&1 &
trap '[ $? -eq 0 ] || cat /guest/netd.log' EXIT

# Addresses are `struct sockaddr_in` of ip(7) and `struct sockaddr_in6` of ipv6(7); a stream socket of protocol 132 is
# SCTP's one-to-one style (RFC 6458 §4).
cat >/guest/server.pl <<'END'
$| = 1;
my ($port, $times) = @ARGV;
socket(my $listener, 10, 1, 132) or die "socket: $!";
bind($listener, pack("S n x24", 10, $port)) or die "bind: $!";
listen($listener, 5) or die "listen: $!";
print "listening\n";
for (1 .. $times) {
    my $peer = accept(my $client, $listener) or die "accept: $!";
    my @words = unpack("x8 n8", $peer);
    my $ipv6 = join(":", map { sprintf("%x", $_) } @words);
    print "asked from ", $ipv6 =~ /^0:0:0:0:0:ffff:/ ? join(".", unpack("x20 C4", $peer)) : $ipv6, "\n";
    while (sysread($client, my $line, 2000)) { syswrite($client, "answer to $line") }
    print "ended\n";
}
END
cat >/guest/client.pl <<'END'
$| = 1;
alarm 30;
my ($to, $port) = @ARGV;
my $end = $to =~ /:/ ? pack("S n x4 n8 x4", 10, $port, map { hex } split(/:/, $to))
    : pack("S n C4 x8", 2, $port, split(/\./, $to));
socket(my $server, unpack("S", $end), 1, 132) or die "socket: $!\n";
connect($server, $end) or die "connect: $!\n";
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
fabric network create web --ipv6 >/dev/null
fabric run -d --name api --network web -p 3868:3869/sctp busybox sleep 1000 >/dev/null
nsenter -t "$(fabric inspect api --format '{{.pid}}')" -n perl /guest/server.pl 3869 3 >/guest/heard 2>&1 &
soon grep listening /guest/heard
echo "== published"
ask 192.0.2.1 3868
echo "== published over IPv6"
ask 2001:db8:0:0:0:0:0:1 3868
# The host's own programs, by an address of the host.
echo "== from the host"
perl /guest/client.pl 192.0.2.1 3868 2>&1
all_have_ended() {
    [ "$(grep -c ended /guest/heard)" -eq 3 ]
}
soon all_have_ended
echo "== heard"
cat /guest/heard
echo "== removed"
fabric rm -f api >/dev/null
ask 192.0.2.1 3868 || echo "ended with $?"
echo "== taken"
perl /guest/server.pl 3868 1 >/guest/taken 2>&1 &
soon grep listening /guest/taken
fabric run -d --name api --network web -p 3868:3869/sctp busybox sleep 1000 2>&1 | sed "s/(pid $!)/(pid of it)/"
echo "== over"
