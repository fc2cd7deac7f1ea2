//! Connections: forgotten with what allowed them, and kept through everything else.

mod lab;

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use kernel::Kernel;
use lab::{ENOUGH, HOST, Lab, PEER, Place, SILENCE, attachment, conntrack, sh, state};
use model::Scope;

const WEB: Place = Place::Container(12);

/// Answers each datagram with a letter of its own.
fn answer(lab: &Lab, place: Place, port: u16, letter: u8) {
    let socket = lab.at(place, || UdpSocket::bind(("0.0.0.0", port)).expect("the port is free"));
    thread::spawn(move || {
        let mut buffer = [0; 16];
        while let Ok((_, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&[letter], from);
        }
    });
}

/// A datagram to the published port and its answer, which is to come.
fn ask(socket: &UdpSocket) -> Option<char> {
    ask_within(ENOUGH, socket)
}

/// The same where none is to come.
fn ask_in_vain(socket: &UdpSocket) -> Option<char> {
    ask_within(SILENCE, socket)
}

fn ask_within(patience: Duration, socket: &UdpSocket) -> Option<char> {
    socket.set_read_timeout(Some(patience)).expect("a timeout can be set");
    socket.send_to(b"?", (HOST, 5353)).ok()?;
    let mut buffer = [0; 16];
    socket.recv(&mut buffer).ok()?;
    Some(char::from(buffer[0]))
}

#[test]
fn a_port_that_moves_takes_its_clients_along() {
    lab::run(|lab| {
        lab.settle(&state(&[attachment(12, &["5353:53/udp"]), attachment(13, &[])]));
        answer(lab, WEB, 53, b'a');
        answer(lab, Place::Container(13), 53, b'b');
        let client = lab.at(Place::Lan, || UdpSocket::bind((PEER, 4000)).expect("the port is free"));
        assert_eq!(ask(&client), Some('a'));
        lab.settle(&state(&[attachment(12, &[]), attachment(13, &["5353:53/udp"])]));
        assert_eq!(ask(&client), Some('b'), "the same socket of the client, the new container");
    });
}

#[test]
fn a_client_that_asked_before_a_port_was_published_is_led_there_afterwards() {
    lab::run(|lab| {
        let closed = state(&[attachment(12, &[]), attachment(13, &[])]);
        lab.settle(&closed);
        answer(lab, WEB, 53, b'a');
        // A program of the host's own is somebody else, and stays.
        answer(lab, Place::Host, 6000, b'h');
        let client = lab.at(Place::Lan, || UdpSocket::bind((PEER, 4000)).expect("the port is free"));
        client.set_read_timeout(Some(ENOUGH)).expect("a timeout can be set");
        client.send_to(b"?", (HOST, 6000)).expect("there is a route");
        client.recv(&mut [0; 16]).expect("the host answers");
        assert_eq!(ask_in_vain(&client), None);
        assert_eq!((conntrack("dport=5353"), conntrack("dport=6000")), (1, 1), "control: both are remembered");
        for publish in ["5353:53/udp", "192.0.2.1:5353:53/udp"] {
            lab.settle(&state(&[attachment(12, &[publish]), attachment(13, &[])]));
            assert_eq!(ask(&client), Some('a'), "the same socket");
            lab.settle(&closed);
            assert_eq!(ask_in_vain(&client), None);
        }
        sh("nft flush ruleset");
        assert_eq!(ask_in_vain(&client), None, "while there are no rules it is the host's again");
        lab.settle(&state(&[attachment(12, &["5353:53/udp"]), attachment(13, &[])]));
        assert_eq!(ask(&client), Some('a'));
        assert_eq!(conntrack("dport=6000"), 1);
    });
}

#[test]
fn of_more_flows_than_are_worth_listing_an_endpoint_takes_only_its_own() {
    lab::run(|lab| {
        let (both, one) = ([attachment(12, &[]), attachment(13, &[])], [attachment(13, &[])]);
        lab.settle(&state(&both));
        lab.serve(Place::Lan, 9000);
        for number in [12, 13] {
            assert_eq!(lab.ask(Place::Container(number), PEER, 9000), Some(HOST));
        }
        let client = lab.at(Place::Lan, || UdpSocket::bind((PEER, 4000)).expect("the port is free"));
        for port in 10_000..11_500 {
            // Refused or not: it is remembered.
            let _ = client.send_to(b"?", (HOST, port));
        }
        let (mine, others) = (|| conntrack("src=10.89.1.12"), || conntrack("src=192.0.2.2 dst=192.0.2.1 sport=4000"));
        assert!(mine() == 1 && others() > 1000, "control: {} of {}", mine(), others());
        let before = others();
        lab.settle(&state(&one));
        assert_eq!((mine(), conntrack("src=10.89.1.13"), others()), (0, 1, before));
    });
}

#[test]
fn flows_of_a_withdrawn_port_are_forgotten_and_others_are_not() {
    lab::run(|lab| {
        lab.settle(&state(&[attachment(12, &["8080:80", "8081:80"])]));
        lab.serve(WEB, 80);
        assert_eq!(lab.ask(Place::Lan, HOST, 8080), Some(PEER));
        assert_eq!(lab.ask(Place::Lan, HOST, 8081), Some(PEER));
        assert_eq!((conntrack("dport=8080"), conntrack("dport=8081")), (1, 1), "control: they are there");
        let changes = lab.settle(&state(&[attachment(12, &["8081:80"])]));
        assert_eq!(changes.len(), 2, "{changes:?}");
        assert_eq!((conntrack("dport=8080"), conntrack("dport=8081")), (0, 1));
    });
}

#[test]
fn flows_that_another_program_leads_into_a_network_stay() {
    lab::run(|lab| {
        let intent = state(&[attachment(12, &["8080:80"])]);
        lab.settle(&intent);
        lab.serve(WEB, 80);
        sh("nft add table ip mine; nft add chain ip mine pre '{ type nat hook prerouting priority dstnat; }'
            nft add rule ip mine pre tcp dport 9999 dnat to 10.89.1.12:80");
        assert_eq!(lab.ask(Place::Lan, HOST, 9999), Some(PEER));
        lab.settle(&intent);
        lab.settle(&state(&[attachment(12, &[])]));
        assert_eq!(conntrack("dport=9999"), 1);
    });
}

#[test]
fn flows_of_a_removed_endpoint_are_forgotten() {
    lab::run(|lab| {
        lab.settle(&state(&[attachment(12, &["8080:80"]), attachment(13, &[])]));
        lab.serve(WEB, 80);
        lab.serve(Place::Lan, 9000);
        for (from, to, port) in [(Place::Lan, HOST, 8080), (WEB, PEER, 9000), (Place::Container(13), PEER, 9000)] {
            assert!(lab.ask(from, to, port).is_some());
        }
        assert_eq!(conntrack("10.89.1.12"), 2, "control: they are there");
        lab.reconcile(Scope::from(attachment(12, &["8080:80"])), &state(&[attachment(13, &[])]));
        assert_eq!((conntrack("10.89.1.12"), conntrack("10.89.1.13")), (0, 1));
    });
}

/// Tells a thread that writes without end to stop, also where the test fails before it comes to that.
#[derive(Default)]
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn a_connection_keeps_every_byte_while_everything_is_reconciled_and_reopened() {
    lab::run(|lab| {
        let intent = state(&[attachment(12, &["8080:80"]), attachment(13, &[])]);
        lab.settle(&intent);
        let listener = lab.at(WEB, || TcpListener::bind("0.0.0.0:80").expect("the port is free"));
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client comes");
            let (mut buffer, mut next) = (vec![0; 1 << 16], 0_u8);
            let mut total = 0_usize;
            loop {
                let count = stream.read(&mut buffer).expect("the connection holds");
                if count == 0 {
                    return total;
                }
                for byte in &buffer[..count] {
                    assert_eq!(*byte, next, "octet {total}");
                    next = next.wrapping_add(1);
                    total += 1;
                }
            }
        });
        let mut stream = lab.at(Place::Lan, || TcpStream::connect((HOST, 8080)).expect("the port is published"));
        let stop = Stop::default();
        let stopped = stop.0.clone();
        let client = thread::spawn(move || {
            let data: Vec<u8> = (0..=255).cycle().take(1 << 14).collect();
            let mut sent = 0;
            while !stopped.load(Relaxed) {
                stream.write_all(&data).expect("the connection holds");
                sent += data.len();
                thread::sleep(Duration::from_millis(1));
            }
            sent
        });
        for round in 0..40 {
            assert!(!client.is_finished(), "it writes throughout");
            if round % 8 == 0 {
                lab.kernel =
                    Kernel::open(Path::new(lab::RUN), lab::LIMIT, model::Switch::On).expect("the kernel opens");
            }
            if round % 4 == 0 {
                sh("nft insert rule inet fabric forward accept");
            }
            let changes = lab.reconcile(Scope::Everything, &intent);
            assert_eq!(changes.len(), usize::from(round % 4 == 0), "{changes:?}");
        }
        drop(stop);
        let sent = client.join().expect("the client did not panic");
        assert_eq!(server.join().expect("the server did not panic"), sent);
    });
}
