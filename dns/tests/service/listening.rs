//! Sockets come and go; queries to those that stay are never lost.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dns::{DnsError, ForwarderConfig, HostUpstreams, Server, Transport, Zones};
use hickory_proto::rr::RecordType;
use tokio::net::{TcpListener, UdpSocket};

use crate::{
    Running, at_best,
    client::{Client, PATIENCE, query, read_framed, write_framed},
    ensure, free_port, listeners, snapshot,
};

/// How many of the addresses cannot be had, by UDP and TCP.
async fn taken(addresses: &BTreeSet<SocketAddr>) -> usize {
    let mut count = 0;
    for address in addresses {
        let (udp, tcp) = (UdpSocket::bind(address).await, TcpListener::bind(address).await);
        count += usize::from(udp.is_err() && tcp.is_err());
    }
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reconciling_listeners_loses_no_query_on_those_that_stay() {
    let running = Running::start(41, Vec::new()).await;
    let (source, expected) = (running.address(0, 3), vec![running.address(0, 2)]);
    let mut stream = Client::new(source, running.gateway(0)).connect().await;
    let stop = Arc::new(AtomicBool::new(false));
    let asker = {
        let (client, stop) = (Client::new(source, running.gateway(0)), stop.clone());
        tokio::spawn(async move {
            loop {
                assert_eq!(client.addresses("api").await, Ok(expected.clone()));
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        })
    };
    for round in 0..100 {
        let mut wanted = BTreeSet::from([running.gateway(0)]);
        if round % 2 == 0 {
            wanted.extend((10..20).map(|fourth| SocketAddr::from((running.address(1, fourth), running.port))));
        }
        running.server.listen(listeners(wanted.clone())).await.expect("the addresses are free");
        assert_eq!(taken(&wanted).await, wanted.len());
    }
    stop.store(true, Ordering::Relaxed);
    asker.await.expect("no query was lost");
    write_framed(&mut stream, &query("api", RecordType::A)).await;
    assert!(read_framed(&mut stream).await.is_some(), "the connection has lived on");
}

#[tokio::test]
async fn an_address_that_is_no_longer_wanted_is_free_at_once() {
    let running = Running::start(42, Vec::new()).await;
    let idle = Client::new(running.address(0, 2), running.gateway(0)).connect().await;
    for _ in 0..20 {
        running.server.listen(listeners(BTreeSet::new())).await.expect("closing does not fail");
        UdpSocket::bind(running.gateway(0)).await.expect("the UDP address is free");
        TcpListener::bind(running.gateway(0)).await.expect("the TCP address is free");
        running.server.listen(listeners(running.gateways())).await.expect("the addresses are free");
    }
    drop(idle);
    running.server.shutdown().await;
    UdpSocket::bind(running.gateway(0)).await.expect("the UDP address is free");
}

/// The runtime of this test has one thread, which waits for the answer itself.
#[tokio::test]
async fn names_are_answered_whatever_else_the_program_does() {
    let running = Running::start(46, Vec::new()).await;
    let socket = std::net::UdpSocket::bind((running.address(0, 3), 0)).expect("loopback has free ports");
    socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
    for _ in 0..10 {
        socket.send_to(&query("api", RecordType::A), running.gateway(0)).expect("loopback takes datagrams");
        let (length, _) = socket.recv_from(&mut [0; 512]).expect("another thread answers");
        assert!(length > 0);
    }
}

/// 198.51.100.0/24 is for documentation (RFC 5737) and on no interface.
#[tokio::test]
async fn an_address_may_come_up_later() {
    let forwarder = ForwarderConfig::new(HostUpstreams::Fixed(Default::default()));
    let server = Server::new(Zones::new(snapshot(43)), forwarder, 0).expect("threads can be made");
    let wanted = BTreeSet::from([SocketAddr::from(([198, 51, 100, 1], free_port([127, 43, 0, 1].into())))]);
    server.listen(listeners(wanted.clone())).await.expect("it can be bound before it is there");
}

#[tokio::test]
async fn an_address_in_use_is_named_and_the_others_are_served() {
    let running = Running::start(44, Vec::new()).await;
    let other = SocketAddr::from((running.address(1, 9), running.port));
    let squatter = UdpSocket::bind(other).await.expect("the address is free");
    let mut wanted = running.gateways();
    wanted.insert(other);
    wanted.insert(SocketAddr::from((running.address(1, 10), running.port)));
    let another = SocketAddr::from((running.address(1, 11), running.port));
    let second_squatter = UdpSocket::bind(another).await.expect("the address is free");
    wanted.insert(another);
    let failed = running.server.listen(listeners(wanted.clone())).await.expect_err("two addresses are in use");
    assert_eq!(failed.keys().copied().collect::<Vec<_>>(), [other, another], "each is told");
    for (own, error) in &failed {
        let told = matches!(error, DnsError::AddressInUse { address, transport: Transport::Udp, .. } if address == own);
        assert!(told && error.to_string().contains(&own.to_string()), "{error}");
    }
    drop((squatter, second_squatter));
    assert_eq!(taken(&wanted).await, 3, "all others are served");
    running.server.listen(listeners(wanted.clone())).await.expect("the address is free");
    assert_eq!(taken(&wanted).await, wanted.len());
}

#[tokio::test]
async fn a_dropped_server_closes_its_sockets() {
    let running = Running::start(45, Vec::new()).await;
    let gateway = running.gateway(0);
    drop(running);
    for _ in 0..3000 {
        if UdpSocket::bind(gateway).await.is_ok() && TcpListener::bind(gateway).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{gateway} is still held");
}

/// A probe goes the way of a client's query, and is none.
#[tokio::test]
async fn a_gateway_that_answers_nobody_is_found_and_nobody_counts_the_search() {
    let running = Running::start(49, Vec::new()).await;
    let mut log = running.server.query_log();
    // It is patient for two seconds.
    at_best(async || {
        let silent = running.server.probe(running.gateways()).await;
        ensure(silent.is_empty(), silent)
    })
    .await;
    assert_eq!(running.server.counts(), Default::default());
    assert!(log.recent().is_none());
    let client = Client::new(running.gateway(0).ip().to_string().parse().expect("IPv4"), running.gateway(0));
    client.addresses("api").await.expect("control: the host is answered there as well");
    assert_eq!(running.server.counts().udp.zone, 1, "control: others count, from whatever address");
    // One is bound and never read, one is closed, and one is not the host's.
    running.server.shutdown().await;
    let _mute = std::net::UdpSocket::bind(running.gateway(0)).expect("it is free");
    let elsewhere = "192.0.2.1:53".parse().expect("literal");
    let silent = running.server.probe(running.gateways().into_iter().chain([elsewhere])).await;
    let kinds: Vec<_> = silent.iter().map(|(address, error)| (*address, error.kind())).collect();
    let expected = [
        (running.gateway(0), std::io::ErrorKind::TimedOut),
        (running.gateway(1), std::io::ErrorKind::ConnectionRefused),
        (elsewhere, std::io::ErrorKind::AddrNotAvailable),
    ];
    assert_eq!(kinds, expected);
}
