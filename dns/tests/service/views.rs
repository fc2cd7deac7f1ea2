//! Who sees which names.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hickory_proto::op::ResponseCode;

use crate::{Running, attachment, client::Client};

#[tokio::test]
async fn each_client_sees_the_names_of_its_networks() {
    let running = Running::start(11, Vec::new()).await;
    let [api, proxy, db] = [(0, 2), (0, 3), (1, 5)].map(|(third, fourth)| running.address(third, fourth));
    let (web, back) = (running.gateway(0), running.gateway(1));
    let back_proxy = running.address(1, 3);
    let host = running.address(0, 1);
    let missing = Err(ResponseCode::NXDomain);
    for (source, gateway, name, expected) in [
        (api, web, "api", Ok(vec![api])),
        (api, web, "PROXY", Ok(vec![proxy])),
        (api, web, "proxy.web", Ok(vec![proxy])),
        (api, web, "proxy.web.fabric.internal", Ok(vec![proxy])),
        (api, web, "db", missing.clone()),
        (api, back, "db", missing.clone()),
        (api, back, "api", Ok(vec![api])),
        (db, back, "proxy", Ok(vec![back_proxy])),
        (db, back, "api", missing.clone()),
        (proxy, web, "db", Ok(vec![db])),
        (proxy, back, "api", Ok(vec![api])),
        (host, web, "api", Ok(vec![api])),
        (host, web, "db", missing.clone()),
        (running.address(0, 99), web, "api", Err(ResponseCode::Refused)),
    ] {
        let answer = Client::new(source, gateway).addresses(name).await;
        assert_eq!(answer, expected, "{source} asks {gateway} for {name}");
    }
    running.server.shutdown().await;
}

#[tokio::test]
async fn who_is_neither_container_nor_host_gets_no_sign_of_life() {
    let running = Running::start(12, Vec::new()).await;
    let stranger = Client::new([127, 0, 0, 1].into(), running.gateway(0));
    let query = crate::client::query("api", hickory_proto::rr::RecordType::A);
    assert_eq!(stranger.udp_within(&query, Duration::from_millis(300)).await, None);
    assert_eq!(stranger.tcp(&query).await, None);
    running.server.shutdown().await;
}

#[tokio::test]
async fn the_publishing_of_a_name_is_seen_by_the_next_query() {
    let running = Running::start(13, Vec::new()).await;
    let client = Client::new(running.address(0, 2), running.gateway(0));
    let address = running.address(0, 77);
    for _ in 0..50 {
        assert_eq!(client.addresses("new").await, Err(ResponseCode::NXDomain));
        let new = attachment("web", "new", address.octets());
        running.zones.publish(running.zones.snapshot().with_attachment(new).expect("it fits"));
        assert_eq!(client.addresses("new").await, Ok(vec![address]));
        running.zones.publish(running.zones.snapshot().without_attachment(address.into()));
    }
    running.server.shutdown().await;
}

/// Two names change places in one snapshot; whoever sees one of them has to see both as of one moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_change_under_load_without_a_wrong_answer() {
    let running = Running::start(14, Vec::new()).await;
    let [first, second] = [running.address(0, 50), running.address(0, 51)];
    let states = ["one", "two"].map(|name| {
        [first, second].into_iter().fold(crate::snapshot(14), |snapshot, address| {
            snapshot.with_attachment(attachment("web", name, address.octets())).expect("it fits")
        })
    });
    running.zones.publish(states[0].clone());
    let stop = Arc::new(AtomicBool::new(false));
    let askers: Vec<_> = (0..4)
        .map(|_| {
            let (client, stop) = (Client::new(running.address(0, 2), running.gateway(0)), stop.clone());
            tokio::spawn(async move {
                loop {
                    for name in ["one", "two"] {
                        match client.addresses(name).await {
                            Ok(mut found) => {
                                found.sort();
                                assert_eq!(found, [first, second], "half a snapshot");
                            }
                            Err(code) => assert_eq!(code, ResponseCode::NXDomain),
                        }
                    }
                    assert_eq!(client.addresses("api").await.expect("it never changes").len(), 1);
                    // Each has asked at least once, however late it was given a processor.
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
            })
        })
        .collect();
    for round in 0..20_000 {
        running.zones.publish(states[round % 2].clone());
        if round % 50 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    for asker in askers {
        asker.await.expect("no answer was wrong");
    }
    running.server.shutdown().await;
}
