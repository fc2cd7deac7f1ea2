//! Names that are not ours.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::RecordType,
};

use tokio::{sync::Notify, time::timeout};

use crate::{
    Running, at_best,
    client::{Client, PATIENCE, query, read_framed, write_framed},
    ensure,
    upstream::{Reaction, Upstream, answer, truncated},
};

fn silent() -> Reaction {
    Reaction::Send(Vec::new())
}

fn code(reply: &[u8]) -> ResponseCode {
    Message::from_vec(reply).expect("a well-formed answer").metadata.response_code
}

#[tokio::test]
async fn octets_go_through_both_ways_with_nothing_but_the_id_changed() {
    let upstream = Upstream::start(|_, _, query| Reaction::Send(vec![answer(query, 0, b"\xffwhatever\0")])).await;
    let running = Running::start(21, vec![upstream.address]).await;
    let client = Client::new(running.address(0, 2), running.gateway(0));
    // A type nobody knows, and an EDNS option nobody knows.
    let mut asked = query("eXample.COM", RecordType::from(65_280));
    asked[11] = 1;
    asked.extend(*b"\0\0\x29\x04\xd0\0\0\0\0\0\x06\xfd\xe9\0\x02hi");
    for transport in ["UDP", "TCP"] {
        let reply = match transport {
            "UDP" => client.udp(&asked).await,
            _ => client.tcp(&asked).await,
        };
        assert_eq!(reply.expect("an answer"), answer(&asked, 0, b"\xffwhatever\0"), "{transport}");
    }
    let seen = upstream.seen.lock().expect("nobody panicked");
    let [first, second] = &**seen else { panic!("one query each way, not {seen:?}") };
    assert_eq!((first.tcp, second.tcp), (false, true));
    assert_eq!((&first.query[2..], &second.query[2..]), (&asked[2..], &asked[2..]));
}

#[tokio::test]
async fn what_becomes_of_queries_is_counted() {
    let delay = Duration::from_millis(20);
    let upstream = Upstream::start(move |_, _, query| {
        std::thread::sleep(delay);
        Reaction::Send(vec![answer(query, 0, &[])])
    })
    .await;
    let running = Running::start(61, vec![upstream.address]).await;
    let client = Client::new(running.address(0, 2), running.gateway(0));
    let own = query("proxy.fabric.internal", RecordType::A);
    let other = query("example.com", RecordType::A);
    client.udp(&own).await.expect("an answer");
    client.tcp(&own).await.expect("an answer");
    client.udp(&own).await.expect("an answer");
    client.tcp(&other).await.expect("an answer");
    // To an answer nothing is said.
    let mut response = own.clone();
    response[2] |= 0x80;
    assert_eq!(client.udp_within(&response, Duration::from_millis(200)).await, None);
    let begin = Instant::now();
    while running.server.counts().ignored == 0 && begin.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // What a person asks the daemon is no query of a client.
    let viewer = dns::Viewer::Container { address: running.address(0, 2).into(), gateway: running.gateway(0).ip() };
    running.server.look_up(viewer, "proxy.fabric.internal", dns::RecordType::A).await.expect("a name");
    let counts = running.server.counts();
    assert_eq!((counts.udp.zone, counts.tcp.zone), (2, 1));
    assert_eq!((counts.udp.upstream, counts.tcp.upstream), (0, 1));
    assert_eq!((counts.udp.failure, counts.ignored, counts.dropped), (0, 1, 0));
    assert!(counts.waited >= delay && counts.waited < 500 * delay, "{:?}", counts.waited);
}

#[tokio::test]
async fn ids_and_ports_are_not_to_be_guessed() {
    let upstream = Upstream::start(|_, _, query| Reaction::Send(vec![answer(query, 0, &[])])).await;
    let running = Running::start(22, vec![upstream.address]).await;
    let client = Client::new(running.address(0, 2), running.gateway(0));
    for _ in 0..64 {
        client.udp(&query("example.com", RecordType::A)).await.expect("an answer");
    }
    let seen = upstream.seen.lock().expect("nobody panicked");
    let distinct = |mut values: Vec<u16>| {
        values.sort_unstable();
        values.dedup();
        values.len()
    };
    assert!(distinct(seen.iter().map(|seen| seen.source.port()).collect()) > 55);
    assert!(distinct(seen.iter().map(|seen| u16::from_be_bytes([seen.query[0], seen.query[1]])).collect()) > 60);
}

#[tokio::test]
async fn a_silent_upstream_costs_a_second_once() {
    at_best(async || {
        let dead = Upstream::start(|_, _, _| silent()).await;
        let alive = Upstream::start(|_, _, query| Reaction::Send(vec![answer(query, 0, &[])])).await;
        let running = Running::start_as_usual(23, vec![dead.address, alive.address]).await;
        let client = Client::new(running.address(0, 2), running.gateway(0));
        for (round, least, most) in [(0, 900, 2000), (1, 0, 500), (2, 0, 500)] {
            let start = Instant::now();
            client.udp(&query("example.com", RecordType::A)).await.expect("an answer");
            let taken = start.elapsed().as_millis();
            ensure((least..most).contains(&taken), format!("round {round} took {taken} ms"))?;
        }
        let asked = (dead.count(), alive.count());
        ensure(asked == (1, 3), asked)
    })
    .await;
}

#[tokio::test]
async fn a_lost_datagram_is_sent_again() {
    at_best(async || {
        let upstream = Upstream::start(|count, _, query| match count {
            0 => silent(),
            _ => Reaction::Send(vec![answer(query, 3, &[])]),
        })
        .await;
        let running = Running::start_as_usual(24, vec![upstream.address]).await;
        let client = Client::new(running.address(0, 2), running.gateway(0));
        let reply = client.udp(&query("example.com", RecordType::A)).await.expect("an answer");
        ensure(code(&reply) == ResponseCode::NXDomain, code(&reply))
    })
    .await;
}

#[tokio::test]
async fn who_refuses_is_passed_over() {
    let refuses = Upstream::start(|_, _, query| Reaction::Send(vec![answer(query, 5, &[])])).await;
    let fails = Upstream::start(|_, _, query| Reaction::Send(vec![answer(query, 2, &[])])).await;
    let answers = Upstream::start(|_, _, query| Reaction::Send(vec![answer(query, 0, b"yes")])).await;
    let running = Running::start(25, vec![refuses.address, fails.address, answers.address]).await;
    let client = Client::new(running.address(0, 2), running.gateway(0));
    let asked = query("example.com", RecordType::A);
    assert_eq!(client.udp(&asked).await.expect("an answer"), answer(&asked, 0, b"yes"));

    let before = (refuses.count(), fails.count());
    let running = Running::start(33, vec![refuses.address, fails.address]).await;
    let client = Client::new(running.address(0, 2), running.gateway(0));
    assert_eq!(code(&client.udp(&asked).await.expect("an answer")), ResponseCode::ServFail);
    let asked_now = (refuses.count() - before.0, fails.count() - before.1);
    assert_eq!(asked_now, (1, 1), "nobody is asked twice to say no");
}

#[tokio::test]
async fn forged_answers_are_not_taken() {
    let upstream = Upstream::start(|_, _, query| {
        let mut other_id = answer(query, 0, b"forged");
        other_id[0] ^= 1;
        let mut other_name = answer(query, 0, b"forged");
        other_name[13] ^= 1;
        let not_a_response = query.to_vec();
        Reaction::Send(vec![vec![], vec![0; 5], other_id, other_name, not_a_response, answer(query, 0, b"true")])
    })
    .await;
    let running = Running::start(26, vec![upstream.address]).await;
    let client = Client::new(running.address(0, 2), running.gateway(0));
    let asked = query("example.com", RecordType::A);
    assert_eq!(client.udp(&asked).await.expect("an answer"), answer(&asked, 0, b"true"));
}

#[tokio::test]
async fn truncated_answers_are_fetched_by_tcp() {
    let upstream = Upstream::start(|_, tcp, query| {
        let length = if query.windows(3).any(|part| part == b"big") { 2000 } else { 300 };
        Reaction::Send(vec![if tcp { answer(query, 0, &vec![7; length]) } else { truncated(answer(query, 0, &[])) }])
    })
    .await;
    let running = Running::start(27, vec![upstream.address]).await;
    let client = Client::new(running.address(0, 2), running.gateway(0));
    let (small, big) = (query("small.example.com", RecordType::A), query("big.example.com", RecordType::A));
    // Whoever does not answer by TCP within half a second is not waited for.
    at_best(async || {
        let fetched = client.udp(&small).await.expect("an answer");
        ensure(fetched == answer(&small, 0, &[7; 300]), fetched)
    })
    .await;
    assert_eq!(client.udp(&big).await.expect("an answer"), truncated(answer(&big, 0, &[])));
    assert_eq!(client.tcp(&big).await.expect("an answer"), answer(&big, 0, &[7; 2000]));
}

#[tokio::test]
async fn an_answer_too_large_for_the_client_is_cut() {
    let upstream = Upstream::start(|_, _, query| Reaction::Send(vec![answer(query, 0, &[7; 1000])])).await;
    let running = Running::start(28, vec![upstream.address]).await;
    let client = Client::new(running.address(0, 2), running.gateway(0));
    let asked = query("example.com", RecordType::A);
    assert_eq!(client.udp(&asked).await.expect("an answer"), truncated(answer(&asked, 0, &[])));
}

#[tokio::test]
async fn without_upstreams_names_fail_at_once() {
    let running = Running::start_as_usual(29, Vec::new()).await;
    let client = Client::new(running.address(0, 2), running.gateway(0));
    at_best(async || {
        let start = Instant::now();
        assert_eq!(client.addresses("example.com").await, Err(ResponseCode::ServFail));
        let taken = start.elapsed();
        ensure(taken < Duration::from_secs(1), format!("{taken:?}, later than an upstream's patience ends"))
    })
    .await;
}

#[tokio::test]
async fn when_all_are_silent_the_client_hears_so_in_time() {
    let dead = Upstream::start(|_, _, _| silent()).await;
    let running = Running::start_as_usual(30, vec![dead.address]).await;
    let client = Client::new(running.address(0, 2), running.gateway(0));
    at_best(async || {
        let start = Instant::now();
        assert_eq!(client.addresses("example.com").await, Err(ResponseCode::ServFail));
        let taken = start.elapsed();
        ensure(taken < Duration::from_secs(5), format!("{taken:?}, and the C library's patience is 5 s"))
    })
    .await;
}

#[tokio::test]
async fn our_names_are_nobodys_business() {
    let upstream = Upstream::start(|_, _, query| Reaction::Send(vec![answer(query, 0, &[])])).await;
    let running = Running::start(31, vec![upstream.address]).await;
    let client = Client::new(running.address(0, 2), running.gateway(0));
    for name in ["nobody", "db", "nobody.web", "x.y.fabric.internal", "9.0.31.127.in-addr.arpa"] {
        assert_eq!(client.addresses(name).await, Err(ResponseCode::NXDomain), "{name}");
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn one_clients_flood_leaves_upstreams_to_others() {
    let upstream =
        Upstream::start(|_, _, query| Reaction::Later(Duration::from_millis(600), answer(query, 0, &[]))).await;
    let running = Running::start(32, vec![upstream.address]).await;
    let flood = tokio::net::UdpSocket::bind((running.address(0, 2), 0)).await.expect("loopback has free ports");
    for _ in 0..2000 {
        flood.send_to(&query("flood.example.com", RecordType::A), running.gateway(0)).await.expect("loopback");
    }
    let other = Client::new(running.address(0, 3), running.gateway(0));
    assert_eq!(other.addresses_at_last("example.com").await, Ok(Vec::new()), "answered by the upstream");
    assert_eq!(other.addresses_at_last("api").await, Ok(vec![running.address(0, 2)]));
    assert!(upstream.count() <= 65, "{}", upstream.count());
}

#[tokio::test]
async fn a_slow_upstream_holds_up_no_other_query_of_a_connection() {
    let told = Arc::new(Notify::new());
    let waits = told.clone();
    let upstream = Upstream::start(move |earlier, _, query| match earlier {
        0 => Reaction::Told(waits.clone(), answer(query, 0, &[])),
        _ => Reaction::Send(vec![answer(query, 0, &[])]),
    })
    .await;
    let running = Running::start(34, vec![upstream.address]).await;
    let mut stream = Client::new(running.address(0, 2), running.gateway(0)).connect().await;
    let ask = async |stream: &mut _, id, name| {
        let mut asked = query(name, RecordType::A);
        asked[..2].copy_from_slice(&[0, id]);
        write_framed(stream, &asked).await;
    };
    ask(&mut stream, 1, "slow.example.com").await;
    upstream.is_asked(1).await;
    ask(&mut stream, 2, "quick.example.com").await;
    ask(&mut stream, 3, "api").await;
    let mut answered = Vec::new();
    for _ in 0..2 {
        let reply =
            timeout(PATIENCE, read_framed(&mut stream)).await.expect("what is known, or soon heard, does not wait");
        answered.push(reply.expect("an answer")[1]);
    }
    told.notify_one();
    answered.push(read_framed(&mut stream).await.expect("an answer")[1]);
    assert_eq!(answered.last(), Some(&1), "{answered:?}");
}

#[tokio::test]
async fn a_client_that_only_reads_any_more_gets_its_answers() {
    let upstream =
        Upstream::start(|_, _, query| Reaction::Later(Duration::from_millis(200), answer(query, 0, &[]))).await;
    let running = Running::start(35, vec![upstream.address]).await;
    let mut stream = Client::new(running.address(0, 2), running.gateway(0)).connect().await;
    write_framed(&mut stream, &query("example.com", RecordType::A)).await;
    tokio::io::AsyncWriteExt::shutdown(&mut stream).await.expect("it is open");
    assert!(read_framed(&mut stream).await.is_some());
    assert!(read_framed(&mut stream).await.is_none(), "and then the connection ends");
}
