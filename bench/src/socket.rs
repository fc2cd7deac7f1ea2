//! Requests to a daemon over its Unix socket, for measuring it without the start of a client.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
};

use crate::peer::Absence;

/// Sends one request (HTTP/1.1, RFC 9112) and waits for its answer, which it returns.
///
/// # Errors
/// Whatever the connection met, or the answer's body if its status is no success.
pub(crate) fn request(socket: &Path, method: &str, target: &str, body: &str) -> Result<String, Absence> {
    let exchange = || -> std::io::Result<String> {
        let mut stream = UnixStream::connect(socket)?;
        let length = body.len();
        // In one write: the server reads once.
        let text = format!(
            "{method} {target} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(text.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = exchange().map_err(|error| format!("{}: {error}", socket.display()))?;
    let succeeded = answer.split(' ').nth(1).is_some_and(|status| status.starts_with('2'));
    if succeeded {
        Ok(answer)
    } else {
        Err(format!("{method} {target}: {}", answer.lines().last().unwrap_or_default()))
    }
}
