//! A client that has the address of a container.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use hickory_proto::{
    op::{Message, Query, ResponseCode},
    rr::{Name, RData, RecordType},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream, UdpSocket},
    time::timeout,
};

/// How long an answer that has to come may take: a machine that stands still for seconds changes nothing about it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Client {
    source: Ipv4Addr,
    server: SocketAddr,
}

impl Client {
    pub(crate) fn new(source: Ipv4Addr, server: SocketAddr) -> Self {
        Self { source, server }
    }

    pub(crate) async fn udp(&self, query: &[u8]) -> Option<Vec<u8>> {
        self.udp_within(query, PATIENCE).await
    }

    pub(crate) async fn udp_within(&self, query: &[u8], patience: Duration) -> Option<Vec<u8>> {
        let socket = UdpSocket::bind((self.source, 0)).await.expect("loopback has free ports");
        socket.connect(self.server).await.expect("loopback is reachable");
        socket.send(query).await.expect("loopback takes datagrams");
        let mut buffer = vec![0; 65_536];
        let length = timeout(patience, socket.recv(&mut buffer)).await.ok()?.ok()?;
        buffer.truncate(length);
        Some(buffer)
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        let socket = TcpSocket::new_v4().expect("sockets can be made");
        socket.bind((self.source, 0).into()).expect("loopback has free ports");
        socket.connect(self.server).await.expect("the server listens")
    }

    pub(crate) async fn tcp(&self, query: &[u8]) -> Option<Vec<u8>> {
        let mut stream = self.connect().await;
        write_framed(&mut stream, query).await;
        timeout(PATIENCE, read_framed(&mut stream)).await.ok()?
    }

    /// What A records `name` has for this client, in order, or the response code.
    pub(crate) async fn addresses(&self, name: &str) -> Result<Vec<Ipv4Addr>, ResponseCode> {
        let reply = self.udp(&query(name, RecordType::A)).await.expect("an answer");
        addresses(&reply)
    }

    /// The same, asked again every two seconds, as the C library does it: a full queue in the kernel drops datagrams of
    /// all.
    pub(crate) async fn addresses_at_last(&self, name: &str) -> Result<Vec<Ipv4Addr>, ResponseCode> {
        for _ in 0..30 {
            if let Some(reply) = self.udp_within(&query(name, RecordType::A), Duration::from_secs(2)).await {
                return addresses(&reply);
            }
        }
        panic!("no answer, however often {name} was asked for")
    }
}

pub(crate) fn addresses(reply: &[u8]) -> Result<Vec<Ipv4Addr>, ResponseCode> {
    let reply = Message::from_vec(reply).expect("a well-formed answer");
    if reply.metadata.response_code != ResponseCode::NoError {
        return Err(reply.metadata.response_code);
    }
    let address = |data: &RData| match data {
        RData::A(address) => Some(address.0),
        _ => None,
    };
    Ok(reply.answers.iter().filter_map(|record| address(&record.data)).collect())
}

pub(crate) fn query(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    let mut name = Name::from_ascii(name).expect("a name");
    name.set_fqdn(true);
    message.add_query(Query::query(name, kind));
    message.to_vec().expect("a query can be encoded")
}

pub(crate) async fn write_framed(stream: &mut TcpStream, message: &[u8]) {
    let length = u16::try_from(message.len()).expect("short messages").to_be_bytes();
    stream.write_all(&[&length, message].concat()).await.expect("the peer reads");
}

pub(crate) async fn read_framed(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut message = vec![0; stream.read_u16().await.ok()?.into()];
    stream.read_exact(&mut message).await.ok()?;
    Some(message)
}
