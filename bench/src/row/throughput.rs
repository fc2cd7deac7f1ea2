//! How fast two containers of one network talk to each other, beside links made by hand.

use std::{
    fs::File,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

use super::{Measured, Outcome, Row};
use crate::{
    competition::Competition,
    peer::{Absence, Peer, Sleeper, find, finish},
    place::{Place, end},
    sample::{Sample, Unit},
};

/// How often each pair is measured, one after the other.
const ROUNDS: usize = 5;
/// How long one stream or one exchange of requests lasts.
const SECONDS: u64 = 2;
const PORT: u16 = 5201;

/// Two ends of a path.
struct Pair {
    who: String,
    ends: Result<[Sleeper; 2], Absence>,
    /// What keeps the namespaces of the ends alive, where they are not containers.
    _places: Vec<Place>,
}

/// One direction's measure: the server's and the client's end, to a value.
type Meter = fn(&Sleeper, &Sleeper) -> Result<f64, Absence>;

pub(crate) fn measure(competition: &Competition) -> Vec<Row> {
    let pairs = [
        containers("fabric", Ok(&competition.fabric)),
        by_hand("bridge by hand", bridged),
        by_hand("bare veth", joined),
        containers("docker", competition.docker.as_ref().map_err(Clone::clone)),
        containers("podman", competition.podman.as_ref().map_err(Clone::clone)),
    ];
    let mut streams = row("TCP stream between two containers", Unit::GigabitsPerSecond, &pairs, stream);
    streams.at_least_times("fabric", 0.98, "bridge by hand");
    let mut requests = row("TCP requests of one octet", Unit::PerSecond, &pairs, requests);
    requests.at_least_times("fabric", 0.98, "bridge by hand");
    vec![streams, requests]
}

fn row(measure: &str, unit: Unit, pairs: &[Pair], meter: Meter) -> Row {
    let mut values: Vec<Result<Vec<f64>, Absence>> =
        pairs.iter().map(|pair| pair.ends.as_ref().map(|_| Vec::new()).map_err(Clone::clone)).collect();
    for _ in 0..ROUNDS {
        for (pair, values) in pairs.iter().zip(&mut values) {
            let (Ok([server, client]), Ok(measured)) = (&pair.ends, values.as_mut()) else { continue };
            match meter(server, client) {
                Ok(value) => measured.push(value),
                Err(why) => *values = Err(why),
            }
        }
    }
    let results = pairs.iter().zip(values).map(|(pair, values)| Outcome {
        who: pair.who.clone(),
        result: values.map_or_else(Measured::NotRun, |values| Measured::Values(Sample::new(values))),
    });
    Row { measure: measure.to_owned(), unit, targets: Vec::new(), results: results.collect() }
}

fn containers(who: &str, peer: Result<&impl Peer, Absence>) -> Pair {
    let ends = peer.and_then(|peer| Ok([peer.sleeper()?, peer.sleeper()?]));
    Pair { who: who.to_owned(), ends, _places: Vec::new() }
}

fn by_hand(who: &str, join: fn(&Place, &Place) -> Result<Vec<Place>, Absence>) -> Pair {
    let build = || -> Result<_, Absence> {
        let (one, two) = (Place::new("")?, Place::new("")?);
        let mut places = join(&one, &two)?;
        for (place, address) in [(&one, "10.98.0.2"), (&two, "10.98.0.3")] {
            sh(place, &format!("ip addr add {address}/24 dev eth0; ip link set eth0 up"))?;
        }
        let end =
            |place: &Place, address: &str| Sleeper { id: String::new(), pid: place.pid(), address: address.to_owned() };
        let ends = [end(&one, "10.98.0.2"), end(&two, "10.98.0.3")];
        places.extend([one, two]);
        Ok((ends, places))
    };
    match build() {
        Ok((ends, places)) => Pair { who: who.to_owned(), ends: Ok(ends), _places: places },
        Err(why) => Pair { who: who.to_owned(), ends: Err(why), _places: Vec::new() },
    }
}

/// A bridge in a namespace of its own, as that of a container network is.
fn bridged(one: &Place, two: &Place) -> Result<Vec<Place>, Absence> {
    let host = Place::new("ip link add bridge0 type bridge; ip link set bridge0 up")?;
    for place in [one, two] {
        let (port, pid) = (format!("p{}", place.pid()), place.pid());
        sh(
            &host,
            &format!("ip link add {port} master bridge0 type veth peer name eth0 netns {pid}; ip link set {port} up"),
        )?;
    }
    Ok(vec![host])
}

fn joined(one: &Place, two: &Place) -> Result<Vec<Place>, Absence> {
    sh(one, &format!("ip link add eth0 type veth peer name eth0 netns {}", two.pid()))?;
    Ok(Vec::new())
}

fn sh(place: &Place, script: &str) -> Result<(), Absence> {
    finish(place.command("sh").args(["-ec", script])).map(drop)
}

fn inside(end: &Sleeper, program: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/proc/{}/ns/net", end.pid)).arg("--").arg(program);
    command
}

/// Gigabits received in a second.
fn stream(server: &Sleeper, client: &Sleeper) -> Result<f64, Absence> {
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
    let listener = enter(server, move || TcpListener::bind(address).map_err(said))?;
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
    let mut stream = enter(client, move || TcpStream::connect_timeout(&address, patience).map_err(said))?;
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

/// Opens a socket in an end's namespace: it stays there, wherever it is used.
fn enter<T: Send>(end: &Sleeper, open: impl FnOnce() -> Result<T, Absence> + Send) -> Result<T, Absence> {
    let file = File::open(format!("/proc/{}/ns/net", end.pid)).map_err(|error| error.to_string())?;
    let work = || {
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).map_err(|error| error.to_string())?;
        open()
    };
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|_| Err("the thread ended".to_owned()))
}
