//! What policies cost: connections and streams under many rules, changing one of them, and attaching under them.

use std::{
    cell::Cell,
    fmt::Write,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use rustix::net::sockopt::set_socket_linger;
use serde_json::json;

use super::{
    Measured, Outcome, Row,
    attach::{Attacher, Way, feed},
    throughput::{Pair, bridged, stream},
};
use crate::{
    competition::Competition,
    contest::{Contender, Rounds, contest},
    enter::enter,
    peer::{Absence, Fabric, Peer, finish},
    place::Place,
    sample::{Sample, Unit, milliseconds},
};

/// How often each pair is measured, one after the other.
const ROUNDS: usize = 5;
const SIZES: [usize; 3] = [10, 1_000, MANY];
const MANY: usize = 10_000;
/// How many rules one document of Fabric's has.
const OF_A_POLICY: usize = 100;
/// How long connections are opened.
const WHILE: Duration = Duration::from_secs(2);
const PORT: u16 = 5202;

pub(crate) fn measure(competition: &Competition, rounds: usize) -> Vec<Row> {
    let start = |settings: &str| Fabric::start(&competition.binaries, &competition.tar, settings);
    let fabrics = [start(""), start("shortcut = false\n")];
    let [fabric, by_bridge] = fabrics.each_ref().map(|fabric| fabric.as_ref().map_err(Clone::clone));
    let mut pairs = vec![
        Contender::new("fabric, 0 rules", fabric.clone().and_then(|fabric| judged(fabric, 0))),
        Contender::new("fabric, 0, by the bridge", by_bridge.and_then(|fabric| judged(fabric, 0))),
    ];
    for size in SIZES {
        pairs.push(Contender::new(format!("fabric, {size}"), fabric.clone().and_then(|it| judged(it, size))));
    }
    let mut hosts = Vec::new();
    for (who, load) in [("nft", load_nft as fn(&Place, usize) -> Result<(), Absence>), ("iptables", load_iptables)] {
        for size in [0].into_iter().chain(SIZES) {
            let linear = linear(size, load);
            let (pair, host) =
                linear.map_or_else(|why| (Err(why.clone()), Err(why)), |(pair, host)| (Ok(pair), Ok(host)));
            pairs.push(Contender::new(format!("{who}, {size}"), pair));
            hosts.push((size, host));
        }
    }
    let many = format!("fabric, {MANY}");
    let few = Rounds::cold(rounds.min(ROUNDS));
    let mut rows = Vec::new();
    for (measure, unit, meter) in [
        ("TCP connections opened under rules", Unit::PerSecond, connections as fn(&Pair) -> Result<f64, Absence>),
        ("TCP stream under rules", Unit::GigabitsPerSecond, stream),
    ] {
        let mut row = Row::new(measure, unit, contest(&pairs, few, meter));
        for other in ["fabric, 0 rules", "fabric, 0, by the bridge", "fabric, 10"] {
            row.at_least_times(&many, 0.97, other);
        }
        rows.push(row);
    }
    rows.push(changes(fabric.clone(), &hosts, rounds));
    rows.extend(attachments(fabric, rounds));
    rows
}

fn network(size: usize) -> (&'static str, Ipv4Addr) {
    match size {
        0 => ("rules-0", Ipv4Addr::new(10, 110, 0, 1)),
        10 => ("rules-10", Ipv4Addr::new(10, 111, 0, 1)),
        1_000 => ("rules-1000", Ipv4Addr::new(10, 112, 0, 1)),
        _ => ("rules-10000", Ipv4Addr::new(10, 113, 0, 1)),
    }
}

/// The address and the port that a rule is about: nobody's.
fn rule(number: usize) -> (String, usize) {
    (format!("198.18.{}.{}", number / 256, number % 256), 20_000 + number % 20_000)
}

/// A document of as many rules as one has; `port` is that of the first, if another than usually.
fn document(size: usize, number: usize, port: Option<usize>) -> String {
    let (network, _) = network(size);
    let mut text = format!(
        "apiVersion: fabric/v1\nkind: Policy\nmetadata: {{name: {network}-{number}}}\nnetworks: [{network}]\ningress:\n"
    );
    let first = number * OF_A_POLICY;
    for place in first..size.min(first + OF_A_POLICY) {
        let (address, usual) = rule(place);
        let port = port.filter(|_| place == first).unwrap_or(usual);
        let _ = writeln!(text, "- {{action: deny, from: [{{cidr: {address}/32}}], ports: [{port}]}}");
    }
    text
}

/// Two containers of a network with so many rules, each of which is about somebody else.
fn judged(fabric: &Fabric, size: usize) -> Result<Pair, Absence> {
    let (network, gateway) = network(size);
    fabric.make_network(network, &format!("{gateway}/16").replace(".0.1/", ".0.0/"))?;
    let on_it = || fabric.sleeper_with(&["--network", network]);
    let ends = [on_it()?, on_it()?];
    let documents: Vec<String> = (0..size.div_ceil(OF_A_POLICY)).map(|number| document(size, number, None)).collect();
    if size > 0 {
        apply(fabric, &documents.join("---\n"))?;
    }
    Ok(Pair { ends, _places: Vec::new() })
}

fn apply(fabric: &Fabric, text: &str) -> Result<(), Absence> {
    let body = json!({ "files": [{ "name": "rules.yaml", "text": text }] });
    fabric.post("/v1/policies", &body.to_string())
}

/// Two ends on a bridge whose packets are judged by so many rules one after the other, and the host that does.
fn linear(size: usize, load: fn(&Place, usize) -> Result<(), Absence>) -> Result<(Pair, Place), Absence> {
    let (pair, host) = bridged()?;
    host.sh("echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables")?;
    load(&host, size)?;
    Ok((pair, host))
}

fn load_nft(host: &Place, size: usize) -> Result<(), Absence> {
    let mut text = "table inet linear { chain forward { type filter hook forward priority 0;\n\
                    ct state established,related accept\n"
        .to_owned();
    for number in 0..size {
        let (address, port) = rule(number);
        let _ = writeln!(text, "ip saddr {address} tcp dport {port} drop");
    }
    text.push_str("}\n}\n");
    feed(host.command("nft").args(["-f", "-"]), &text).map(drop)
}

fn load_iptables(host: &Place, size: usize) -> Result<(), Absence> {
    let mut text = "*filter\n-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n".to_owned();
    for number in 0..size {
        let (address, port) = rule(number);
        let _ = writeln!(text, "-A FORWARD -s {address} -p tcp --dport {port} -j DROP");
    }
    text.push_str("COMMIT\n");
    feed(&mut host.command("iptables-restore"), &text).map(drop)
}

/// Connections opened in a second, one after the other, each accepted and then torn down at once: so none waits for one
/// before it.
fn connections(Pair { ends: [server, client], .. }: &Pair) -> Result<f64, Absence> {
    let said = |error: std::io::Error| error.to_string();
    let address = format!("{}:{PORT}", server.address).parse::<SocketAddr>().map_err(|error| error.to_string())?;
    let listener = enter(server.pid, move || TcpListener::bind(address).map_err(said))?;
    let open = move || -> Result<f64, Absence> {
        let (start, mut count) = (Instant::now(), 0_u32);
        while start.elapsed() < WHILE {
            let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).map_err(said)?;
            let accepted = listener.accept().map_err(said)?;
            // Its port is free at once.
            set_socket_linger(&stream, Some(Duration::ZERO)).map_err(|error| error.to_string())?;
            drop((stream, accepted));
            count += 1;
        }
        Ok(f64::from(count) / start.elapsed().as_secs_f64())
    };
    enter(client.pid, open)
}

/// One that changes one of many rules, and says how long that took.
type Changer<'a> = Box<dyn Fn() -> Result<f64, Absence> + 'a>;

/// How long it takes to change one of many rules.
fn changes(fabric: Result<&Fabric, Absence>, hosts: &[(usize, Result<Place, Absence>)], rounds: usize) -> Row {
    let turn = Cell::new(0);
    // A port that no rule is about yet.
    let next_port = || {
        turn.set(turn.get() + 1);
        45_000 + turn.get() % 10_000
    };
    let next_port = &next_port;
    let timed = |act: &dyn Fn() -> Result<(), Absence>| {
        let start = Instant::now();
        act().map(|()| milliseconds(start.elapsed()))
    };
    let policy = MANY / OF_A_POLICY / 2;
    let by_fabric = |measure: &'static (dyn Fn(&Fabric, &str) -> Result<f64, Absence> + Sync)| {
        let fabric = fabric.clone()?;
        Ok(Box::new(move || measure(fabric, &document(MANY, policy, Some(next_port())))) as Changer<'_>)
    };
    let place = policy * OF_A_POLICY;
    let of_many = hosts.iter().filter(|(size, _)| *size == MANY);
    let mut hosts = of_many.map(|(_, host)| host.as_ref().map_err(Clone::clone));
    let mut host = || hosts.next().unwrap_or_else(|| Err("not started".to_owned()));
    let nft = host().and_then(|host| {
        let (address, port) = rule(place);
        let listed = host.sh("nft -a list chain inet linear forward")?;
        let shown = format!("ip saddr {address} tcp dport {port} drop # handle ");
        let handle = listed.lines().find_map(|line| line.trim().strip_prefix(&shown).map(str::to_owned));
        let handle = handle.ok_or("nft lists no such rule")?;
        Ok(Box::new(move || {
            let text = format!(
                "replace rule inet linear forward handle {handle} ip saddr {address} tcp dport {} drop\n",
                next_port()
            );
            timed(&|| feed(host.command("nft").args(["-f", "-"]), &text).map(drop))
        }) as Changer<'_>)
    });
    let iptables = host().map(|host| {
        Box::new(move || {
            let (address, _) = rule(place);
            // The first rule lets through what is established.
            let (number, port) = ((place + 2).to_string(), next_port().to_string());
            let replace = ["-R", "FORWARD", &number, "-s", &address, "-p", "tcp", "--dport", &port, "-j", "DROP"];
            timed(&|| finish(host.command("iptables").args(replace)).map(drop))
        }) as Changer<'_>
    });
    let contenders = [
        Contender::new("fabric, with the kernel", by_fabric(&with_the_kernel)),
        Contender::new("fabric, the whole request", by_fabric(&whole_request)),
        Contender::new("nft", nft),
        Contender::new("iptables", iptables),
    ];
    let outcomes = contest(&contenders, Rounds::warmed(rounds), |change| change());
    let mut row = Row::new(format!("change one of {MANY} rules"), Unit::Milliseconds, outcomes);
    row.at_most("fabric, with the kernel", 5.0);
    row
}

fn whole_request(fabric: &Fabric, document: &str) -> Result<f64, Absence> {
    let start = Instant::now();
    apply(fabric, document)?;
    Ok(milliseconds(start.elapsed()))
}

/// What of the request is finding out what the kernel lacks, and telling it.
fn with_the_kernel(fabric: &Fabric, document: &str) -> Result<f64, Absence> {
    let before = fabric.reconciled()?;
    apply(fabric, document)?;
    Ok(milliseconds(fabric.reconciled()?.saturating_sub(before)))
}

/// How long an attach takes under many rules and under none, and what the rules are of it.
fn attachments(fabric: Result<&Fabric, Absence>, rounds: usize) -> [Row; 2] {
    let attacher = |size: usize| {
        let (network, gateway) = network(size);
        super::attach::fabric(fabric.clone()?, network, gateway, Way::Socket)
    };
    let who = [format!("fabric, {MANY}"), "fabric, 0 rules".to_owned()];
    let contenders = [Contender::new(&who[0], attacher(MANY)), Contender::new(&who[1], attacher(0))];
    let outcomes = contest(&contenders, Rounds::warmed(rounds), |attacher: &Attacher<'_>| {
        let start = Instant::now();
        (attacher.attach)()?;
        let taken = milliseconds(start.elapsed());
        (attacher.detach)()?;
        Ok(taken)
    });
    let row = Row::new("attach by the socket, under rules", Unit::Milliseconds, outcomes);
    let [many, none] = who.each_ref().map(|who| row.median(who));
    let work = many.zip(none).map(|(many, none)| vec![many - none]);
    let result =
        work.map_or_else(|| Measured::NotRun("not measured".to_owned()), |work| Measured::Values(Sample::new(work)));
    let results = vec![Outcome { who: "fabric".to_owned(), result }];
    let mut difference = Row::new(format!("what {MANY} rules add to that"), Unit::Milliseconds, results);
    difference.at_most("fabric", 1.0);
    [row, difference]
}
