//! How fast two containers of one network talk to each other, beside links made by hand.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::Row;
use crate::{
    competition::Competition,
    contest::{Contender, Rounds, contest},
    enter::enter,
    peer::{Absence, Peer, Sleeper, find, finish, program},
    place::{Place, end},
    sample::Unit,
};

/// How often each pair is measured, one after the other.
const ROUNDS: usize = 5;
/// How long one stream or one exchange of requests lasts.
const SECONDS: u64 = 2;
const PORT: u16 = 5201;

/// Two ends of a path, the server's first.
pub(crate) struct Pair {
    pub(crate) ends: [Sleeper; 2],
    /// What keeps the namespaces of the ends alive, where they are not containers.
    pub(crate) _places: Vec<Place>,
}

pub(crate) fn measure(competition: &Competition, rounds: usize) -> Vec<Row> {
    let (bridged, _host) = bridged().map_or_else(|why| (Err(why), None), |(pair, host)| (Ok(pair), Some(host)));
    let contenders = [
        Contender::new("fabric", containers(&competition.fabric)),
        Contender::new("bridge by hand", bridged),
        Contender::new("bare veth", joined()),
        Contender::new("docker", competition.docker.as_ref().map_err(Clone::clone).and_then(containers)),
        Contender::new("podman", competition.podman.as_ref().map_err(Clone::clone).and_then(containers)),
    ];
    let rounds = Rounds::cold(rounds.min(ROUNDS));
    let streams = contest(&contenders, rounds, stream);
    let mut streams = Row::new("TCP stream between two containers", Unit::GigabitsPerSecond, streams);
    streams.at_least_times("fabric", 0.98, "bridge by hand");
    let requests = contest(&contenders, rounds, |Pair { ends: [server, client], .. }| requests(server, client));
    let mut requests = Row::new("TCP requests of one octet", Unit::PerSecond, requests);
    requests.at_least_times("fabric", 0.98, "bridge by hand");
    if let [Contender { entry: Ok(pair), .. }, ..] = &contenders {
        // Later measures count the containers.
        let _ = competition.fabric.remove(&pair.ends.each_ref().map(|end| end.id.clone()));
    }
    vec![streams, requests]
}

fn containers(peer: &impl Peer) -> Result<Pair, Absence> {
    Ok(Pair { ends: [peer.sleeper()?, peer.sleeper()?], _places: Vec::new() })
}

fn by_hand(place: &Place, address: Ipv4Addr) -> Sleeper {
    Sleeper { id: String::new(), pid: place.pid(), address: address.to_string() }
}

/// Two ends on a bridge in a namespace of its own, as that of a container network is, and that namespace.
pub(crate) fn bridged() -> Result<(Pair, Place), Absence> {
    let host = Place::new("")?;
    let [gateway, one, two] = [1, 2, 3].map(|last| Ipv4Addr::new(10, 98, 0, last));
    let (server, client) = (host.neighbour(gateway, one)?, host.neighbour(gateway, two)?);
    Ok((Pair { ends: [by_hand(&server, one), by_hand(&client, two)], _places: vec![server, client] }, host))
}

fn joined() -> Result<Pair, Absence> {
    let [one, two] = [2, 3].map(|last| Ipv4Addr::new(10, 98, 0, last));
    let (server, client) = (Place::new("")?, Place::new("")?);
    server.sh(&format!("ip link add eth0 type veth peer name eth0 netns {}", client.pid()))?;
    for (place, address) in [(&server, one), (&client, two)] {
        place.sh(&format!("ip addr add {address}/24 dev eth0; ip link set eth0 up"))?;
    }
    Ok(Pair { ends: [by_hand(&server, one), by_hand(&client, two)], _places: vec![server, client] })
}

fn inside(end: &Sleeper, name: &str) -> Command {
    let mut command = program("nsenter");
    command.arg(format!("--net=/proc/{}/ns/net", end.pid)).arg("--").arg(name);
    command
}

/// Gigabits received in a second.
pub(crate) fn stream(Pair { ends: [server, client], .. }: &Pair) -> Result<f64, Absence> {
    find("iperf3")?;
    let mut listener = Server(
        inside(server, "iperf3")
            .args(["--server", "--one-off", "--port", &PORT.to_string()])
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("iperf3: {error}"))?,
    );
    await_listener(server)?;
    let mut command = inside(client, "iperf3");
    command.args(["--client", &server.address, "--port", &PORT.to_string(), "--json"]);
    command.args(["--time", &SECONDS.to_string(), "--omit", "0"]);
    let said = finish(&mut command)?;
    listener.0.wait().map_err(|error| error.to_string())?;
    let report: Value = serde_json::from_str(&said).map_err(|error| error.to_string())?;
    let bits = report["end"]["sum_received"]["bits_per_second"].as_f64();
    bits.map(|bits| bits / 1e9).ok_or_else(|| "iperf3 reports no sum".to_owned())
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}

fn await_listener(end: &Sleeper) -> Result<(), Absence> {
    for _ in 0..300 {
        let listed = finish(inside(end, "ss").args(["-tlnH", "sport", "=", &format!(":{PORT}")]))?;
        if !listed.is_empty() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Err("nothing listens".to_owned())
}

/// Octets sent there and back, one at a time, in a second.
fn requests(server: &Sleeper, client: &Sleeper) -> Result<f64, Absence> {
    let said = |error: std::io::Error| error.to_string();
    let address = format!("{}:{PORT}", server.address).parse::<SocketAddr>().map_err(|error| error.to_string())?;
    let listener = enter(server.pid, move || TcpListener::bind(address).map_err(said))?;
    let echo = thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        let mut octet = [0];
        while stream.read(&mut octet)? == 1 {
            stream.write_all(&octet)?;
        }
        Ok(())
    });
    let patience = Duration::from_secs(5);
    let mut stream = enter(client.pid, move || TcpStream::connect_timeout(&address, patience).map_err(said))?;
    stream.set_nodelay(true).map_err(said)?;
    let (start, mut count, mut octet) = (Instant::now(), 0_u32, [1]);
    while start.elapsed() < Duration::from_secs(SECONDS) {
        stream.write_all(&octet).map_err(said)?;
        stream.read_exact(&mut octet).map_err(said)?;
        count += 1;
    }
    let rate = f64::from(count) / start.elapsed().as_secs_f64();
    drop(stream);
    let _ = echo.join();
    Ok(rate)
}
