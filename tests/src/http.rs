//! The least HTTP that shows who reaches whom.

use std::{
    io::{Error, ErrorKind, Read, Result, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    thread::JoinHandle,
    time::Duration,
};

use crate::{Namespace, PATIENCE};

/// How long a connection may take to come about, for which no program has to run: what takes longer is filtered.
const FILTERED: Duration = Duration::from_millis(1500);

/// The body of `http://ADDRESS:PORT/PATH`, asked for from `namespace`.
///
/// # Errors
/// Whatever the connection met: refused, timed out, or an answer other than 200.
pub fn fetch(namespace: &Namespace, address: impl Into<IpAddr>, port: u16, path: &str) -> Result<String> {
    let to = SocketAddr::new(address.into(), port);
    namespace.enter(|| {
        let mut stream = TcpStream::connect_timeout(&to, FILTERED)?;
        // Who has got through is answered, however late the server gets a processor.
        stream.set_read_timeout(Some(PATIENCE))?;
        // In one write, and so in one segment: `serve` reads once.
        stream.write_all(format!("GET /{path} HTTP/1.0\r\nHost: {to}\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or(ErrorKind::InvalidData)?;
        let status = head.lines().next().unwrap_or_default();
        if status.split(' ').nth(1) == Some("200") { Ok(body.trim().to_owned()) } else { Err(Error::other(status)) }
    })
}

/// Answers one request on `address:port` in `namespace` with the address of who asked.
pub fn serve(namespace: &Namespace, address: impl Into<IpAddr>, port: u16) -> JoinHandle<()> {
    let address = address.into();
    let listener = namespace.enter(|| TcpListener::bind((address, port)).expect("the port is free"));
    std::thread::spawn(move || {
        let (mut stream, peer) = listener.accept().expect("a client comes");
        let mut request = [0; 1024];
        // The request's content does not matter.
        let _ = stream.read(&mut request);
        let _ = write!(stream, "HTTP/1.0 200 OK\r\n\r\n{}", peer.ip());
    })
}
