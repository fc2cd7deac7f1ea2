//! Networks are apart.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use tests::{ALL, Host, Namespace, Ping, RecordType, Wire, ask_within, eventually, fetch};

#[test]
fn two_networks_do_not_reach_each_other() {
    let host = Host::new();
    // With a route between the namespaces' subnets, which every host has.
    host.ok(&["network", "create", "web", "--ipv6"]);
    host.ok(&["network", "create", "db", "--ipv6"]);
    let server = ["httpd", "-f", "-p", "80", "-h", "/etc"];
    let neighbour = host.run("neighbour", "web", &[], &server);
    let stranger = host.run("stranger", "db", &["-p", "8080:80"], &server);
    let client = host.run("client", "web", &[], &["sleep", "1000"]).namespace();
    for container in [&neighbour, &stranger] {
        let listens = || fetch(&container.namespace(), Ipv4Addr::LOCALHOST, 80, "hostname").ok();
        eventually("the server listens", listens);
    }
    for (neighbour, stranger) in host.addresses("neighbour").into_iter().zip(host.addresses("stranger")) {
        fetch(&client, neighbour, 80, "hostname").expect("the control: same network");
        fetch(host.namespace(), stranger, 80, "hostname").expect("the control: the server answers the host");
        Ping::start(&client, neighbour).finish();
        let direct = fetch(&client, stranger, 80, "hostname");
        assert!(direct.is_err(), "a container of `web` reached {stranger} of `db`");
        let ping = client.try_run(&["ping", "-n", "-c", "2", "-i", "0.1", "-W", "1", &stranger.to_string()]);
        assert_ne!(ping.code, 0, "{ping}");
    }
}

#[test]
fn ipv6_is_off_on_a_network_without_it() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    let addresses = host.ok(&["run", "--rm", "--network", "web", "busybox", "ip", "-6", "-o", "address"]);
    assert_eq!(addresses, "", "no IPv6 address, not even a link-local one");
}

#[test]
fn a_container_has_no_descriptor_of_its_makers() {
    let host = Host::stopped("");
    // One that is not closed on exec, as whoever starts the daemon may leave it (CVE-2024-21626).
    let netd = host.netd_command();
    let mut leaky = Command::new("sh");
    leaky.args(["-c", "exec 9</sys/fs/cgroup; exec \"$0\" \"$@\""]).arg(netd.get_program()).args(netd.get_args());
    host.spawn(&mut leaky);
    host.wait_until_ready();
    host.import_busybox();
    let of_netd = format!("/proc/{}/fd/9", host.netd_pid().as_raw_nonzero());
    assert_eq!(fs::read_link(of_netd).expect("the control: the daemon has it"), Path::new("/sys/fs/cgroup"));
    for command in [&["run", "--rm", "busybox"][..], &["exec", "long"]] {
        if command[0] == "exec" {
            host.ok(&["run", "-d", "--name", "long", "busybox", "sleep", "1000"]);
        }
        // Not by listing the directory: that takes a descriptor itself.
        let script = "n=0; while [ $n -lt 100 ]; do [ -e /proc/self/fd/$n ] && echo $n; n=$((n+1)); done; true";
        let found = host.ok(&[command, &["sh", "-c", script]].concat());
        assert_eq!(found, "0\n1\n2", "{command:?}");
    }
}

#[test]
fn no_standard_stream_is_a_device_of_the_host() {
    let host = Host::new();
    host.ok(&["run", "-d", "--name", "c", "busybox", "sleep", "1000"]);
    let look = ["sh", "-c", "for fd in 0 1 2; do readlink /proc/self/fd/$fd; done"];
    let streams = [&["run", "--rm", "busybox"][..], &["exec", "c"]].map(|start| host.ok(&[start, &look[..]].concat()));
    for kinds in streams {
        assert!(kinds.lines().all(|kind| kind.starts_with("pipe:")), "{kinds}");
    }
}

/// Tries every way by which a container could tell something to somebody outside: through the resolvers of all
/// networks, whoever is a resolver outside, and by whatever else is forwarded or flooded.
fn tell(from: &Namespace, secret: &str, resolvers: &[SocketAddr], others: &[SocketAddr]) {
    let name = &format!("{secret}.example.com");
    thread::scope(|scope| {
        for server in resolvers {
            for kind in [RecordType::A, RecordType::Aaaa, RecordType::Ptr, RecordType::Srv] {
                // Refused and unanswered are as good.
                scope.spawn(move || ask_within(Duration::from_secs(2), from, *server, name, kind).is_ok());
            }
        }
    });
    for to in others {
        let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        let socket = from.enter(|| UdpSocket::bind((any, 0)).expect("free"));
        socket.set_broadcast(true).expect("a socket of UDP");
        // Without a route it is not even sent.
        let _ = socket.send_to(name.as_bytes(), to);
    }
    let target = others[0].ip().to_string();
    let pattern: String = secret.bytes().map(|octet| format!("{octet:02x}")).collect();
    from.try_run(&["ping", "-n", "-c", "1", "-W", "0.2", "-p", &pattern, &target]);
}

#[test]
fn no_packet_of_an_internal_network_leaves_by_any_uplink() {
    let host = Host::with_config("upstreams = ['192.0.2.10', '198.51.100.10']");
    let uplinks = [host.lan(), host.lan()];
    let [lan6, host6] = uplinks[0].speak_ipv6(host.namespace());
    host.ok(&["network", "create", "open", "--ipv6"]);
    host.ok(&["network", "create", "other", "--ipv6"]);
    host.ok(&["network", "create", "secret", "--ipv6", "--internal"]);
    host.run("open", "open", &["-p", "8081:81/udp"], &["sleep", "1000"]);
    let other = host.run("other", "other", &[], &["sleep", "1000"]).namespace();
    let inside = host.run("secret", "secret", &[], &["sleep", "1000"]).namespace();
    let gateways: Vec<IpAddr> = ["open", "secret"]
        .map(|network| host.json(&["network", "inspect", network])["subnets"].clone())
        .iter()
        .flat_map(|subnets| subnets.as_array().expect("both families").clone())
        .map(|subnet| subnet["gateway"].as_str().expect("it has one").parse().expect("an address"))
        .collect();
    // Who is inside makes routes of its own.
    for gateway in &gateways[2..] {
        inside.run(&["ip", "route", "add", "default", "via", &gateway.to_string()]);
    }
    let outside = uplinks.iter().map(|uplink| IpAddr::from(uplink.address)).chain([lan6.into()]);
    let resolvers: Vec<_> = gateways.iter().copied().chain(outside.clone()).map(|to| SocketAddr::new(to, 53)).collect();
    let multicast: [IpAddr; 4] =
        [[224, 0, 0, 251].into(), [255; 4].into(), [192, 0, 2, 255].into(), "ff02::fb".parse().expect("literal")];
    let published = [IpAddr::from(uplinks[0].host_address), host6.into()].map(|to| SocketAddr::new(to, 8081));
    let others = outside.chain(multicast).map(|to| SocketAddr::new(to, 5353)).chain(published).collect::<Vec<_>>();
    let bridge = host.json(&["network", "inspect", "open"])["id"].as_str().expect("an id")[..12].to_owned();
    let heard = |from: &Namespace, secret: &str| {
        let mut wires: Vec<_> = uplinks.iter().map(|uplink| Wire::open(&uplink.namespace, "eth0", ALL)).collect();
        wires.push(Wire::open(host.namespace(), &format!("fb-{bridge}"), ALL));
        tell(from, secret, &resolvers, &others);
        let holds = |frame: &Vec<u8>| String::from_utf8_lossy(frame).to_lowercase().contains(secret);
        wires
            .iter()
            .map(|wire| wire.frames(Duration::from_millis(300)).iter().filter(|frame| holds(frame)).count())
            .collect::<Vec<_>>()
    };
    assert_eq!(heard(&inside, "exfiltrated"), [0; 3], "on either uplink, or by a published port on another network");
    let by_all_ways = || heard(&other, "told-openly").iter().all(|frames| *frames > 0).then_some(());
    eventually("the control: it is heard everywhere", by_all_ways);
    host.assert_healthy();
}
