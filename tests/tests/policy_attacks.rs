//! Ways past policies that were tried. Each attack stands beside a control that shows that it works where nothing
//! judges.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream},
    time::Duration,
};

use model::MacAddress;
use tests::{Attached, Frame, Halted, Host, Namespace, Scenario, Wire, eventually};

const SLEEP: [&str; 2] = ["sleep", "1000"];
/// What takes longer to come is filtered.
const FILTERED: Duration = Duration::from_millis(700);
const PORT: u16 = 7001;
/// Types of ICMPv6 (RFC 4861 §4.3, RFC 4443 §4.1).
const SOLICITATION: u8 = 135;
const PING: u8 = 128;

/// A server and a client on network `web`.
struct Stage {
    host: Host,
    server: Attached,
    client: Attached,
}

/// A connection that the client has open to the server.
struct Open {
    of_client: TcpStream,
    of_server: TcpStream,
}

impl Stage {
    fn new() -> Self {
        let host = Host::with_config("upstreams = []");
        host.ok(&["network", "create", "web", "--ipv6"]);
        let server = host.run("server", "web", &["-l", "app=server"], &SLEEP);
        let client = host.run("client", "web", &["-l", "app=client"], &SLEEP);
        Self { host, server, client }
    }

    fn file(&self, policies: &str) -> String {
        let file = self.host.path("policies.yaml");
        fs::write(&file, policies).expect("the directory is ours");
        file.to_string_lossy().into_owned()
    }

    #[track_caller]
    fn apply(&self, policies: &str) {
        self.host.ok(&["policy", "apply", "-f", &self.file(policies)]);
    }

    /// Takes all policies out of force.
    fn lift(&self) {
        let names = self.host.ok(&["policy", "ls", "-q"]);
        let names: Vec<&str> = names.split_whitespace().collect();
        self.host.ok(&[&["policy", "rm"], &names[..]].concat());
    }

    fn listen(&self) -> TcpListener {
        self.server.namespace().enter(|| TcpListener::bind((self.server.ipv4, PORT)).expect("free"))
    }

    fn connect(&self) -> Option<TcpStream> {
        let to = SocketAddr::new(self.server.ipv4.into(), PORT);
        self.client.namespace().enter(|| TcpStream::connect_timeout(&to, FILTERED)).ok()
    }

    #[track_caller]
    fn open(&self, listener: &TcpListener) -> Open {
        let of_client = eventually("nothing forbids it", || self.connect());
        let own = of_client.local_addr().expect("it is connected");
        // Who gave up waiting before may stand in the queue as well.
        let mut accepted = listener.incoming().filter_map(Result::ok);
        let of_server = accepted.find(|stream| stream.peer_addr().is_ok_and(|peer| peer == own));
        let of_server = of_server.expect("it was opened");
        for end in [&of_client, &of_server] {
            end.set_read_timeout(Some(FILTERED)).expect("not zero");
        }
        Open { of_client, of_server }
    }
}

impl Open {
    fn client_is_heard(&self) -> bool {
        says(&self.of_client, &self.of_server)
    }

    fn server_is_heard(&self) -> bool {
        says(&self.of_server, &self.of_client)
    }
}

fn says(mut from: &TcpStream, mut to: &TcpStream) -> bool {
    from.write_all(b"?").is_ok() && to.read_exact(&mut [0]).is_ok()
}

fn closed() -> &'static str {
    "{apiVersion: fabric/v1, kind: Stance, metadata: {name: closed}, networks: [web], ingress: deny}"
}

/// The endpoints of one label deny those of the other.
fn denial(name: &str, app: &str, direction: &str, other: &str) -> String {
    let peers = if direction == "ingress" { "from" } else { "to" };
    format!(
        "{{apiVersion: fabric/v1, kind: Policy, metadata: {{name: {name}}}, networks: [web], subject: {{labels: {{app: \
         {app}}}}}, {direction}: [{{action: deny, {peers}: [{{labels: {{app: {other}}}}}]}}]}}"
    )
}

#[test]
fn a_connection_that_was_cut_does_not_come_back_when_the_other_end_says_something() {
    let stage = Stage::new();
    let listener = stage.listen();
    for denies in [denial("server", "server", "ingress", "client"), denial("client", "client", "egress", "server")] {
        // Judged from its first packet on.
        stage.apply(&denial("nobody", "nobody", "ingress", "nobody"));
        let open = stage.open(&listener);
        assert!(open.client_is_heard() && open.server_is_heard(), "the control");
        stage.apply(&denies);
        assert!(!open.client_is_heard(), "{denies}");
        assert!(!open.server_is_heard(), "its end is not judged: {denies}");
        assert!(!open.client_is_heard(), "{denies}");
        stage.lift();
    }
}

#[test]
fn what_is_denied_is_cut_though_netd_dies_before_it() {
    let stage = Stage::new();
    let listener = stage.listen();
    stage.apply(&denial("nobody", "nobody", "ingress", "nobody"));
    let file = stage.file(closed());
    let requests = [vec!["policy", "apply", "-f", file.as_str()], vec!["policy", "rm", "closed"]];
    let learned = Scenario::of(&requests).play(&stage.host, None);
    let is_install = |step: &String| step.contains("table inet fabric-policy");
    let installed = learned.steps.iter().find(|step| is_install(step)).expect("the rules are put in place");
    stage.host.start();
    let open = stage.open(&listener);
    assert!(open.client_is_heard() && open.server_is_heard(), "the control");
    let course = Scenario::of(&requests[..1]).play(&stage.host, Some(&tests::kind(installed)));
    assert!(course.steps.last().is_some_and(is_install), "{:?}", course.steps);
    stage.host.start();
    assert!(stage.connect().is_none(), "the new policies are in force");
    eventually("what was open is cut", || (!open.client_is_heard() && !open.server_is_heard()).then_some(()));
}

#[test]
fn what_came_in_while_an_element_was_missing_is_cut() {
    let stage = Stage::new();
    let listener = stage.listen();
    stage.apply(closed());
    let server = stage.server.ipv4;
    // As long as it stands still nothing is put back.
    let halted = Halted::new(stage.host.netd_pid());
    let listed = stage.host.namespace().run(&["nft", "list", "table", "inet", "fabric-policy"]);
    let sets = listed.split("\tset ").filter_map(|set| set.split_once(' '));
    let address = format!("{server}");
    let is_in = |set: &str| set.contains("type ipv4_addr\n") && set.split([' ', ',']).any(|word| word == address);
    let of_server: Vec<&str> = sets.filter(|(_, set)| is_in(set)).map(|(name, _)| name).collect();
    assert!(of_server.len() >= 2 && of_server.contains(&"judged_ingress4"), "{of_server:?}\n{listed}");
    for set in of_server {
        let element = format!("{{ {address} }}");
        stage.host.namespace().run(&["nft", "delete", "element", "inet", "fabric-policy", set, &element]);
    }
    let open = stage.open(&listener);
    assert!(open.client_is_heard() && open.server_is_heard(), "the control");
    drop(halted);
    eventually("it is put back", || stage.connect().is_none().then_some(()));
    eventually("what came in is cut", || (!open.client_is_heard() && !open.server_is_heard()).then_some(()));
}

#[test]
fn nothing_leaves_the_host_as_neighbour_discovery() {
    let stage = Stage::new();
    let lan = stage.host.lan();
    let [far, _] = lan.speak_ipv6(stage.host.namespace());
    let client = stage.client.namespace();
    let own = stage.host.addresses("client").into_iter().find_map(|address| match address {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    });
    let own = own.expect("it speaks IPv6");
    let bridges = stage.host.namespace().run(&["ip", "-o", "link", "show", "type", "bridge"]);
    let gateway = stage.host.namespace().mac(bridges.split(": ").nth(1).expect("the network's bridge"));
    let (wire, seen) = (Wire::open(&client, "eth0", 0x86dd), Wire::open(&lan.namespace, "eth0", 0x86dd));
    let leaves = |kind: u8| {
        let mut body = vec![0; 4];
        body.extend(far.octets());
        body.extend(b"\x0e\x02SECRETSECRET!!");
        wire.send(&Frame::icmpv6(gateway, client.mac("eth0"), [own, far], kind, &body));
        seen.frames(FILTERED).iter().any(|frame| frame.windows(6).any(|octets| octets == b"SECRET"))
    };
    eventually("the control: without policies both leave", || (leaves(PING) && leaves(SOLICITATION)).then_some(()));
    stage.apply("{apiVersion: fabric/v1, kind: Stance, metadata: {name: shut}, networks: [web], egress: deny}");
    assert!(!leaves(PING));
    assert!(!leaves(SOLICITATION), "a neighbour is not asked for beyond a router");
}

#[test]
fn the_host_is_the_host_under_its_bridge_s_own_address_at_once() {
    let stage = Stage::new();
    stage.apply(
        "{apiVersion: fabric/v1, kind: Policy, metadata: {name: nohost}, networks: [late], egress: [{action: deny, to: \
         [{entity: host}]}]}",
    );
    let bridges = || {
        let shown = stage.host.namespace().run(&["ip", "-6", "-o", "address", "show", "scope", "link"]);
        let lines = shown.lines().filter(|line| line.contains(": fb-"));
        let address = |line: &str| line.split_whitespace().find_map(|word| word.strip_suffix("/64").map(str::to_owned));
        lines.filter_map(address).collect::<Vec<_>>()
    };
    let before = bridges();
    stage.host.ok(&["network", "create", "late", "--ipv6"]);
    let latecomer = stage.host.run("latecomer", "late", &[], &SLEEP).namespace();
    let own = bridges().into_iter().find(|address| !before.contains(address)).expect("its bridge speaks IPv6");
    let pings = |namespace: &tests::Namespace, to: &str| {
        namespace.try_run(&["ping", "-n", "-c", "1", "-W", "1", &format!("{to}%eth0")]).code == 0
    };
    eventually("the control: another network's", || pings(&stage.client.namespace(), &before[0]).then_some(()));
    assert!(!pings(&latecomer, &own));
}

/// A link-local address follows from a MAC address, and both of a network's number where IPv6 is all there is. Whoever
/// had the same on another network was judged in the other one's place.
#[test]
fn nobody_has_the_link_local_address_of_somebody_on_another_network() {
    let host = Host::with_config("upstreams = []");
    let mut taken = BTreeSet::new();
    let mut town: BTreeMap<&str, Vec<(Attached, Ipv6Addr)>> = BTreeMap::new();
    for network in ["open", "closed"] {
        host.ok(&["network", "create", network, "--ipv6", "--no-ipv4"]);
        for number in 0..3 {
            let name = format!("{network}{number}");
            host.ok(&["run", "-d", "--name", &name, "--network", network, "busybox", "sleep", "1000"]);
            let shown = host.json(&["inspect", &name]);
            let mac: MacAddress = shown["endpoints"][0]["mac"].as_str().expect("it has one").parse().expect("valid");
            assert!(taken.insert(mac), "{mac} is on two networks: {taken:?}");
            let pid = shown["pid"].as_i64().expect("it runs");
            let container = Attached { id: name, pid, ipv4: Ipv4Addr::UNSPECIFIED };
            town.entry(network).or_default().push((container, mac.link_local()));
        }
        let listed = host.namespace().run(&["ip", "-o", "link", "show", "type", "bridge"]);
        let macs = listed.lines().filter_map(|line| line.split_once("link/ether ")?.1.split(' ').next());
        taken.extend(macs.map(|mac| mac.parse::<MacAddress>().expect("the kernel writes them so")));
    }
    assert_eq!(taken.len(), 2 * (3 + 1), "three containers and a bridge each: {taken:?}");
    let stance = "{apiVersion: fabric/v1, kind: Stance, metadata: {name: closed}, networks: [closed], ingress: deny}";
    let file = host.path("policies.yaml");
    fs::write(&file, stance).expect("the directory is ours");
    host.ok(&["policy", "apply", "-f", &file.to_string_lossy()]);
    for (network, containers) in &town {
        for (server, address) in containers {
            let at = SocketAddrV6::new(*address, PORT, 0, index(&server.namespace()));
            let listener = server.namespace().enter(|| TcpListener::bind(at).expect("free"));
            for (client, _) in containers.iter().filter(|(client, _)| client.id != server.id) {
                let to = SocketAddrV6::new(*address, PORT, 0, index(&client.namespace()));
                let connect = || TcpStream::connect_timeout(&to.into(), FILTERED).is_ok();
                let is_open = client.namespace().enter(connect);
                assert_eq!(is_open, *network == "open", "{} to {}", client.id, server.id);
            }
            drop(listener);
        }
    }

    // Nobody is given one that is taken, by whoever asks.
    let mac = |of: &str| host.json(&["inspect", of])["endpoints"][0]["mac"].as_str().expect("one").to_owned();
    let asked = format!("closed:mac={}", mac("open0"));
    let outcome = host.fabric(&["run", "-d", "--network", &asked, "busybox", "sleep", "1000"]);
    assert!(outcome.code == 125 && outcome.stderr.contains("container `open0` of network `open`"), "{outcome}");
}

/// The number of a container's interface.
fn index(namespace: &Namespace) -> u32 {
    let shown = namespace.run(&["ip", "-o", "link", "show", "dev", "eth0"]);
    shown.split(':').next().expect("it is the first word").parse().expect("a number")
}
