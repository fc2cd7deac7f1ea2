//! How long it takes to attach a running container to one more network, until its first packet is answered.

use std::{
    fs::File,
    io::Write,
    mem::MaybeUninit,
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::AsFd,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{AddressFamily, RecvFlags, SendFlags, SocketType, ipproto, recv, sendto, socket},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use super::{Measured, Outcome, Row};
use crate::{
    competition::Competition,
    peer::{Absence, Netavark, Peer, Plugin, Sleeper, finish},
    sample::{Sample, Unit},
};

/// How many neighbours a network has when it is full.
const CROWD: usize = 1000;
/// How long an answer is waited for before the question is asked again.
const PATIENCE: Duration = Duration::from_millis(20);

/// One that can attach a namespace to a network and detach it again.
pub(crate) struct Attacher<'a> {
    pub(crate) who: String,
    /// The process that lives in the namespace.
    pub(crate) pid: u32,
    /// Who answers on the network.
    pub(crate) gateway: Ipv4Addr,
    pub(crate) attach: Box<dyn Fn() -> Result<(), Absence> + 'a>,
    pub(crate) detach: Box<dyn Fn() -> Result<(), Absence> + 'a>,
}

pub(crate) fn measure(competition: &Competition, rounds: usize) -> Vec<Row> {
    let netavark = Netavark::start();
    let plugin = Plugin::start();
    let attachers = vec![
        ("fabric", fabric(competition, "bench-two", Ipv4Addr::new(10, 100, 0, 1))),
        ("docker", docker(competition)),
        ("netavark", netavark.as_ref().map_err(Clone::clone).map(Netavark::attacher)),
        ("CNI bridge", plugin.as_ref().map_err(Clone::clone).map(Plugin::attacher)),
    ];
    let mut one = row("attach until the first packet is answered, whole process", rounds, attachers);
    one.at_most("fabric", 10.0);
    vec![one]
}

/// Attaching with few neighbours and with many, on networks of the same size; for the host that is full.
pub(crate) fn crowded(competition: &Competition, rounds: usize) -> Row {
    let few = fabric(competition, "bench-few", Ipv4Addr::new(10, 101, 0, 1));
    // The network that all containers are on.
    let many = fabric(competition, "bench", Ipv4Addr::new(10, 99, 0, 1));
    let measure = format!("attach to a network of {CROWD} endpoints, 99th percentile");
    let mut row = row(&measure, rounds, vec![("crowded", many), ("empty", few)]);
    for outcome in &mut row.results {
        if let Measured::Values(sample) = &outcome.result {
            outcome.result = Measured::Values(Sample::new(vec![sample.quantile(0.99)]));
        }
    }
    row.at_most_times("crowded", 1.5, "empty");
    row
}

fn fabric<'a>(competition: &'a Competition, network: &'static str, gateway: Ipv4Addr) -> Result<Attacher<'a>, Absence> {
    let fabric = &competition.fabric;
    if network != "bench" {
        let subnet = format!("{}/16", Ipv4Addr::from(u32::from(gateway) - 1));
        finish(&mut fabric.command(&["network", "create", network, "--subnet", &subnet]))?;
    }
    let alone = finish(&mut fabric.command(&["run", "-d", "busybox", "sleep", "100000"]))?;
    let pid = fabric.process(&alone)?;
    let id = alone.clone();
    Ok(Attacher {
        who: "fabric".to_owned(),
        pid,
        gateway,
        attach: Box::new(move || finish(&mut fabric.command(&["network", "connect", network, &alone])).map(drop)),
        detach: Box::new(move || finish(&mut fabric.command(&["network", "disconnect", network, &id])).map(drop)),
    })
}

fn docker(competition: &Competition) -> Result<Attacher<'_>, Absence> {
    let docker = competition.docker.as_ref().map_err(Clone::clone)?;
    finish(&mut docker.command(&["network", "create", "--subnet", "10.96.0.0/16", "bench-two"]))?;
    let Sleeper { pid, id, .. } = docker.sleeper()?;
    let again = id.clone();
    Ok(Attacher {
        who: "docker".to_owned(),
        pid,
        gateway: Ipv4Addr::new(10, 96, 0, 1),
        attach: Box::new(move || finish(&mut docker.command(&["network", "connect", "bench-two", &id])).map(drop)),
        detach: Box::new(move || {
            finish(&mut docker.command(&["network", "disconnect", "bench-two", &again])).map(drop)
        }),
    })
}

fn row(measure: &str, rounds: usize, attachers: Vec<(&str, Result<Attacher<'_>, Absence>)>) -> Row {
    let mut times: Vec<Result<Vec<Duration>, Absence>> =
        attachers.iter().map(|(_, attacher)| attacher.as_ref().map(|_| Vec::new()).map_err(Clone::clone)).collect();
    for round in 0..=rounds {
        for ((_, attacher), times) in attachers.iter().zip(&mut times) {
            let (Ok(attacher), Ok(taken)) = (attacher, times.as_mut()) else { continue };
            match once(attacher) {
                Ok(time) if round > 0 => taken.push(time),
                Ok(_) => {}
                Err(why) => *times = Err(why),
            }
        }
    }
    let results = attachers.iter().zip(times).map(|((who, _), times)| Outcome {
        who: (*who).to_owned(),
        result: times.map_or_else(Measured::NotRun, |times| Measured::Values(Sample::of_times(times))),
    });
    Row { measure: measure.to_owned(), unit: Unit::Milliseconds, targets: Vec::new(), results: results.collect() }
}

fn once(attacher: &Attacher<'_>) -> Result<Duration, Absence> {
    let start = Instant::now();
    (attacher.attach)()?;
    await_answer(attacher.pid, attacher.gateway).map_err(|why| format!("{}: {why}", attacher.who))?;
    let time = start.elapsed();
    (attacher.detach)()?;
    Ok(time)
}

/// Sends ICMP echo requests (RFC 792) from the namespace until one is answered.
fn await_answer(pid: u32, gateway: Ipv4Addr) -> Result<(), Absence> {
    let ask = || -> std::io::Result<bool> {
        let namespace = File::open(format!("/proc/{pid}/ns/net"))?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        let socket = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP))?;
        let request = [8, 0, 0xf7, 0xff, 0, 0, 0, 0];
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            // Without a route yet there is nobody to ask.
            let _ = sendto(&socket, &request, SendFlags::empty(), &SocketAddrV4::new(gateway, 0));
            let wait = Timespec::try_from(PATIENCE).expect("milliseconds are a time");
            if poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&wait))? == 0 {
                continue;
            }
            let mut packet = [MaybeUninit::<u8>::uninit(); 128];
            let ((packet, _), _) = recv(&socket, &mut packet, RecvFlags::empty())?;
            // Behind the IP header: an echo reply has type 0.
            if packet.get(20) == Some(&0) && packet.get(12..16) == Some(&gateway.octets()) {
                return Ok(true);
            }
        }
        Ok(false)
    };
    // A thread of its own, which ends in the namespace.
    match thread::scope(|scope| scope.spawn(ask).join()) {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => Err(format!("{gateway} does not answer")),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the thread ended".to_owned()),
    }
}

/// Runs a command with a text on its standard input.
pub(crate) fn feed(command: &mut Command, text: &str) -> Result<String, Absence> {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| format!("{:?}: {error}", command.get_program()))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(text.as_bytes()).map_err(|error| error.to_string())?;
    }
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}
