//! A packet every ten milliseconds, and a count of those that were lost.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    net::IpAddr,
    process::{Child, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread::JoinHandle,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Namespace, PATIENCE, within};

/// Whether one packet is answered within ten seconds.
pub fn pings(from: &Namespace, to: impl ToString) -> bool {
    from.try_run(&["ping", "-n", "-c", "1", "-W", "10", &to.to_string()]).code == 0
}

/// With fewer answers than these nothing is shown.
const ENOUGH: usize = 5;

/// A running `ping`.
#[derive(Debug)]
pub struct Ping {
    child: Child,
    answered: Arc<AtomicU32>,
    reader: Option<JoinHandle<BTreeSet<u32>>>,
}

/// Which of a ping's packets were answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PingReport {
    /// How many were answered.
    pub answered: usize,
    /// Sequence numbers that were passed over.
    pub lost: Vec<u32>,
}

impl Ping {
    /// Pings `address` from `namespace` until [`Ping::finish`], and returns once the first answer has come.
    #[track_caller]
    pub fn start(namespace: &Namespace, address: impl Into<IpAddr>) -> Self {
        let address = address.into();
        let mut command = namespace.command("ping");
        command.args(["-n", "-i", "0.01", "-O", &address.to_string()]).stdout(Stdio::piped());
        let mut child = command.spawn().expect("ping runs");
        let stdout = child.stdout.take().expect("it is piped");
        let answered = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&answered);
        let reader = std::thread::spawn(move || {
            let mut sequence_numbers = BTreeSet::new();
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let answer = line.contains("bytes from").then(|| line.split("icmp_seq=").nth(1)).flatten();
                if let Some(number) = answer.and_then(|rest| rest.split(' ').next()).and_then(|text| text.parse().ok())
                {
                    sequence_numbers.insert(number);
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            }
            sequence_numbers
        });
        let ping = Self { child, answered, reader: Some(reader) };
        let first = within(PATIENCE, || (ping.answered() > 0).then_some(()));
        assert!(first.is_some(), "{address} answers no ping");
        ping
    }

    /// How many packets were answered so far.
    pub fn answered(&self) -> u32 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Ends it, once enough packets were answered or none is for long, and reports. The last packet, which may be under
    /// way, does not count.
    pub fn finish(mut self) -> PingReport {
        let _ = within(PATIENCE, || (self.answered() as usize > ENOUGH).then_some(()));
        self.stop();
        let reader = self.reader.take().expect("only finish takes it");
        let answered = reader.join().expect("reading a pipe does not panic");
        let last = answered.last().copied().unwrap_or(0);
        PingReport { answered: answered.len(), lost: (1..last).filter(|number| !answered.contains(number)).collect() }
    }

    fn stop(&mut self) {
        let pid = Pid::from_child(&self.child);
        // It may have ended by itself.
        let _ = kill_process(pid, Signal::INT);
        let _ = self.child.wait();
    }
}

impl Drop for Ping {
    fn drop(&mut self) {
        self.stop();
    }
}

impl PingReport {
    /// Fails the test if any packet was lost, or if too few were sent to tell.
    #[track_caller]
    pub fn assert_nothing_lost(&self) {
        assert!(self.answered > ENOUGH, "only {} packets were answered", self.answered);
        assert!(self.lost.is_empty(), "{} of {} packets were lost: {:?}", self.lost.len(), self.answered, self.lost);
    }
}
