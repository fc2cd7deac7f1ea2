//! Asks DNS by UDP as fast as is answered.
//!
//! From as many threads as the machine has processors, as a host's containers ask from all of them: of a server that
//! answers on the processor of whoever asks, or faster than one thread asks, one thread would measure that thread. Each
//! makes its queries beforehand and takes and sends many by one system call: a program that costs more than the server
//! it asks shows itself, and not the server.

mod flow;

use std::{
    net::SocketAddr,
    num::NonZero,
    ops::Add,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    time::Timespec,
};

use self::flow::Flow;
use crate::{enter::enter, interrupt, peer::Absence};

/// Sockets that ask, at least, each with its share of the queries under way; as many from each thread.
const FLOWS: usize = 4;
/// What is not answered by then is lost.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is asked of whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asking<'a> {
    /// The process in whose network namespace it is asked.
    pub(crate) client: u32,
    pub(crate) server: SocketAddr,
    /// Made by [`query`]; asked in this order, again and again.
    pub(crate) queries: &'a [Vec<u8>],
    /// How many may be under way.
    pub(crate) window: usize,
    pub(crate) time: Duration,
    /// Whether each reply must hold an answer.
    pub(crate) answers: bool,
}

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Load {
    /// Queries answered in a second, while it was asked.
    pub(crate) rate: f64,
    /// All queries that were answered.
    pub(crate) answered: u64,
    pub(crate) lost: u64,
}

impl Add for Load {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { rate: self.rate + other.rate, answered: self.answered + other.answered, lost: self.lost + other.lost }
    }
}

impl Load {
    /// In percent of all queries.
    pub(crate) fn lost_percent(self) -> f64 {
        100.0 * self.lost as f64 / (self.answered + self.lost).max(1) as f64
    }
}

/// A query for the A record of a name, which asks for recursion, as stub resolvers do (RFC 1035 §4.1).
pub(crate) fn query(name: &str) -> Vec<u8> {
    let mut octets = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        octets.push(u8::try_from(label.len()).expect("names of the bench are short"));
        octets.extend_from_slice(label.as_bytes());
    }
    octets.extend_from_slice(&[0, 0, 1, 0, 1]);
    octets
}

/// Asks.
///
/// # Errors
/// The server cannot be asked, or says something else than an answer to what was asked.
pub(crate) fn ask(asking: &Asking<'_>) -> Result<Load, Absence> {
    let askers = thread::available_parallelism().map_or(1, NonZero::get);
    let each = FLOWS.div_ceil(askers);
    let window = (asking.window / (askers * each)).max(1);
    let loads: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..askers).map(|_| scope.spawn(|| ask_from_one(asking, each, window))).collect();

        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("a thread ended".to_owned()))).collect()
    });
    let none = Load { rate: 0.0, answered: 0, lost: 0 };
    loads.into_iter().try_fold(none, |sum, load| Ok(sum + load?))
}

/// From one thread, by some sockets with so many queries under way each.
fn ask_from_one(asking: &Asking<'_>, flows: usize, window: usize) -> Result<Load, Absence> {
    let open = || (0..flows).map(|_| Flow::open(asking, window)).collect::<Result<Vec<_>, _>>();
    let mut flows = enter(asking.client, open)?;
    let begin = Instant::now();
    let (mut now, mut answered_in_time) = (begin, None);
    loop {
        let is_over = now - begin >= asking.time;
        let mut received = 0;
        for flow in &mut flows {
            received += flow.receive()?;
            flow.forget(now);
            if !is_over {
                flow.send(now)?;
            }
        }
        now = Instant::now();
        if is_over {
            answered_in_time.get_or_insert_with(|| (answered(&flows), now - begin));
            if flows.iter().all(Flow::is_idle) {
                break;
            }
        }
        if received == 0 {
            interrupt::check()?;
            wait(&flows)?;
            now = Instant::now();
        }
    }
    let (in_time, time) = answered_in_time.expect("the loop ends after that");
    let lost = flows.iter().map(Flow::lost).sum();
    Ok(Load { rate: in_time as f64 / time.as_secs_f64(), answered: answered(&flows), lost })
}

fn answered(flows: &[Flow<'_>]) -> u64 {
    flows.iter().map(Flow::answered).sum()
}

/// Until something comes in, or soon.
fn wait(flows: &[Flow<'_>]) -> Result<(), Absence> {
    let mut sockets: Vec<_> = flows.iter().map(|flow| PollFd::new(flow.socket(), PollFlags::IN)).collect();
    let soon = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    poll(&mut sockets, Some(&soon)).map(drop).map_err(|error| format!("poll: {error}"))
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, thread};

    use super::*;

    fn load(answers: bool, server: impl Fn(u32, &mut Vec<u8>) -> bool + Send + 'static) -> Result<Load, Absence> {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = socket.local_addr().expect("it is bound");
        socket.set_read_timeout(Some(Duration::from_secs(60))).expect("not zero");
        thread::spawn(move || {
            let mut buffer = [0; 512];
            for count in 0.. {
                let Ok((length, client)) = socket.recv_from(&mut buffer) else { break };
                let mut reply = buffer[..length].to_vec();
                reply[2] |= 0x80;
                if server(count, &mut reply) {
                    socket.send_to(&reply, client).expect("it has just asked");
                }
            }
        });
        let queries: Vec<_> = ["a", "name-1-2"].map(query).into();
        let (client, time) = (std::process::id(), Duration::from_millis(50));
        ask(&Asking { client, server: address, queries: &queries, window: 8, time, answers })
    }

    /// With one record of four octets.
    fn answer(reply: &mut Vec<u8>) {
        reply[7] = 1;
        reply.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 0, 0, 1]);
    }

    /// Of several loads one has to be so: on a machine that stands still few are answered, and some too late.
    fn one_is(so: impl Fn(&Load) -> bool, load: impl Fn() -> Result<Load, Absence>) {
        let loads: Vec<_> = (0..5).map(|_| load()).take_while(|load| !load.as_ref().is_ok_and(&so)).collect();
        assert!(loads.len() < 5, "{loads:?}");
    }

    #[test]
    fn each_answer_is_counted_once() {
        let all_answered = || {
            load(true, |_, reply| {
                answer(reply);
                true
            })
        };
        one_is(|load| load.lost == 0 && load.answered > 100 && load.rate > 1000.0, all_answered);
    }

    #[test]
    fn what_is_not_answered_is_lost() {
        let three_unanswered = || load(false, |count, _| count >= 3);
        one_is(|load| load.lost == 3 && load.lost_percent() > 0.0 && load.answered > 0, three_unanswered);
    }

    #[test]
    fn a_wrong_reply_is_no_answer() {
        for (spoilt, said) in [
            ((|reply| reply[3] |= 3) as fn(&mut Vec<u8>), "response code 3"),
            (|reply| reply[7] = 0, "no record"),
            (|reply| reply[13] ^= 1, "another question"),
            (|reply| reply.truncate(11), "another question"),
        ] {
            let spoil = move |_, reply: &mut Vec<u8>| {
                answer(reply);
                spoilt(reply);
                true
            };
            let refused = load(true, spoil).expect_err("it is looked at");
            assert!(refused.contains(said), "{refused}");
        }
    }
}
