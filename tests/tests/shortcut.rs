//! What containers of one network say to each other goes from port to port, past their bridge, as long as nobody else
//! looks at it there. It shows in the counters of the hosts' ends: what goes past the bridge does not leave by them.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tests::{Attached, Host, eventually};

/// How often the one says something that the other answers.
const TURNS: u64 = 200;
/// Questions for addresses and the like go by the bridge always.
const FEW: u64 = 20;
/// A chain that lets everything pass, and looks at it.
const LOOK: &str = "add table bridge mine; add chain bridge mine sees { type filter hook forward priority 0; }; \
                    add rule bridge mine sees counter";

/// A connection between two containers, and the host's end of the one that was connected to.
struct Talk<'a> {
    host: &'a Host,
    ends: [TcpStream; 2],
    port: String,
}

impl<'a> Talk<'a> {
    fn begin(host: &'a Host, from: &Attached, to: &Attached, number: u16) -> Self {
        Self::by(host, from, to, &port_of(host, to), number)
    }

    /// The same where the host's end is known, and no daemon to ask for it.
    fn by(host: &'a Host, from: &Attached, to: &Attached, port: &str, number: u16) -> Self {
        let address = (to.ipv4, number);
        let listener = to.namespace().enter(|| TcpListener::bind(address).expect("the port is free"));
        let one = from.namespace().enter(|| TcpStream::connect(address).expect("is reached"));
        let (other, _) = listener.accept().expect("somebody connected");
        for end in [&one, &other] {
            end.set_read_timeout(Some(Duration::from_secs(10))).expect("not zero");
            end.set_nodelay(true).expect("can be set");
        }
        Self { host, ends: [one, other], port: port.to_owned() }
    }

    /// Goes on for a while; returns how many frames left by the host's end meanwhile.
    fn go_on(&mut self) -> u64 {
        let before = self.frames();
        for _ in 0..TURNS {
            self.ends[0].write_all(&[1]).expect("it is connected");
            self.ends[1].read_exact(&mut [0]).expect("it is heard");
            self.ends[1].write_all(&[2]).expect("it is connected");
            self.ends[0].read_exact(&mut [0]).expect("it is answered");
        }
        self.frames() - before
    }

    fn frames(&self) -> u64 {
        let shown = self.host.namespace().run(&["ip", "-s", "-j", "link", "show", &self.port]);
        let shown: Value = serde_json::from_str(&shown).expect("JSON");
        shown[0]["stats64"]["tx"]["packets"].as_u64().unwrap_or_else(|| panic!("a number in {shown:#}"))
    }

    #[track_caller]
    fn assert_goes_past_the_bridge(&mut self, when: &str) {
        eventually(&format!("{when}: past the bridge"), || (self.go_on() <= FEW).then_some(()));
    }

    #[track_caller]
    fn assert_goes_by_the_bridge(&mut self, when: &str) {
        eventually(&format!("{when}: by the bridge"), || (self.go_on() >= TURNS).then_some(()));
    }
}

fn port_of(host: &Host, container: &Attached) -> String {
    let shown = host.json(&["inspect", &container.id]);
    let endpoint = shown["endpoints"][0]["id"].as_str().expect("an identifier").to_owned();
    format!("fe-{}", &endpoint[..12])
}

/// Why the doctor says that frames pass their bridges, if they do.
fn said(host: &Host) -> Option<String> {
    let doctor = host.json(&["doctor"]);
    let check = doctor["checks"].as_array().expect("a list").iter().find(|check| check["name"] == "shortcut")?;
    assert_eq!(check["result"], "ok", "{check:#}");
    let message = check["message"].as_str().expect("a text");
    message.strip_prefix("frames between containers pass their bridges: ").map(str::to_owned)
}

fn pair(host: &Host) -> [Attached; 2] {
    host.ok(&["network", "create", "web"]);
    ["api", "client"].map(|name| host.run(name, "web", &[], &["sleep", "10000"]))
}

#[test]
fn rules_of_others_that_look_at_what_passes_a_bridge_are_passed() {
    let host = Host::new();
    let [api, client] = pair(&host);
    let mut talks = vec![Talk::begin(&host, &client, &api, 7000)];
    talks[0].assert_goes_past_the_bridge("nobody looks");
    let (mut looked_at, mut again) = (Vec::new(), Vec::new());
    for round in 0_u16..3 {
        host.namespace().run(&["nft", LOOK]);
        let begun = Instant::now();
        talks[0].assert_goes_by_the_bridge("somebody looks");
        looked_at.push(begun.elapsed());
        assert_eq!(said(&host).as_deref(), Some("table bridge mine, chain sees looks at what passes a bridge"));
        talks.push(Talk::begin(&host, &client, &api, 7001 + 2 * round));
        talks.iter_mut().for_each(|talk| talk.assert_goes_by_the_bridge("one that began before or then"));
        host.namespace().run(&["nft", "delete", "table", "bridge", "mine"]);
        let begun = Instant::now();
        talks[0].assert_goes_past_the_bridge("nobody looks any more");
        again.push(begun.elapsed());
        assert_eq!(said(&host), None);
        talks.push(Talk::begin(&host, &client, &api, 7002 + 2 * round));
        talks.iter_mut().for_each(|talk| talk.assert_goes_past_the_bridge("one that began before or then"));
    }
    // The daemon is told. Were it not, all but the first would come soon after a look at everything, and wait for the
    // next one, 10 s later.
    for took in [&looked_at[1..], &again] {
        assert!(took.iter().any(|took| *took < Duration::from_secs(4)), "{looked_at:?} {again:?}");
    }
}

#[test]
fn it_goes_on_without_the_daemon_and_the_next_one_mends_it() {
    let host = Host::new();
    let [api, client] = pair(&host);
    let ports = [&api, &client].map(|container| port_of(&host, container));
    let mut talk = Talk::begin(&host, &client, &api, 7000);
    talk.assert_goes_past_the_bridge("at first");
    host.kill();
    talk.assert_goes_past_the_bridge("after kill -9");
    host.namespace().run(&["nft", LOOK]);
    host.start();
    talk.assert_goes_by_the_bridge("somebody came while nobody listened");
    host.namespace().run(&["nft", "delete", "table", "bridge", "mine"]);
    talk.assert_goes_past_the_bridge("that one is gone");
    host.kill();
    let damages = [
        "tc filter del block 64177".to_owned(),
        format!("tc qdisc del dev {} clsact", ports[1]),
        format!("ip link del {}", ports[0]),
    ];
    for damage in damages {
        host.namespace().run(&["sh", "-c", &damage]);
        host.start();
        host.assert_healthy();
        Talk::begin(&host, &client, &api, 7001).assert_goes_past_the_bridge(&damage);
        host.kill();
    }
    host.start();
    // One that ends well leaves nothing that goes around rules which come later.
    host.terminate();
    Talk::by(&host, &client, &api, &ports[0], 7002).assert_goes_by_the_bridge("without a daemon");
    host.start();
    Talk::begin(&host, &client, &api, 7003).assert_goes_past_the_bridge("with one again");
}

#[test]
fn who_is_disconnected_is_cut_off_and_whoever_comes_is_let_in() {
    let host = Host::new();
    let [api, client] = pair(&host);
    host.ok(&["network", "create", "back"]);
    let mut talk = Talk::begin(&host, &client, &api, 7000);
    talk.assert_goes_past_the_bridge("at first");
    host.ok(&["network", "connect", "back", "api"]);
    talk.assert_goes_past_the_bridge("on another network as well");
    host.ok(&["network", "update", "web", "--mtu", "1400"]);
    talk.assert_goes_past_the_bridge("with a smaller MTU");
    host.ok(&["network", "disconnect", "web", "api"]);
    talk.ends[1].set_read_timeout(Some(Duration::from_millis(500))).expect("not zero");
    // What is written may wait for somebody to take it.
    let _ = talk.ends[0].write_all(&[1]);
    assert!(talk.ends[1].read_exact(&mut [0]).is_err(), "it is heard");
    host.assert_healthy();
    host.ok(&["network", "connect", "web", "api"]);
    let web = host.json(&["inspect", "api"])["endpoints"].as_array().expect("a list").clone();
    let web = web.iter().find(|endpoint| endpoint["network"] == "web").expect("it is there again");
    let ipv4 = web["ipv4"].as_str().and_then(|text| text.parse().ok()).expect("an address");
    let again = Attached { ipv4, ..api };
    let mut talk = Talk::begin(&host, &again, &client, 7000);
    talk.assert_goes_past_the_bridge("with new endpoints");
    host.assert_healthy();
}

/// Sends one datagram after another from the host to a container while something happens; returns how many were sent,
/// and how many arrived.
fn while_sending(host: &Host, to: &Attached, act: impl FnOnce()) -> (usize, usize) {
    let receiver = to.namespace().enter(|| UdpSocket::bind((to.ipv4, 7000)).expect("the port is free"));
    receiver.set_read_timeout(Some(Duration::from_millis(500))).expect("not zero");
    let sender = host.namespace().enter(|| UdpSocket::bind("0.0.0.0:0").expect("there are ports"));
    let (done, all_sent, arrived) = (AtomicBool::new(false), AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let mut sent = 0;
            while !done.load(Ordering::SeqCst) {
                // The socket's buffer holds some two hundred, and whoever empties it may be kept from it.
                if sent < arrived.load(Ordering::SeqCst) + 100 {
                    sender.send_to(&[1], (to.ipv4, 7000)).expect("there is a route");
                    sent += 1;
                }
                thread::sleep(Duration::from_micros(200));
            }
            sent
        });
        let receiving = scope.spawn(|| {
            loop {
                let is_last = all_sent.load(Ordering::SeqCst);
                match receiver.recv(&mut [0]) {
                    Ok(_) => drop(arrived.fetch_add(1, Ordering::SeqCst)),
                    Err(_) if is_last => break,
                    Err(_) => (),
                }
            }
        });
        act();
        done.store(true, Ordering::SeqCst);
        let sent = sending.join().expect("it sends");
        all_sent.store(true, Ordering::SeqCst);
        receiving.join().expect("it receives");
        (sent, arrived.load(Ordering::SeqCst))
    })
}

#[test]
fn who_begins_to_take_it_loses_nothing() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    for number in 0..5 {
        let container = host.run(&format!("c{number}"), "web", &[], &["sleep", "10000"]);
        let (sent, arrived) = while_sending(&host, &container, || {
            // The doctor waits until what it finds missing is there.
            host.assert_healthy();
            let opened = host.namespace().run(&["tc", "qdisc", "show", "dev", &port_of(&host, &container)]);
            assert!(opened.contains("clsact"), "{opened}");
        });
        assert_eq!(sent, arrived, "container {number}");
    }
}

#[test]
fn who_turns_it_off_has_frames_pass_their_bridges() {
    let host = Host::with_config("shortcut = false");
    let [api, client] = pair(&host);
    Talk::begin(&host, &client, &api, 7000).assert_goes_by_the_bridge("turned off");
    assert_eq!(said(&host).as_deref(), Some("`shortcut = false` in the configuration"));
    host.assert_healthy();
}
