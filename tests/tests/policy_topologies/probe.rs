//! Opens connections from everybody to everybody at once, and says which came about.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use model::Protocol;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, connect, ipproto, recv, sendto,
        socket_with, sockopt::socket_error,
    },
};
use tests::{Namespace, PATIENCE};

/// What is asked for, by each protocol.
pub(crate) const PORTS: [u16; 4] = [80, 90, 443, 7000];
/// What has to come and has not is sent again after this: a datagram may be lost where much is going on.
const AGAIN: Duration = Duration::from_millis(700);
/// What must not come is waited for so long after all that had to come has.
const SILENCE: Duration = Duration::from_millis(100);

/// Somebody with an address on a network. The host has no name.
#[derive(Debug, Clone)]
pub(crate) struct Party {
    pub(crate) name: Option<String>,
    pub(crate) network: &'static str,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) namespace: Namespace,
}

/// A connection to be opened: by whom and to whom, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Probe {
    pub(crate) from: IpAddr,
    pub(crate) to: IpAddr,
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
}

/// The sockets that one address has.
struct Station {
    address: IpAddr,
    /// They are connected to, and nothing else is done with them.
    _listeners: Vec<TcpListener>,
    datagrams: Vec<UdpSocket>,
    /// Packets of SCTP as they are: not every kernel has sockets of it.
    associations: OwnedFd,
}

impl Station {
    fn open(address: IpAddr) -> Self {
        let listener = |port: &u16| {
            let listener = TcpListener::bind((address, *port)).expect("free");
            listener.set_nonblocking(true).expect("it can");
            listener
        };
        let datagrams = |port: &u16| {
            let socket = UdpSocket::bind((address, *port)).expect("free");
            socket.set_nonblocking(true).expect("it can");
            socket
        };
        let associations = raw(address, SocketType::RAW, Some(ipproto::SCTP), 0).expect("root may open it");
        Self {
            address,
            _listeners: PORTS.iter().map(listener).collect(),
            // The last one only sends.
            datagrams: PORTS.iter().chain([&0]).map(datagrams).collect(),
            associations,
        }
    }

    /// What arrivals are read from.
    fn read_from(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.datagrams.iter().map(AsFd::as_fd).chain([self.associations.as_fd()])
    }

    /// The numbers of probes whose datagrams and packets have come here.
    fn take_arrivals(&self, arrived: &mut BTreeSet<usize>) {
        let mut buffer = [0; 512];
        for socket in &self.datagrams {
            while let Ok(length) = socket.recv(&mut buffer) {
                arrived.extend(number(buffer[..length].first_chunk()));
            }
        }
        while let Ok((length, _)) = recv(&self.associations, &mut buffer[..], RecvFlags::empty()) {
            let header = if self.address.is_ipv4() { usize::from(buffer[0] & 0xf) * 4 } else { 0 };
            let body = buffer.get(header..length).unwrap_or_default();
            // The tag of an INIT (RFC 9260 §3.3.2) follows the header of 12 octets and that of the chunk.
            if body.get(12) == Some(&1) {
                arrived.extend(number(body.get(16..).and_then(<[u8]>::first_chunk)));
            }
        }
    }
}

fn number(octets: Option<&[u8; 4]>) -> Option<usize> {
    octets.map(|octets| u32::from_be_bytes(*octets) as usize)
}

/// Whoever opens connections and is connected to, each with sockets of their own.
pub(crate) struct Stations(Vec<Station>);

/// A connection on its way.
struct Attempt {
    number: usize,
    socket: OwnedFd,
}

impl Stations {
    pub(crate) fn open(parties: &[Party]) -> Self {
        let open = |party: &Party| -> Vec<Station> {
            party.namespace.enter(|| party.addresses.iter().map(|address| Station::open(*address)).collect())
        };
        Self(parties.iter().flat_map(open).collect())
    }

    fn at(&self, address: IpAddr) -> &Station {
        self.0.iter().find(|station| station.address == address).expect("everybody has one")
    }

    /// Opens all of these connections, and returns those that came about: all that were expected, unless one does not
    /// within a long time, and every other one that does meanwhile and a little longer.
    pub(crate) fn try_all(&self, parties: &[Party], probes: &[Probe], expected: &BTreeSet<usize>) -> BTreeSet<usize> {
        let mut attempts = self.connect(parties, probes);
        let mut arrived = BTreeSet::new();
        let begun = Instant::now();
        let (mut sent, mut complete) = (None::<Instant>, None::<Instant>);
        loop {
            if sent.is_none_or(|sent| sent.elapsed() > AGAIN) {
                let missing = |number: &usize| sent.is_none() || expected.contains(number) && !arrived.contains(number);
                (0..probes.len()).filter(missing).for_each(|number| self.send(number, &probes[number]));
                sent = Some(Instant::now());
            }
            await_any(&attempts, &self.0);
            attempts.retain(|attempt| match socket_error(&attempt.socket) {
                Ok(Ok(())) => {
                    let is_connected = rustix::net::getpeername(&attempt.socket).is_ok();
                    arrived.extend(is_connected.then_some(attempt.number));
                    !is_connected
                }
                Ok(Err(error)) | Err(error) => {
                    assert_ne!(error, Errno::CONNREFUSED, "somebody listens: {:?}", probes[attempt.number]);
                    false
                }
            });
            self.0.iter().for_each(|station| station.take_arrivals(&mut arrived));
            if expected.is_subset(&arrived) && complete.get_or_insert_with(Instant::now).elapsed() > SILENCE {
                return arrived;
            }
            if begun.elapsed() > PATIENCE {
                return arrived;
            }
        }
    }

    /// Begins all connections of TCP.
    fn connect(&self, parties: &[Party], probes: &[Probe]) -> Vec<Attempt> {
        let mut attempts = Vec::new();
        for party in parties {
            let is_own = |probe: &Probe| probe.protocol == Protocol::Tcp && party.addresses.contains(&probe.from);
            let own = probes.iter().enumerate().filter(|(_, probe)| is_own(probe));
            let begin = |(number, probe): (usize, &Probe)| {
                let socket = raw(probe.from, SocketType::STREAM, None, 0).expect("a free port");
                match connect(&socket, &SocketAddr::new(probe.to, probe.port)) {
                    // What the host drops as it leaves it, who sends is told.
                    Ok(()) | Err(Errno::INPROGRESS | Errno::PERM) => {}
                    Err(error) => panic!("{probe:?}: {error}"),
                }
                Attempt { number, socket }
            };
            attempts.extend(party.namespace.enter(|| own.map(begin).collect::<Vec<_>>()));
        }
        attempts
    }

    /// Sends a datagram or a packet of SCTP, which tells the number of its probe.
    fn send(&self, number: usize, probe: &Probe) {
        let (from, tag) = (self.at(probe.from), u32::try_from(number).expect("few").to_be_bytes());
        match probe.protocol {
            Protocol::Tcp => {}
            Protocol::Udp => {
                let socket = from.datagrams.last().expect("one that sends");
                tolerate(socket.send_to(&tag, (probe.to, probe.port)), probe);
            }
            Protocol::Sctp => {
                let packet = association(number, probe.port, tag);
                let sent = sendto(&from.associations, &packet, SendFlags::empty(), &SocketAddr::new(probe.to, 0));
                tolerate(sent.map_err(std::io::Error::from), probe);
            }
        }
    }
}

/// What the host drops as it leaves it, who sends is told; and what was told by ICMP of a packet before, the next call
/// is.
fn tolerate(sent: std::io::Result<usize>, probe: &Probe) {
    use std::io::ErrorKind::{ConnectionRefused, PermissionDenied};
    if let Err(error) = sent {
        assert!(matches!(error.kind(), PermissionDenied | ConnectionRefused), "{probe:?}: {error}");
    }
}

/// A socket that does not wait, with this address.
fn raw(
    address: IpAddr,
    kind: SocketType,
    protocol: Option<rustix::net::Protocol>,
    port: u16,
) -> rustix::io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, protocol)?;
    bind(&socket, &SocketAddr::new(address, port))?;
    Ok(socket)
}

/// Waits a little for any of the sockets.
fn await_any(attempts: &[Attempt], stations: &[Station]) {
    let fds: Vec<(BorrowedFd<'_>, PollFlags)> = attempts
        .iter()
        .map(|attempt| (attempt.socket.as_fd(), PollFlags::OUT))
        .chain(stations.iter().flat_map(Station::read_from).map(|fd| (fd, PollFlags::IN)))
        .collect();
    let mut fds: Vec<PollFd<'_>> = fds.iter().map(|(fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
    let limit = Timespec::try_from(Duration::from_millis(20)).expect("short");
    poll(&mut fds, Some(&limit)).expect("poll");
}

/// The first packet of an association, with this tag (RFC 9260 §3.3.2).
fn association(number: usize, port: u16, tag: [u8; 4]) -> Vec<u8> {
    // One association has one pair of ports.
    let source = u16::try_from(10_000 + number % 50_000).expect("below 60,000");
    let header = [&source.to_be_bytes()[..], &port.to_be_bytes(), &[0; 8]].concat();
    let chunk = [&[1, 0, 0, 20][..], &tag, &[0, 0, 0xff, 0xff, 0, 1, 0, 1, 0, 0, 0, 1]].concat();
    let mut packet = [header, chunk].concat();
    let bit = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    let sum = !packet.iter().fold(u32::MAX, |crc, octet| (0..8).fold(crc ^ u32::from(*octet), bit));
    packet[8..12].copy_from_slice(&sum.to_le_bytes());
    packet
}

/// All connections that somebody can open to somebody else on the same network.
pub(crate) fn probes(parties: &[Party]) -> Vec<Probe> {
    let mut probes = Vec::new();
    for from in parties {
        for to in parties.iter().filter(|to| to.network == from.network && to.name != from.name) {
            for from in &from.addresses {
                for to in to.addresses.iter().filter(|to| to.is_ipv4() == from.is_ipv4()) {
                    for protocol in Protocol::ALL {
                        probes.extend(PORTS.map(|port| Probe { from: *from, to: *to, protocol, port }));
                    }
                }
            }
        }
    }
    probes
}
