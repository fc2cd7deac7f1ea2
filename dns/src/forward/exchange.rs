//! One question, one upstream.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use crate::{
    error::Transport,
    wire::{self, Verdict},
};

/// How long the whole of a truncated answer may take; less than [`crate::ForwarderConfig::timeout`], so that the
/// truncated one is still there.
const WHOLE: Duration = Duration::from_millis(500);
/// The longest datagram that is read, in octets; what fills it may have been longer, and is asked for by TCP.
const DATAGRAM: usize = 4096;

/// What came back.
pub(super) enum Outcome {
    Answer(Vec<u8>),
    Refusal(Vec<u8>),
}

/// Asks one upstream the way the client asked, and by TCP what does not fit a datagram.
pub(super) async fn exchange(upstream: SocketAddr, query: &[u8], transport: Transport) -> io::Result<Outcome> {
    let mut octets = query.to_vec();
    let mut id = [0; 2];
    rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty())?;
    wire::set_id(&mut octets, id);
    let (verdict, response) = match transport {
        Transport::Udp => by_datagram(upstream, &octets).await?,
        Transport::Tcp => by_stream(upstream, &octets).await?,
    };
    match verdict {
        Verdict::Failure => return Ok(Outcome::Refusal(response)),
        Verdict::Truncated if transport == Transport::Udp => {}
        _ => return Ok(Outcome::Answer(response)),
    }
    // Not every stub resolver comes back by TCP, and the next to ask may take more than this one: the whole answer is
    // worth having. If it is not to be had, the client gets the beginning, marked as such.
    match timeout(WHOLE, by_stream(upstream, &octets)).await {
        Ok(Ok((Verdict::Answer, whole))) => Ok(Outcome::Answer(whole)),
        _ => Ok(Outcome::Answer(response)),
    }
}

async fn by_datagram(upstream: SocketAddr, query: &[u8]) -> io::Result<(Verdict, Vec<u8>)> {
    let any: IpAddr = match upstream {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(upstream).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let (verdict, response) = received(query, buffer[..length].to_vec());
        match verdict {
            Verdict::Alien => tracing::debug!(%upstream, "dropped a response that belongs to no query"),
            verdict => return Ok((verdict, response)),
        }
    }
}

/// What a datagram that came in for `query` is worth, and what is kept of it.
pub(crate) fn received(query: &[u8], mut response: Vec<u8>) -> (Verdict, Vec<u8>) {
    if response.len() >= DATAGRAM {
        wire::cut(&mut response);
    }
    (wire::judge(query, &response), response)
}

async fn by_stream(upstream: SocketAddr, query: &[u8]) -> io::Result<(Verdict, Vec<u8>)> {
    let mut stream = TcpStream::connect(upstream).await?;
    stream.write_all(&wire::framed(query)).await?;
    let mut response = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut response).await?;
    match wire::judge(query, &response) {
        Verdict::Alien => Err(io::Error::new(io::ErrorKind::InvalidData, "the response belongs to another query")),
        verdict => Ok((verdict, response)),
    }
}
