//! What containers, the host and strangers send to the DNS server, and what they learn from it.
//!
//! The first octet says who asks, and how; the rest is the message.

#![no_main]

mod message;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, LazyLock},
};

use dns::{
    Attachment, DEFAULT_TTL, Domain, Forwarding, Service, Snapshot, Transport, Viewer, ZoneConfig,
    fuzzing::{Heard, hear, logged},
};
use hickory_proto::{op::Message, rr::RData};
use libfuzzer_sys::{Corpus, fuzz_target};
use message::{HEADER, name_end, question_end};
use model::Protocol;

/// Who asks, the networks that they see, and whether anybody else is ever asked for them.
struct Asker {
    viewer: Viewer,
    sees: &'static [&'static str],
    upstream: bool,
}

static ASKERS: LazyLock<[Asker; 7]> = LazyLock::new(|| {
    let asker = |address: &str, gateway: &str, sees, upstream| Asker {
        viewer: Viewer::Container { address: parsed(address), gateway: parsed(gateway) },
        sees,
        upstream,
    };
    [
        asker("10.1.0.2", "10.1.0.1", &["web", "db"], true),
        asker("fd00:2::3", "fd00:2::1", &["db"], true),
        // On a network without a way out.
        asker("10.3.0.2", "10.3.0.1", &["vault"], false),
        // The host by a gateway, and nobody that is known, on a network and off all of them.
        asker("10.1.0.1", "10.1.0.1", &["web"], true),
        asker("10.1.0.250", "10.1.0.1", &[], false),
        asker("192.0.2.1", "10.1.0.1", &[], false),
        Asker { viewer: Viewer::Host, sees: &["web", "db", "vault"], upstream: false },
    ]
});

static SNAPSHOT: LazyLock<Snapshot> = LazyLock::new(|| {
    let upstreams: Arc<[SocketAddr]> = ["192.0.2.53:53".parse().expect("literal")].into();
    let snapshot = [
        ("web", ["10.1.0.0/24", "fd00:1::/64"], Forwarding::Host),
        ("db", ["10.2.0.0/24", "fd00:2::/64"], Forwarding::To(upstreams)),
        ("vault", ["10.3.0.0/24", "fd00:3::/64"], Forwarding::Never),
    ]
    .into_iter()
    .fold(Snapshot::new(Domain::default(), DEFAULT_TTL), |snapshot, (name, subnets, forwarding)| {
        let subnets = subnets.map(|range| range.parse().expect("literal")).into();
        snapshot.with_network(ZoneConfig { network: parsed(name), subnets, forwarding }).expect("they are apart")
    });
    let few = [("web", "api", 2), ("db", "api", 2), ("db", "store", 3), ("vault", "safe", 2)];
    // Too many to fit a datagram: the answer is cut.
    let many = (10..100).map(|host| ("web", "replica", host));
    few.into_iter().chain(many).fold(snapshot, |snapshot, (network, container, host)| {
        let net = ["web", "db", "vault"].iter().position(|name| *name == network).expect("one of them") + 1;
        let name = if host < 10 { container.to_owned() } else { format!("{container}-{host}") };
        let attachment = Attachment {
            network: parsed(network),
            container: parsed(&name),
            short_id: format!("0123456789{host:02x}"),
            addresses: vec![parsed(&format!("10.{net}.0.{host}")), parsed(&format!("fd00:{net}::{host:x}"))],
            aliases: vec![parsed("all"), parsed(container)],
            services: vec![
                Service { port: 80.try_into().expect("literal"), protocol: Protocol::Tcp },
                Service { port: 5353.try_into().expect("literal"), protocol: Protocol::Udp },
            ],
            upstreams: Arc::default(),
        };
        snapshot.with_attachment(attachment).expect("it fits its network")
    })
});

fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("literal")
}

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some((how, octets)) = input.split_first() else { return Corpus::Reject };
    let asker = &ASKERS[usize::from(how & 0x7f) % ASKERS.len()];
    let (transport, limit) = match how & 0x80 {
        0 => (Transport::Udp, 1232),
        _ => (Transport::Tcp, usize::from(u16::MAX)),
    };
    let chance = u64::from(*how);
    let (reply, forwarded) = match hear(&SNAPSHOT, asker.viewer, transport, chance, octets) {
        Heard::Silence => {
            let is_stranger = asker.viewer == ASKERS[5].viewer;
            assert!(octets.len() < HEADER || octets[2] & 0x80 != 0 || is_stranger, "a query was not answered");
            return Corpus::Keep;
        }
        Heard::Reply(reply) => (reply, false),
        Heard::Forward(reply) => (reply, true),
    };
    assert!(asker.upstream || !forwarded, "what is nobody else's business was passed on");
    assert!(octets[2] & 0x80 == 0 && reply[2] & 0x80 != 0, "a reply to a reply");
    assert_eq!((&reply[..2], reply[2] & 0x78), (&octets[..2], octets[2] & 0x78), "it belongs to the query");
    let message = check(&reply, limit);
    if let Some(question) = message.queries.first() {
        let end = question_end(octets).expect("a question that is repeated could be read");
        assert_eq!(reply[HEADER..end], octets[HEADER..end], "{question}");
    }
    // Without EDNS no datagram is longer than what every client takes (RFC 1035 §4.2.1).
    if transport == Transport::Udp && message.edns.is_none() {
        assert!(reply.len() <= 512);
    }
    for record in message.answers.iter().chain(&message.authorities).chain(&message.additionals) {
        check_view(asker, &record.data);
    }
    // Upper and lower case mean the same.
    let again = match hear(&SNAPSHOT, asker.viewer, transport, chance, &in_lower_case(octets)) {
        Heard::Silence => panic!("only one case of the name is answered"),
        Heard::Reply(reply) | Heard::Forward(reply) => reply,
    };
    assert_eq!(in_lower_case(&reply), in_lower_case(&again));
    if let Some(entry) = logged(octets, &reply) {
        assert!(!entry.name.chars().any(char::is_control), "{entry:?}");
        assert_eq!(usize::from(entry.answers), message.answers.len());
    }
    Corpus::Keep
});

/// Fails if `data` tells of a network that the asker does not see.
fn check_view(asker: &Asker, data: &RData) {
    let sees = |address: IpAddr| {
        let network = SNAPSHOT.network_of(address).expect("only our addresses are answered").0;
        assert!(asker.sees.contains(&network.as_str()), "{address} of `{network}` is told to {:?}", asker.viewer);
    };
    match data {
        RData::A(address) => sees(address.0.into()),
        RData::AAAA(address) => sees(address.0.into()),
        RData::PTR(name) => check_name(asker, &name.0.to_utf8()),
        RData::SRV(service) => check_name(asker, &service.target.to_utf8()),
        RData::SOA(_) | RData::HINFO(_) => {}
        other => panic!("there are no such records: {other:?}"),
    }
}

/// Fails unless `name` is the full name of a container on a network that the asker sees.
fn check_name(asker: &Asker, name: &str) {
    let inner = name.strip_suffix(".fabric.internal.").expect("full names end in the domain");
    let (_, network) = inner.split_once('.').expect("NAME.NETWORK");
    assert!(asker.sees.contains(&network), "{name} is told to {:?}", asker.viewer);
}

/// The message with the name of its first question in lower case.
fn in_lower_case(message: &[u8]) -> Vec<u8> {
    let mut lower = message.to_vec();
    if let Some(name) = name_end(message).and_then(|end| lower.get_mut(HEADER..end)) {
        name.make_ascii_lowercase();
    }
    lower
}

/// Fails unless `reply` is a whole message of at most `limit` octets, by our own reading and by somebody else's.
fn check(reply: &[u8], limit: usize) -> Message {
    assert!(reply.len() <= limit, "{} octets where {limit} fit: {reply:02x?}", reply.len());
    assert!(dns::ReplyText::read(reply).is_some(), "not readable: {reply:02x?}");
    Message::from_vec(reply).unwrap_or_else(|error| panic!("{error}: {reply:02x?}"))
}
