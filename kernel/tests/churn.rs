//! While the policy changes ten thousand times, what was always allowed passes and what was always denied does not.

mod lab;

use std::{
    net::{Ipv4Addr, UdpSocket},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};

use lab::{ENOUGH, HOST, Lab, Place, SILENCE, address, attachment, network, sh, state};
use model::{Element, Scope};

/// Ends the threads of a scope also where an assertion fails: a scope waits for them.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

const CHANGES: usize = 10_000;
/// How many networks change at once, each in two elements: it takes the kernel some 10 ms to let go of any number.
const AT_ONCE: u8 = 10;
const WEB: Place = Place::Container(12);

fn socket(lab: &Lab, place: Place, port: u16) -> UdpSocket {
    let socket = lab.at(place, || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).expect("free"));
    // Nothing is sent twice, so what is late was not lost.
    socket.set_read_timeout(Some(ENOUGH)).expect("not zero");
    socket
}

/// A question to a published port, and its answer by whoever has it.
fn asked(client: &UdpSocket, server: &UdpSocket) -> bool {
    let ask = || {
        client.send_to(b"?", (HOST, 5300)).ok()?;
        let (_, from) = server.recv_from(&mut [0; 8]).ok()?;
        server.send_to(b"!", from).ok()?;
        client.recv(&mut [0; 8]).ok()
    };
    ask().is_some()
}

#[test]
fn ten_thousand_changes_open_nothing_and_close_nothing_else() {
    lab::run(|lab| {
        let with = |publishes: &[&str]| state(&[attachment(12, &["5300:53/udp"]), attachment(23, publishes)]);
        let (mut closed, mut published) =
            (with(&[]), with(&["9000:90", "9100-9199:9100-9199/udp", "192.0.2.1:9001:91"]));
        // Other networks become internal, and no longer.
        let bridges: Vec<_> = (100..100 + AT_ONCE).map(|number| network(number).bridge()).collect();
        let mut internal = closed.clone();
        internal.elements.extend(bridges.iter().cloned().map(Element::Internal));
        for state in [&mut closed, &mut published] {
            state.elements.extend(bridges.iter().cloned().map(Element::Masqueraded));
        }
        lab.settle(&closed);
        let (server, hidden) = (socket(lab, WEB, 53), socket(lab, WEB, 99));
        let (client, attacker) = (socket(lab, Place::Lan, 4000), socket(lab, Place::Lan, 4001));
        let (stop, questions, attempts) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        let attack = || attacker.send_to(b"?", (address(12), 99)).expect("the LAN has a route");
        let lost = thread::scope(|scope| {
            let asking = scope.spawn(|| {
                while !stop.load(Relaxed) {
                    questions.fetch_add(1, Relaxed);
                    if !asked(&client, &server) {
                        return true;
                    }
                    thread::sleep(Duration::from_millis(1));
                }
                false
            });
            let attacking = scope.spawn(|| {
                while !stop.load(Relaxed) {
                    attempts.fetch_add(1, Relaxed);
                    attack();
                    thread::sleep(Duration::from_millis(1));
                }
            });
            let stops = Stops(&stop);
            let tell_enough = || {
                let over = asking.is_finished() || attacking.is_finished();
                over || [&questions, &attempts].iter().all(|count| count.load(Relaxed) > 500)
            };
            for number in (0..).take_while(|number| number * usize::from(2 * AT_ONCE) < CHANGES || !tell_enough()) {
                let next = match number % 50 {
                    // Seldom: what was published is looked for among all connections when it ends.
                    0 => &published,
                    number if number % 2 == 0 => &internal,
                    _ => &closed,
                };
                let changes = lab.reconcile(Scope::Firewall, next);
                assert!(!changes.is_empty(), "change {number}");
            }
            drop(stops);
            asking.join().expect("asking does not panic")
        });
        let (questions, attempts) = (questions.into_inner(), attempts.into_inner());
        println!("{CHANGES} changes or more, {questions} questions, {attempts} attempts");
        assert!(!lost, "the last of {questions} questions got no answer");
        hidden.set_read_timeout(Some(SILENCE)).expect("not zero");
        assert!(hidden.recv(&mut [0; 8]).is_err(), "of {attempts} attempts one arrived");
        assert_eq!(lab.settle(&closed), Vec::<String>::new(), "nothing is left of the changes");

        lab.settle(&state(&[attachment(12, &[]), attachment(23, &[])]));
        server.set_read_timeout(Some(SILENCE)).expect("not zero");
        assert!(!asked(&client, &server), "the control: what is not published is not answered");
        sh("nft delete table inet fabric");
        attack();
        hidden.set_read_timeout(Some(ENOUGH)).expect("not zero");
        hidden.recv(&mut [0; 8]).expect("the control: without rules the attempt arrives");
    });
}
