//! How many queries for a thousand names are answered in a second, with one in a thousand lost at most, and what
//! processor time each costs the server.

use std::{
    cell::{Cell, RefCell},
    net::Ipv4Addr,
    time::Duration,
};

use super::{Measured, Outcome, Row};
use crate::{
    ask::{Asking, Load, ask, query},
    competition::Competition,
    contest::{Contender, Rounds, contest},
    peer::{Absence, Fabric, HOLDERS, NAMES, Peer, Resolver, Software, name},
    processor,
    sample::{Sample, Unit},
};

/// How often each is measured, and for how long.
const ROUNDS: usize = 5;
const TIME: Duration = Duration::from_secs(3);
/// How many queries are under way at once: the best of these for each server, found beforehand in a second each.
const WINDOWS: [usize; 4] = [300, 100, 50, 20];
/// In percent.
const LOSS: f64 = 0.1;
const ECHO: &str = "bare UDP echo";

/// One that is asked.
struct Asked<'a> {
    /// The process from whose namespace it is asked.
    client: u32,
    server: Ipv4Addr,
    /// The processes, or the thread, that answer.
    servers: Vec<u32>,
    window: Cell<usize>,
    /// Whether it knows the names, or only sends back what it gets.
    answers: bool,
    queries: &'a [Vec<u8>],
    /// The processor time that a query cost, in microseconds, in each turn.
    costs: RefCell<Vec<f64>>,
}

pub(crate) fn measure(competition: &Competition, rounds: usize) -> Vec<Row> {
    let names = (0..HOLDERS).flat_map(|holder| (0..NAMES).map(move |number| name(holder, number)));
    let queries: Vec<Vec<u8>> = names.map(|name| query(&name)).collect();
    let mut held = Vec::new();
    let own = fabric(competition, &queries, &mut held);
    let resolvers = [
        ("aardvark-dns", Software::Aardvark),
        ("dnsmasq", Software::Dnsmasq),
        ("unbound", Software::Unbound),
        (ECHO, Software::Echo),
    ]
    .map(|(who, software)| (who, Resolver::start(software), !matches!(software, Software::Echo)));
    let mut contenders = vec![Contender::new("fabric", own)];
    contenders.extend(resolvers.iter().map(|(who, resolver, answers)| {
        let asked = |resolver: &Resolver| Asked {
            client: resolver.client.pid(),
            server: Resolver::SERVER,
            servers: vec![resolver.number()],
            window: Cell::new(0),
            answers: *answers,
            queries: &queries,
            costs: RefCell::default(),
        };
        Contender::new(*who, resolver.as_ref().map(asked).map_err(Clone::clone))
    }));
    let rounds = Rounds::warmed(rounds.min(ROUNDS));
    let outcomes = contest(&contenders, rounds, rate);
    let costs = contenders.iter().zip(&outcomes).map(|(contender, outcome)| cost(contender, outcome, rounds));
    let costs = Row::new("the server's processor time for a query", Unit::Microseconds, costs.collect());
    let _ = competition.fabric.remove(&held);
    let mut row = Row::new("DNS queries answered, 1000 names", Unit::PerSecond, outcomes);
    row.at_least_times("fabric", 2.0, "aardvark-dns");
    row.at_least_times("fabric", 1.0, "dnsmasq");
    let shares = row.as_part_of(ECHO, "the same, of what the echo answered");
    vec![row, shares, costs]
}

/// Containers with a hundred aliases each, and one that asks.
fn fabric<'a>(competition: &Competition, queries: &'a [Vec<u8>], held: &mut Vec<String>) -> Result<Asked<'a>, Absence> {
    let fabric = &competition.fabric;
    for holder in 0..HOLDERS {
        let aliases: Vec<String> = (0..NAMES).map(|number| format!("alias={}", name(holder, number))).collect();
        let network = format!("bench:{}", aliases.join(","));
        held.push(fabric.sleeper_with(&["--network", &network])?.id);
    }
    let client = fabric.sleeper()?;
    held.push(client.id);
    Ok(Asked {
        client: client.pid,
        server: Fabric::GATEWAY,
        servers: fabric.daemons(),
        window: Cell::new(0),
        answers: true,
        queries,
        costs: RefCell::default(),
    })
}

/// Answers in a second. The first time, the number of queries under way is chosen.
fn rate(asked: &Asked<'_>) -> Result<f64, Absence> {
    if asked.window.get() == 0 {
        let mut best = None;
        for window in WINDOWS {
            let load = load(asked, window, Duration::from_secs(1))?;
            if load.lost_percent() <= LOSS && best.is_none_or(|(rate, _)| load.rate > rate) {
                best = Some((load.rate, window));
            }
        }
        let (_, window) = best.ok_or_else(|| format!("it loses more than {LOSS} % of queries"))?;
        asked.window.set(window);
    }
    loop {
        let window = asked.window.get();
        let before = processor::time(&asked.servers)?;
        let load = load(asked, window, TIME)?;
        let spent = processor::time(&asked.servers)?.saturating_sub(before);
        if load.lost_percent() <= LOSS {
            asked.costs.borrow_mut().push(spent.as_secs_f64() * 1e6 / load.answered.max(1) as f64);
            return Ok(load.rate);
        }
        if window < 10 {
            return Err(format!("it loses {:.2} % of queries", load.lost_percent()));
        }
        asked.window.set(window / 2);
    }
}

fn load(asked: &Asked<'_>, window: usize, time: Duration) -> Result<Load, Absence> {
    let Asked { client, queries, answers, .. } = *asked;
    ask(&Asking { client, server: (asked.server, 53).into(), queries, window, time, answers })
}

/// What the turns cost that were counted.
fn cost(contender: &Contender<Asked<'_>>, outcome: &Outcome, rounds: Rounds) -> Outcome {
    let result = match (&outcome.result, &contender.entry) {
        (Measured::Values(_), Ok(asked)) => {
            Measured::Values(Sample::new(asked.costs.borrow()[rounds.warming..].into()))
        }
        (Measured::NotRun(why), _) | (_, Err(why)) => Measured::NotRun(why.clone()),
    };
    Outcome { who: outcome.who.clone(), result }
}
