//! A host to experiment on: a network namespace of its own with a LAN behind it, in a mount namespace of its own, so
//! that the machine sees none of it and nothing is left when the thread ends.

#![allow(dead_code, reason = "no test uses all of it")]

use std::{
    fs::File,
    io::{Read, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use kernel::{Kernel, KernelError, Notice, Removal, Report, Watch};
use model::{
    Admin, Attachment, Bridge, Change, Element, Endpoint, EndpointId, Forwarding, Gate, Inside, Ipv6, Namespace,
    NetworkId, Passage, Publish, Scope, Sender, State, Switch, Veth,
};
use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe},
};

/// Fabric's run directory.
pub(crate) const RUN: &str = "/run/fabric";
/// The host's address in the LAN.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The other machine in the LAN; it knows a route to every container subnet, by way of the host.
pub(crate) const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// How long an answer that has to come may take: a machine that stands still for seconds changes nothing about it.
pub(crate) const ENOUGH: Duration = Duration::from_secs(30);
/// How long is listened for an answer that must not come.
pub(crate) const SILENCE: Duration = Duration::from_millis(700);

/// Where a socket is opened.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    /// The host.
    Host,
    /// The other machine in the LAN.
    Lan,
    /// A container, by its number.
    Container(u8),
    /// A namespace that the test made with `ip netns add`.
    Named(&'static str),
}

pub(crate) struct Lab {
    pub(crate) kernel: Kernel,
    runtime: tokio::runtime::Runtime,
}

/// Runs a test in a host of its own.
pub(crate) fn run(test: impl FnOnce(&mut Lab) + Send) {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: this thread is new and shares nothing with others that it would miss: it keeps its memory and
            // descriptors, and gets its own network and mounts.
            #[expect(unsafe_code, reason = "unshare affects the whole thread")]
            unsafe { unshare_unsafe(UnshareFlags::NEWNET | UnshareFlags::NEWNS) }.expect("root may unshare");
            let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
            mount_change("/", private).expect("a new mount namespace can be made private");
            mount("tmpfs", "/run", "tmpfs", MountFlags::empty(), None).expect("root may mount a tmpfs");
            bridges_call_iptables("0");
            // No flow is forgotten for its age.
            sh("sysctl -qw net.netfilter.nf_conntrack_udp_timeout=600");
            sh("ip link set lo up
                ip netns add lan
                ip link add lan0 type veth peer name eth0 netns lan
                # An address that turns out to be unique a second later would be told in the middle of a test.
                sysctl -qw net.ipv6.conf.lan0.accept_dad=0
                ip addr add 192.0.2.1/24 dev lan0
                ip link set lan0 up
                ip route add default via 192.0.2.2
                ip -n lan link set lo up
                ip -n lan addr add 192.0.2.2/24 dev eth0
                ip -n lan link set eth0 up
                ip -n lan route add 10.89.0.0/16 via 192.0.2.1
                until ip -br link show lan0 | grep -q ' UP ' && ip -n lan -br link show eth0 | grep -q ' UP '; do
                    sleep 0.02
                done");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
            let kernel = Kernel::open(Path::new(RUN), LIMIT, model::Switch::On).expect("the kernel opens");
            test(&mut Lab { kernel, runtime });
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// How many conntrack entries show this text.
pub(crate) fn conntrack(text: &str) -> usize {
    sh("conntrack -L 2> /dev/null").lines().filter(|line| line.contains(text)).count()
}

/// Sets `net.bridge.bridge-nf-call-iptables`; whether there is such a setting.
pub(crate) fn bridges_call_iptables(value: &str) -> bool {
    std::fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", value).is_ok()
}

/// Runs shell commands where the calling thread is, and returns what they print.
pub(crate) fn sh(script: &str) -> String {
    let output = Command::new("sh").args(["-ec", script]).output().expect("sh starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}\n{out}{err}");
    out.into_owned()
}

impl Lab {
    /// Goes on with a handle that is opened now.
    pub(crate) fn open_anew(&mut self) {
        self.kernel = Kernel::open(Path::new(RUN), LIMIT, model::Switch::On).expect("the kernel opens");
    }

    /// What is told until nothing has been for a fifth of a second, all of which this thread was awake: what is noticed
    /// only after the machine stood still is told a little later.
    pub(crate) fn told(&self, watch: &mut Watch) -> Vec<Notice> {
        const QUIET: Duration = Duration::from_millis(200);
        let mut notices = Vec::new();
        self.wait(async {
            loop {
                let start = Instant::now();
                match tokio::time::timeout(QUIET, watch.next()).await {
                    Ok(notice) => notices.push(notice.expect("the kernel tells")),
                    Err(_) if start.elapsed() < QUIET * 3 / 2 => break,
                    Err(_) => {}
                }
            }
        });
        notices
    }

    /// Waits for a future.
    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Reconciles a scope with a state and returns the changes as text.
    pub(crate) fn reconcile(&self, scope: Scope, state: &State) -> Vec<String> {
        let report = self.try_reconcile(scope, state).expect("all changes apply");
        report.changes.iter().map(Change::to_string).collect()
    }

    /// Reconciles everything twice, and makes sure that the second time changes nothing.
    pub(crate) fn settle(&self, state: &State) -> Vec<String> {
        let changes = self.reconcile(Scope::Everything, state);
        assert_eq!(self.reconcile(Scope::Everything, state), Vec::<String>::new(), "the second time changes nothing");
        changes
    }

    pub(crate) fn try_reconcile(&self, scope: Scope, state: &State) -> Result<Report, KernelError> {
        let state = state.clone();
        self.wait(self.kernel.reconcile(scope, Removal::Awaited, move || state, |_| {}))
    }

    /// Runs `work` in a place, on a thread of its own.
    pub(crate) fn at<T: Send>(&self, place: Place, work: impl FnOnce() -> T + Send) -> T {
        let path = match place {
            Place::Host => None,
            Place::Lan => Some("/run/netns/lan".to_owned()),
            Place::Container(number) => Some(format!("{RUN}/netns/c{number}")),
            Place::Named(name) => Some(format!("/run/netns/{name}")),
        };
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                if let Some(path) = path {
                    let file = File::open(&path).expect("the namespace is pinned");
                    move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), Some(LinkNameSpaceType::Network))
                        .expect("root may enter a namespace");
                }
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs shell commands in a place.
    pub(crate) fn sh_at(&self, place: Place, script: &str) -> String {
        self.at(place, || sh(script))
    }

    /// A server on all addresses of a place that answers each connection with the client's address.
    pub(crate) fn serve(&self, place: Place, port: u16) {
        let listener = self.at(place, || TcpListener::bind(("0.0.0.0", port)).expect("the port is free"));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let address = stream.peer_addr().map(|address| address.ip().to_string()).unwrap_or_default();
                let _ = stream.write_all(address.as_bytes());
            }
        });
    }

    /// Connects from a place to such a server, which is to answer: the address that it saw, or none if it was not
    /// reached.
    pub(crate) fn ask(&self, place: Place, address: Ipv4Addr, port: u16) -> Option<Ipv4Addr> {
        self.ask_within(ENOUGH, place, address, port)
    }

    /// The same where nobody is to answer, so that it is not waited for as long.
    pub(crate) fn ask_in_vain(&self, place: Place, address: Ipv4Addr, port: u16) -> Option<Ipv4Addr> {
        self.ask_within(SILENCE, place, address, port)
    }

    /// The same with a patience for each step; see [`patience`].
    pub(crate) fn ask_within(
        &self,
        patience: Duration,
        place: Place,
        address: Ipv4Addr,
        port: u16,
    ) -> Option<Ipv4Addr> {
        self.at(place, || {
            let to = SocketAddr::V4(SocketAddrV4::new(address, port));
            let mut stream = TcpStream::connect_timeout(&to, patience).ok()?;
            stream.set_read_timeout(Some(patience)).expect("a timeout can be set");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            answer.parse().ok()
        })
    }
}

/// How long is waited for an answer that comes as often as `expected` says: as long as it takes, or as short as will
/// do.
pub(crate) fn patience<T>(expected: &Option<T>) -> Duration {
    if expected.is_some() { ENOUGH } else { SILENCE }
}

/// Sends one echo request from a place, whose answer has to come however long the machine stands still. It is sent
/// once; the question for an address, which is sent again after a second, would make up for a lost first one.
pub(crate) fn ping_once(lab: &Lab, place: Place, address: Ipv4Addr) {
    let script = format!("ping -q -n -c 1 -W {} {address}", ENOUGH.as_secs());
    lab.sh_at(place, &script);
    assert_asked_once(lab, place, address);
}

/// Makes sure that a place did not have to ask again where a neighbour is.
pub(crate) fn assert_asked_once(lab: &Lab, place: Place, address: Ipv4Addr) {
    let neighbour = lab.sh_at(place, &format!("ip -s neigh show {address}"));
    // Those that a neighbour is never asked alone count as asked (`__neigh_event_send`), so the first question is the
    // fourth.
    let probes = neighbour.split("probes ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
    assert!(probes.is_some_and(|probes: u32| probes <= 4), "{place:?} had to ask again for {address}: {neighbour}");
}

pub(crate) fn network(number: u8) -> NetworkId {
    NetworkId::from_bytes([0xa0, 0, 0, 0, 0, number, 0, 0])
}

/// Container `c{number}` on network `number / 10`, at `10.89.{network}.{number}`.
pub(crate) fn attachment(number: u8, publishes: &[&str]) -> Attachment {
    let net = number / 10;
    Attachment {
        endpoint: Endpoint {
            id: EndpointId::from_bytes([0xe0, 0, 0, 0, 0, number, 0, 0]),
            network: network(net),
            ipv4: Some(address(number)),
            ipv6: None,
            mac: Some(model::MacAddress::local([2, 0, 0, 0, 0, number])),
            aliases: Vec::new(),
            interface: "eth0".parse().expect("literal"),
            gateway_priority: 0,
        },
        namespace: format!("c{number}").parse().expect("literal"),
        publishes: publishes.iter().map(|text| text.parse().expect("literal")).collect(),
        default_routes: model::Family::ALL.into(),
        routes: Default::default(),
        announcement: Default::default(),
    }
}

pub(crate) fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 89, number / 10, number)
}

/// How many connections an address of a container may have open at once.
pub(crate) const LIMIT: kernel::ConnectionLimit =
    kernel::ConnectionLimit::AtMost(std::num::NonZeroU32::new(4096).expect("not zero"));

pub(crate) fn gateway(net: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 89, net, 1)
}

/// What lets a container of the lab take the shortcut, with an IPv6 address as well.
pub(crate) fn passage(number: u8) -> Passage {
    let endpoint = attachment(number, &[]).endpoint;
    let sender = Sender {
        network: endpoint.network,
        mac: endpoint.mac.expect("every container of the lab has one"),
        ipv4: endpoint.ipv4,
        ipv6: Some(ipv6(number)),
        mtu: 1500,
    };
    Passage { gate: Gate::Open, found_at: sender.addresses().collect(), sender: Some(sender) }
}

/// The same state with these containers taking the shortcut, and no other.
pub(crate) fn with_passages(state: &State, numbers: &[u8]) -> State {
    let port = |number: u8| attachment(number, &[]).endpoint.host_interface();
    let mut state = state.clone();
    state.shortcut.passages = numbers.iter().map(|number| (port(*number), passage(*number))).collect();
    state
}

pub(crate) fn ipv6(number: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, (number / 10).into(), 0, 0, 0, number.into())
}

fn with_prefix(address: Ipv4Addr) -> ipnet::IpNet {
    ipnet::IpNet::new(address.into(), 24).expect("at most 32")
}

/// What a bridge driver would desire for these attachments and the networks they are on.
pub(crate) fn state(attachments: &[Attachment]) -> State {
    let mut state = State::empty();
    for attachment in attachments {
        let endpoint = &attachment.endpoint;
        let bridge = endpoint.network.bridge();
        let ipv4 = endpoint.ipv4.expect("every container of the lab has one");
        let [_, _, net, _] = ipv4.octets();
        let from_loopback = attachment.publishes.iter().any(Publish::reaches_from_loopback);
        state.forwarding = Forwarding::On;
        let of_network = [Element::Bridge, Element::SameBridge, Element::Icc, Element::Masqueraded];
        state.elements.extend(of_network.map(|element| element(bridge.clone())));
        state.elements.insert(Element::Gateway { bridge: bridge.clone(), address: gateway(net).into() });
        state.elements.extend(attachment.elements());
        state.namespaces.insert(attachment.namespace.clone(), Namespace::Ready);
        let entry = state.bridges.entry(bridge.clone()).or_insert(Bridge {
            alias: Bridge::alias_of(&endpoint.network),
            mac: model::MacAddress::local([2, 0, 0, 0, 1, net]),
            mtu: 1500,
            admin: Admin::Up,
            addresses: [with_prefix(gateway(net))].into(),
            ipv6: Ipv6::Off,
            loopback_routing: Switch::Off,
            filtered: Switch::Off,
            snooping: Switch::Off,
        });
        if from_loopback {
            entry.loopback_routing = Switch::On;
        }
        state.veths.insert(
            endpoint.host_interface(),
            Veth {
                alias: Veth::alias_of(&endpoint.id),
                bridge: Some(bridge),
                hairpin: if attachment.publishes.is_empty() { Switch::Off } else { Switch::On },
                isolated: Switch::Off,
                fixed: endpoint.mac,
                mtu: 1500,
                admin: Admin::Up,
                ipv6: Ipv6::Off,
                inside: Some(Inside {
                    namespace: attachment.namespace.clone(),
                    interface: endpoint.interface.clone(),
                    mac: endpoint.mac,
                    mtu: 1500,
                    admin: Admin::Up,
                    addresses: [with_prefix(ipv4)].into(),
                    gateway: Some(gateway(net)),
                    gateway6: None,
                    routes: Default::default(),
                    ipv6: Ipv6::Off,
                }),
            },
        );
    }
    state
}
