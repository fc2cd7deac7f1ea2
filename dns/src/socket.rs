//! Opens the two sockets of a listener.

use std::{io, net::SocketAddr};

use rustix::{
    fd::OwnedFd,
    net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt},
};
use tokio::net::{TcpListener, UdpSocket};

use crate::{DnsError, error::Transport};

/// Octets of queries that may wait in a socket; the kernel's default holds some 250 of them.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 256;

pub(crate) fn udp(address: SocketAddr) -> Result<UdpSocket, DnsError> {
    // No SO_REUSEADDR: for UDP it would let two servers have the address, and one of them starve.
    let open = || -> io::Result<UdpSocket> {
        let socket = unbound(address, SocketType::DGRAM)?;
        // Beyond `net.core.rmem_max` if the process may; else as far as that goes.
        if sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER).is_err() {
            sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER)?;
        }
        bind(&socket, &address)?;
        UdpSocket::from_std(socket.into())
    };
    open().map_err(|error| DnsError::listen(address, Transport::Udp, error))
}

pub(crate) fn tcp(address: SocketAddr) -> Result<TcpListener, DnsError> {
    let open = || -> io::Result<TcpListener> {
        let socket = unbound(address, SocketType::STREAM)?;
        // Connections of a predecessor that was killed linger in TIME_WAIT and hold the address.
        sockopt::set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &address)?;
        listen(&socket, BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    open().map_err(|error| DnsError::listen(address, Transport::Tcp, error))
}

fn unbound(address: SocketAddr, kind: SocketType) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    // The bridge may get the address later, or lose it for a moment while it is made anew.
    match address {
        SocketAddr::V4(_) => sockopt::set_ip_freebind(&socket, true)?,
        SocketAddr::V6(_) => sockopt::set_ipv6_freebind(&socket, true)?,
    }
    Ok(socket)
}
