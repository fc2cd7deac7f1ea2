//! Clients that mean harm.

use std::{
    io::ErrorKind,
    time::{Duration, Instant},
};

use hickory_proto::rr::RecordType;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};

use crate::{
    Running,
    client::{Client, addresses, query, read_framed, write_framed},
};

/// After RFC 9267: names and counts that read past the end, or in circles.
fn malformed() -> Vec<Vec<u8>> {
    let header = |counts: [u8; 8]| [&[0x12, 0x34, 1, 0][..], &counts].concat();
    let one = header([0, 1, 0, 0, 0, 0, 0, 0]);
    let with = |tail: &[u8]| [&one[..], tail].concat();
    vec![
        vec![],
        vec![0; 11],
        header([0, 1, 0, 0, 0, 0, 0, 0]),
        header([0xff; 8]),
        with(&[0xc0, 0x0c, 0, 1, 0, 1]),
        with(&[0xc0, 0xff, 0, 1, 0, 1]),
        with(&[1, b'a', 0xc0, 0x0c, 0, 1, 0, 1]),
        with(&[0xc0, 0x0e, 0xc0, 0x0c, 0, 1, 0, 1]),
        with(&[63, b'a']),
        with(&[0x40, b'a', 0, 0, 1, 0, 1]),
        with(&[0x80, b'a', 0, 0, 1, 0, 1]),
        with(&[3, b'a', b'p', b'i']),
        with(&[3, b'a', b'p', b'i', 0, 0, 1]),
        with(&[&[1, b'a'].repeat(200)[..], &[0, 0, 1, 0, 1]].concat()),
        [&header([0, 1, 0, 0, 0, 0, 0xff, 0xff])[..], &[3, b'a', b'p', b'i', 0, 0, 1, 0, 1]].concat(),
        // An OPT record that is longer than the message, and one whose option is longer than the record.
        [&header([0, 1, 0, 0, 0, 0, 0, 1])[..], b"\x03api\0\0\x01\0\x01\0\0\x29\x04\xd0\0\0\0\0\xff\xff"].concat(),
        [&header([0, 1, 0, 0, 0, 0, 0, 1])[..], b"\x03api\0\0\x01\0\x01\0\0\x29\x04\xd0\0\0\0\0\0\x04\0\x0a\xff\xff"]
            .concat(),
        // Two OPT records.
        [
            &header([0, 1, 0, 0, 0, 0, 0, 2])[..],
            b"\x03api\0\0\x01\0\x01\0\0\x29\x04\xd0\0\0\0\0\0\0\0\0\x29\x04\xd0\0\0\0\0\0\0",
        ]
        .concat(),
        vec![0xff; 4096],
        vec![0; 60_000],
    ]
}

#[tokio::test]
async fn malformed_messages_hurt_nobody() {
    let running = Running::start(51, Vec::new()).await;
    let expected = Ok(vec![running.address(0, 2)]);
    let (bad, good) = (running.address(0, 2), Client::new(running.address(0, 3), running.gateway(0)));
    let socket = UdpSocket::bind((bad, 0)).await.expect("loopback has free ports");
    for message in malformed() {
        socket.send_to(&message, running.gateway(0)).await.expect("loopback takes datagrams");
        let mut stream = Client::new(bad, running.gateway(0)).connect().await;
        write_framed(&mut stream, &message).await;
        if let Some(reply) = read_framed(&mut stream).await {
            assert_ne!(reply[3] & 0xf, 0, "{message:02x?}");
        }
        assert_eq!(good.addresses("api").await, expected, "after {message:02x?}");
    }
}

#[tokio::test]
async fn responses_are_not_answered() {
    let running = Running::start(52, Vec::new()).await;
    let mut response = query("api", RecordType::A);
    response[2] |= 0x80;
    let client = Client::new(running.address(0, 2), running.gateway(0));
    assert_eq!(client.udp_within(&response, Duration::from_millis(300)).await, None);
    assert_eq!(client.tcp(&response).await, None);
}

#[tokio::test]
async fn idle_and_slow_connections_end_and_many_are_refused() {
    let running = Running::start(53, Vec::new()).await;
    let slow = Client::new(running.address(0, 2), running.gateway(0));
    let start = Instant::now();
    let mut open = Vec::new();
    for _ in 0..16 {
        let mut stream = slow.connect().await;
        stream.write_all(&[0, 40, 1]).await.expect("the server reads");
        open.push(stream);
    }
    // The server accepts in order, so these 16 have their places; a 17th is hung up on.
    let mut more = slow.connect().await;
    assert!(matches!(more.read(&mut [0; 1]).await, Ok(0) | Err(_)));
    let goes_on = |stream: &TcpStream| matches!(stream.try_read(&mut [0; 1]), Err(error) if error.kind() == ErrorKind::WouldBlock);
    assert!(open.iter().all(goes_on), "nobody had to make place for it first");

    let other = Client::new(running.address(0, 3), running.gateway(0));
    let reply = other.tcp(&query("api", RecordType::A)).await.expect("others have places of their own");
    assert_eq!(addresses(&reply), Ok(vec![running.address(0, 2)]));

    for mut stream in open {
        assert!(matches!(stream.read(&mut [0; 1]).await, Ok(0) | Err(_)));
    }
    let taken = start.elapsed();
    assert!((9..30).contains(&taken.as_secs()), "{taken:?}");
    assert!(slow.tcp(&query("api", RecordType::A)).await.is_some(), "the places are free again");
}

#[tokio::test]
async fn one_connection_takes_many_queries_one_after_the_other() {
    let running = Running::start(54, Vec::new()).await;
    let mut stream = Client::new(running.address(0, 2), running.gateway(0)).connect().await;
    for _ in 0..100 {
        write_framed(&mut stream, &query("api", RecordType::A)).await;
    }
    for _ in 0..100 {
        let reply = read_framed(&mut stream).await.expect("an answer");
        assert_eq!(addresses(&reply), Ok(vec![running.address(0, 2)]));
    }
}

#[tokio::test]
async fn strangers_take_no_connection_from_containers() {
    let running = Running::start(59, Vec::new()).await;
    // More than there are places for everybody together.
    let mut kept = Vec::new();
    for source in 1..=20 {
        let stranger = Client::new([127, 0, 0, source].into(), running.gateway(0));
        for _ in 0..16 {
            kept.push(stranger.connect().await);
        }
    }
    let container = Client::new(running.address(0, 2), running.gateway(0));
    let reply = container.tcp(&query("api", RecordType::A)).await.expect("containers have their places");
    assert_eq!(addresses(&reply), Ok(vec![running.address(0, 2)]));
    for mut stream in kept {
        assert!(matches!(stream.read(&mut [0; 1]).await, Ok(0) | Err(_)), "a stranger is hung up on");
    }
    running.server.shutdown().await;
}
