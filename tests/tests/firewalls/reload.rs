//! What gets through while another firewall is reloaded: connections that stand go on, new ones come about again, and
//! what Fabric forbids stays outside all the time.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use tests::{Flow, Namespace, Stream, eventually};

use super::Site;

const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];
/// Between the beginnings of two connections. Far more would be more than a container may have open.
const INTERVAL: Duration = Duration::from_millis(10);
/// What the longest time without a new connection may be. Whose first packet is lost sends another after a second.
const LONGEST: Duration = Duration::from_secs(20);
const ECHO: u16 = 7;

/// What goes on while a firewall is reloaded, each with who sends it where, over both families.
struct Traffic {
    standing: Vec<(String, Flow)>,
    allowed: Vec<(String, Stream)>,
    forbidden: Vec<(String, Stream)>,
}

/// Sends back what is sent, over both families, for as long as the test process lives.
fn echo(namespace: &Namespace) {
    let listener = namespace.enter(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, ECHO)).expect("free"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut buffer = [0; 64];
                while let Ok(length) = stream.read(&mut buffer) {
                    if length == 0 || stream.write_all(&buffer[..length]).is_err() {
                        break;
                    }
                }
            });
        }
    });
}

impl Traffic {
    fn start(site: &Site) -> Self {
        site.host.ok(&["network", "create", "other", "--ipv6"]);
        let neighbour = site.host.run("neighbour", "web", &[], &["sleep", "1000"]).namespace();
        let stranger = site.host.run("stranger", "other", &[], &["sleep", "1000"]).namespace();
        let (lan, api) = (&site.lan.namespace, &site.api.namespace());
        [lan, api].into_iter().for_each(echo);
        let mut traffic = Self { standing: Vec::new(), allowed: Vec::new(), forbidden: Vec::new() };
        for ((number, family), listening) in (0..).zip(FAMILIES).zip(5300..) {
            let [outside, on_lan, inside] = [site.outside, site.on_lan, site.inside].map(|both| both[number]);
            let flow = |who: &str, from: &Namespace, to: &Namespace, address: IpAddr, port| {
                (format!("{who}, {family}"), Flow::start(from, to, address, port))
            };
            traffic.standing.extend([
                flow("the LAN to a published port", lan, api, on_lan, 7000),
                flow("a container to its neighbour", &neighbour, api, inside, ECHO),
                flow("a container to the LAN", &neighbour, lan, outside, ECHO),
            ]);
            // Each has a port of its own to be told apart by.
            let stream = |who: &str, from: &Namespace, to: &Namespace, address: IpAddr, port| {
                let stream = Stream::of_beginnings(from, SocketAddr::new(address, port), to, port, INTERVAL);
                (format!("{who}, {family}"), stream)
            };
            traffic.allowed.extend([
                stream("the LAN to a published port", lan, api, on_lan, listening),
                stream("a container to its neighbour", &neighbour, api, inside, listening + 10),
                stream("a container to the LAN", &neighbour, lan, outside, listening + 20),
            ]);
            traffic.forbidden.extend([
                stream("the LAN to a port that is not published", lan, api, inside, listening + 30),
                stream("a container to another network", &stranger, api, inside, listening + 40),
            ]);
        }
        traffic.assert_goes_on("at first");
        traffic
    }

    /// What is allowed goes on: what has begun already, and what begins.
    fn assert_goes_on(&self, when: &str) {
        let now = Instant::now();
        for (who, stream) in &self.allowed {
            eventually(&format!("{when}, {who}: it begins"), || (!stream.arrivals(now).is_empty()).then_some(()));
        }
        for (who, flow) in &self.standing {
            let echoed = flow.echoed();
            eventually(&format!("{when}, {who}: it goes on"), || (flow.echoed() > echoed).then_some(()));
        }
    }

    /// Reloads, and tells for how long nothing new came about.
    fn survives(&self, what: &str, reload: impl Fn()) {
        let begun = Instant::now();
        reload();
        let took = begun.elapsed();
        self.assert_goes_on(what);
        println!("{what} took {took:?}");
        for (who, stream) in &self.allowed {
            let pause = stream.longest_pause(begun);
            println!("    no new connection for {pause:?}: {who}");
            assert!(pause < LONGEST, "{what}, {who}: {pause:?}");
        }
    }

    /// Nothing forbidden came through since then, and it would have without Fabric's rules.
    fn end(self, site: &Site, since: Instant) {
        let arrived = self.forbidden.iter().map(|(who, stream)| (who, stream.arrivals(since).len()));
        assert_eq!(arrived.filter(|(_, count)| *count > 0).collect::<Vec<_>>(), Vec::new());
        for (who, flow) in self.standing {
            let report = flow.finish();
            assert!(report.broken.is_none(), "{who}: {report:?}");
            println!("    {} lost, the slowest took {:?}: {who}", report.lost, report.slowest.0);
        }
        site.host.kill();
        site.host.namespace().run(&["nft", "delete", "table", "inet", "fabric"]);
        for (who, stream) in &self.forbidden {
            let now = Instant::now();
            let arrives = || (!stream.arrivals(now).is_empty()).then_some(());
            eventually(&format!("the control: without Fabric's rules it gets through: {who}"), arrives);
        }
        site.host.start();
        site.host.assert_healthy();
    }
}

const RELOADS: usize = 3;

#[test]
fn while_ufw_reloads_connections_go_on_and_nothing_forbidden_passes() {
    let site = Site::new();
    site.run(&["ufw", "--force", "enable"]);
    site.open_ufw();
    let (since, traffic) = (Instant::now(), Traffic::start(&site));
    for _ in 0..RELOADS {
        traffic.survives("ufw reload", || drop(site.run(&["ufw", "reload"])));
    }
    traffic.end(&site, since);
    site.disable_ufw();
}

#[test]
fn while_firewalld_reloads_connections_go_on_and_nothing_forbidden_passes() {
    let site = Site::new();
    let processes = site.start_firewalld();
    site.open_firewalld();
    // So that it is Fabric that keeps the LAN out.
    site.run(&["firewall-cmd", "--permanent", "--zone=trusted", "--add-interface=lan0"]);
    site.run(&["firewall-cmd", "--reload"]);
    let (since, traffic) = (Instant::now(), Traffic::start(&site));
    for _ in 0..RELOADS {
        traffic.survives("firewall-cmd --reload", || drop(site.run(&["firewall-cmd", "--reload"])));
    }
    traffic.end(&site, since);
    site.end_firewalld(processes);
}
