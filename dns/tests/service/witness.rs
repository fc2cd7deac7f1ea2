//! Whoever is told of answers before containers are.

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dns::{Answered, ForwarderConfig, HostUpstreams, Noted, Server, Withheld, Witness, Zones};
use hickory_proto::{op::ResponseCode, rr::RecordType};
use tokio::sync::Semaphore;

use crate::{
    Running,
    client::{Client, addresses, query},
    free_port, listeners, snapshot,
    upstream::{Reaction, Upstream, answer},
};

/// One who wants to know of `example.com` and below.
#[derive(Debug)]
struct Teacher {
    told: Mutex<Vec<Answered>>,
    /// A permit for each answer that may leave; without `holds` all may at once.
    permits: Arc<Semaphore>,
    holds: AtomicBool,
    refuses: AtomicBool,
}

impl Witness for Teacher {
    fn is_concerned(&self, name: &str) -> bool {
        name.ends_with("example.com")
    }

    fn tell(&self, answer: Answered) -> Option<Noted> {
        self.told.lock().expect("no test panics with it").push(answer);
        let outcome = if self.refuses.load(Ordering::SeqCst) { Err(Withheld("it is refused")) } else { Ok(()) };
        let permits = self.permits.clone();
        self.holds.load(Ordering::SeqCst).then(|| -> Noted {
            Box::pin(async move {
                permits.acquire().await.expect("nobody closes it").forget();
                outcome
            })
        })
    }
}

impl Teacher {
    fn told(&self) -> Vec<(String, String)> {
        let told = std::mem::take(&mut *self.told.lock().expect("no test panics with it"));
        told.into_iter().map(|answer| (answer.container.to_string(), answer.name)).collect()
    }
}

/// A server whose upstream says 192.0.2.7 of every name, for a day.
async fn start(n: u8) -> (Running, Upstream, Arc<Teacher>) {
    let upstream = Upstream::start(|_, _, query| {
        let record = b"\xc0\x0c\0\x01\0\x01\0\x01\x51\x80\0\x04\xc0\0\x02\x07";
        let mut reply = answer(query, 0, record);
        reply[7] = 1;
        Reaction::Send(vec![reply])
    })
    .await;
    let teacher = Arc::new(Teacher {
        told: Mutex::default(),
        permits: Arc::new(Semaphore::new(0)),
        holds: AtomicBool::new(true),
        refuses: AtomicBool::new(false),
    });
    let (zones, config) =
        (Zones::new(snapshot(n)), ForwarderConfig::new(HostUpstreams::Fixed([upstream.address].into())));
    let config = ForwarderConfig { timeout: Duration::from_secs(20), deadline: Duration::from_secs(50), ..config };
    let server = Server::witnessed(zones.clone(), config, 0, teacher.clone()).expect("threads can be made");
    let running = Running { n, port: free_port([127, n, 0, 1].into()), zones, server };
    running.server.listen(listeners(running.gateways())).await.expect("the addresses are free");
    (running, upstream, teacher)
}

const A_WHILE: Duration = Duration::from_millis(300);

#[tokio::test]
async fn an_answer_leaves_when_its_witness_says_so_however_it_is_asked_for() {
    let (running, upstream, teacher) = start(71).await;
    let [api, proxy] = [2, 3].map(|last| Client::new(running.address(0, last), running.gateway(0)));
    let asked = query("WWW.example.com", RecordType::A);
    // The last two find it in the cache.
    for (round, told) in ["api", "proxy", "proxy"].into_iter().enumerate() {
        let client = if told == "api" { &api } else { &proxy };
        assert_eq!(client.udp_within(&asked, A_WHILE).await, None, "{round}: it is held");
        assert_eq!(teacher.told(), [(told.to_owned(), "www.example.com".to_owned())]);
    }
    assert_eq!(upstream.count(), 1);
    // Those of before are waiting still.
    teacher.permits.add_permits(6);
    let (first, second, third) = tokio::join!(api.udp(&asked), proxy.tcp(&asked), proxy.udp(&asked));
    for reply in [first, second, third].map(|reply| reply.expect("an answer")) {
        assert_eq!(addresses(&reply), Ok(vec![[192, 0, 2, 7].into()]));
        assert_eq!(reply[reply.len() - 10..reply.len() - 6], 3600_u32.to_be_bytes(), "no longer than an hour");
    }
    assert_eq!(teacher.told().len(), 3);
    // One who has nothing to wait for keeps nobody.
    teacher.holds.store(false, Ordering::SeqCst);
    api.udp(&asked).await.expect("an answer");
    let told = std::mem::take(&mut *teacher.told.lock().expect("no test panics with it"));
    assert_eq!(told[0].addresses, [(IpAddr::from([192, 0, 2, 7]), Duration::from_secs(3600))]);
}

#[tokio::test]
async fn what_is_withheld_is_a_failure_and_what_is_of_no_concern_goes_at_once() {
    let (running, upstream, teacher) = start(72).await;
    let client = Client::new(running.address(0, 2), running.gateway(0));
    teacher.refuses.store(true, Ordering::SeqCst);
    teacher.permits.add_permits(2);
    for from in ["the upstream", "the cache"] {
        assert_eq!(client.addresses("www.example.com").await, Err(ResponseCode::ServFail), "from {from}");
    }
    assert_eq!((upstream.count(), teacher.told().len()), (1, 2));
    assert_eq!(client.addresses("www.example.org").await, Ok(vec![[192, 0, 2, 7].into()]));
    // What a person asks, and what the host does, teaches nobody.
    let viewer = dns::Viewer::Container { address: running.address(0, 2).into(), gateway: running.gateway(0).ip() };
    let looked_up = running.server.look_up(viewer, "www.example.com", dns::RecordType::A).await;
    assert!(looked_up.is_ok());
    let host = Client::new(running.address(0, 1), running.gateway(0));
    assert_eq!(host.addresses("www.example.com").await, Ok(vec![[192, 0, 2, 7].into()]));
    assert_eq!(teacher.told(), []);
}
