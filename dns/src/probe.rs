//! Whether a listener answers, found out as its clients would: by a query that goes through the kernel.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    time::Duration,
};

use tokio::{net::UdpSocket, time::timeout};

use crate::{
    Domain, RecordType,
    wire::{self, Verdict, judge},
};

/// A datagram can be lost where much is under way, so there are several.
const TRIES: u32 = 4;
const PATIENCE: Duration = Duration::from_millis(500);

/// Asks for what every network's zone has.
pub(crate) fn query(domain: &Domain) -> Vec<u8> {
    wire::query(&domain.to_string(), RecordType::SOA).expect("a domain is a name")
}

/// Asks the listener from its own address, which is how the host comes to it.
///
/// # Errors
/// [`ErrorKind::AddrNotAvailable`] if the host does not have the address, [`ErrorKind::TimedOut`] if nothing is
/// answered within two seconds; any other error is the kernel's, or says what is wrong with the answer.
pub(crate) async fn ask(listener: SocketAddr, query: &[u8]) -> io::Result<()> {
    let socket = UdpSocket::bind((listener.ip(), 0)).await?;
    socket.connect(listener).await?;
    let mut reply = [0; 2048];
    for _ in 0..TRIES {
        socket.send(query).await?;
        let Ok(received) = timeout(PATIENCE, socket.recv(&mut reply)).await else { continue };
        return match judge(query, &reply[..received?]) {
            Verdict::Answer => Ok(()),
            _ => Err(io::Error::new(ErrorKind::InvalidData, "what it answers is not what it should know")),
        };
    }
    let waited = PATIENCE * TRIES;
    Err(io::Error::new(ErrorKind::TimedOut, format!("no answer within {waited:?}")))
}
