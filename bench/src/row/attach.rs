//! How long it takes to attach a namespace that is there to one more network, until its first packet is answered.

use std::{
    io::Write,
    net::Ipv4Addr,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::json;

use super::Row;
use crate::{
    competition::Competition,
    contest::{Contender, Rounds, contest},
    peer::{Absence, Docker, Fabric, Netavark, Peer, Plugin, finish},
    ping::Ping,
    sample::{Unit, milliseconds},
};

/// How long an answer is waited for before the question is asked again.
const PAUSE: Duration = Duration::from_millis(5);

/// One that can attach a namespace to a network and detach it again.
pub(crate) struct Attacher<'a> {
    /// The process that lives in the namespace.
    pub(crate) pid: u32,
    /// Who answers on the network.
    pub(crate) gateway: Ipv4Addr,
    pub(crate) attach: Box<dyn Fn() -> Result<(), Absence> + 'a>,
    pub(crate) detach: Box<dyn Fn() -> Result<(), Absence> + 'a>,
}

/// What a daemon is asked by.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Way {
    /// Its command: a process that starts, asks and ends.
    Command,
    /// A request to its socket.
    Socket,
}

pub(crate) fn measure(competition: &Competition, rounds: usize) -> Vec<Row> {
    let netavark = Netavark::start();
    let plugin = Plugin::start();
    let own = competition.fabric.make_network("bench-two", "10.100.0.0/16");
    let fabric = |way| {
        own.clone()?;
        fabric(&competition.fabric, "bench-two", Ipv4Addr::new(10, 100, 0, 1), way)
    };
    let others = competition.docker.as_ref().map_err(Clone::clone).and_then(|docker| {
        make_docker_network(docker, "bench-two", "10.96.0.0/16")?;
        Ok(docker)
    });
    let docker = |way| docker(others.clone()?, "bench-two", Ipv4Addr::new(10, 96, 0, 1), way);
    let contenders = [
        Contender::new("fabric", fabric(Way::Command)),
        Contender::new("fabric, by its socket", fabric(Way::Socket)),
        Contender::new("docker", docker(Way::Command)),
        Contender::new("docker, by its socket", docker(Way::Socket)),
        Contender::new("netavark", netavark.as_ref().map_err(Clone::clone).map(Netavark::attacher)),
        Contender::new("CNI bridge", plugin.as_ref().map_err(Clone::clone).map(Plugin::attacher)),
    ];
    let outcomes = contest(&contenders, Rounds::warmed(rounds), once);
    let mut row = Row::new("attach until the first packet is answered", Unit::Milliseconds, outcomes);
    row.at_most("fabric", 10.0);
    row.at_most("fabric, by its socket", 10.0);
    row.at_most_times("fabric", 1.0, "netavark");
    row.at_most_times("fabric", 1.0, "CNI bridge");
    vec![row]
}

/// A container of Fabric's without a network, to be attached to `network`.
pub(crate) fn fabric<'a>(
    fabric: &'a Fabric,
    network: &'static str,
    gateway: Ipv4Addr,
    way: Way,
) -> Result<Attacher<'a>, Absence> {
    let id = finish(&mut fabric.command(&["run", "-d", "busybox", "sleep", "100000"]))?;
    let pid = fabric.process(&id)?;
    let again = id.clone();
    Ok(Attacher {
        pid,
        gateway,
        attach: Box::new(move || match way {
            Way::Command => finish(&mut fabric.command(&["network", "connect", network, &id])).map(drop),
            Way::Socket => fabric.connect(network, &id),
        }),
        detach: Box::new(move || fabric.disconnect(network, &again)),
    })
}

pub(crate) fn make_docker_network(docker: &Docker, name: &str, subnet: &str) -> Result<(), Absence> {
    finish(&mut docker.command(&["network", "create", "--subnet", subnet, name])).map(drop)
}

/// A container of Docker's, to be attached to `network`. It has another already: without one it cannot get any.
pub(crate) fn docker<'a>(
    docker: &'a Docker,
    network: &'static str,
    gateway: Ipv4Addr,
    way: Way,
) -> Result<Attacher<'a>, Absence> {
    let sleeper = docker.sleeper_with(&["--network", "bridge"])?;
    let (id, again) = (sleeper.id.clone(), sleeper.id);
    let body = |id: &str| json!({ "Container": id }).to_string();
    Ok(Attacher {
        pid: sleeper.pid,
        gateway,
        attach: Box::new(move || match way {
            Way::Command => finish(&mut docker.command(&["network", "connect", network, &id])).map(drop),
            Way::Socket => docker.post(&format!("/networks/{network}/connect"), &body(&id)),
        }),
        detach: Box::new(move || docker.post(&format!("/networks/{network}/disconnect"), &body(&again))),
    })
}

/// Attaches, asks until the gateway answers, and detaches; milliseconds of the first two.
pub(crate) fn once(attacher: &Attacher<'_>) -> Result<f64, Absence> {
    let ping = Ping::from(attacher.pid)?;
    let start = Instant::now();
    (attacher.attach)()?;
    ping.until_answered(attacher.gateway, PAUSE)?;
    let taken = milliseconds(start.elapsed());
    (attacher.detach)()?;
    Ok(taken)
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
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(said.split_whitespace().collect::<Vec<_>>().join(" "))
}
