//! A DNS server outside, which says what a test has it say.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use crate::Namespace;

/// A server, for as long as the test process lives. What it does not know does not exist.
#[derive(Debug, Clone, Default)]
pub struct NameServer(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<String, Vec<(Said, u32)>>,
    asked: usize,
    delay: Duration,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// An address, A or AAAA.
    Address(IpAddr),
    /// Another name, whose records follow in the answer.
    Alias(&'static str),
}

impl<T: Into<IpAddr>> From<T> for Said {
    fn from(address: T) -> Self {
        Self::Address(address.into())
    }
}

impl NameServer {
    /// A server on `address` in `namespace`, by UDP and TCP.
    pub fn start(namespace: &Namespace, address: SocketAddr) -> Self {
        let server = Self::default();
        let (socket, listener) =
            namespace.enter(|| (UdpSocket::bind(address).expect("free"), TcpListener::bind(address).expect("free")));
        let by_udp = server.clone();
        thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((length, client)) = socket.recv_from(&mut buffer) {
                let (query, server) = (buffer[..length].to_vec(), by_udp.clone());
                let socket = socket.try_clone().expect("there are descriptors");
                thread::spawn(move || {
                    let mut answer = server.answer(&query);
                    if answer.len() > 512 {
                        // Truncated, and asked for again by TCP.
                        answer[2] |= 2;
                        answer[6..8].fill(0);
                        answer.truncate(end_of_question(&query));
                    }
                    // The client may be gone.
                    let _ = socket.send_to(&answer, client);
                });
            }
        });
        let by_tcp = server.clone();
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let server = by_tcp.clone();
                thread::spawn(move || {
                    let mut length = [0; 2];
                    while stream.read_exact(&mut length).is_ok() {
                        let mut query = vec![0; u16::from_be_bytes(length).into()];
                        if stream.read_exact(&mut query).is_err() {
                            return;
                        }
                        let answer = server.answer(&query);
                        let length = u16::try_from(answer.len()).expect("it fits").to_be_bytes();
                        if stream.write_all(&[&length[..], &answer].concat()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        server
    }

    /// Has a name have this record for so many seconds, and no others.
    pub fn says(&self, name: &str, said: impl Into<Said>, ttl: u32) {
        self.says_all(name, [said], ttl);
    }

    /// The same of several records.
    pub fn says_all(&self, name: &str, said: impl IntoIterator<Item = impl Into<Said>>, ttl: u32) {
        let records = said.into_iter().map(|said| (said.into(), ttl)).collect();
        self.state().records.insert(name.to_owned(), records);
    }

    /// Has it think about each answer for so long.
    pub fn delay(&self, delay: Duration) {
        self.state().delay = delay;
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.state().asked
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics with it")
    }

    fn answer(&self, query: &[u8]) -> Vec<u8> {
        let delay = {
            let mut state = self.state();
            state.asked += 1;
            state.delay
        };
        thread::sleep(delay);
        let end = end_of_question(query);
        let (mut name, mut at) = (Vec::new(), 12);
        while query[at] != 0 {
            let label = &query[at + 1..at + 1 + usize::from(query[at])];
            name.push(String::from_utf8_lossy(label).to_ascii_lowercase());
            at += 1 + label.len();
        }
        let kind = query[end - 3];
        let state = self.state();
        let mut name = name.join(".");
        let (mut records, mut count) = (Vec::new(), 0_u16);
        let exists = state.records.contains_key(&name);
        while let Some(said) = state.records.get(&name) {
            let owner = wire_name(&name);
            for (said, ttl) in said {
                let (of, data) = match said {
                    Said::Address(IpAddr::V4(address)) => (1_u8, address.octets().to_vec()),
                    Said::Address(IpAddr::V6(address)) => (28, address.octets().to_vec()),
                    Said::Alias(target) => (5, wire_name(target)),
                };
                if of != kind && of != 5 {
                    continue;
                }
                records.extend([&owner[..], &[0, of, 0, 1], &ttl.to_be_bytes()].concat());
                records.extend([&(data.len() as u16).to_be_bytes()[..], &data].concat());
                count += 1;
            }
            match &said[..] {
                [(Said::Alias(target), _)] => name = (*target).to_owned(),
                _ => break,
            }
        }
        // An answer, recursion available; no error, or no such name.
        let mut message = query[..end].to_vec();
        (message[2], message[3]) = (0x81, if exists { 0x80 } else { 0x83 });
        message[6..8].copy_from_slice(&count.to_be_bytes());
        message[8..12].fill(0);
        message.extend(records);
        message
    }
}

fn end_of_question(query: &[u8]) -> usize {
    let mut at = 12;
    while query[at] != 0 {
        at += 1 + usize::from(query[at]);
    }
    at + 5
}

fn wire_name(name: &str) -> Vec<u8> {
    let mut octets: Vec<u8> =
        name.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).collect();
    octets.push(0);
    octets
}
