use hickory_proto::{
    op::{Edns, Message as Parsed, Query as ParsedQuery, ResponseCode},
    rr::{Name, RData, RecordType as Kind},
};
use proptest::prelude::*;

use super::*;
use crate::decision::tests::{asker, attachment, host, snapshot};

/// `name type` as a query with id 4660, which asks for recursion.
fn query(name: &str, kind: Kind) -> Parsed {
    let mut message = Parsed::query();
    message.metadata.id = 0x1234;
    message.metadata.recursion_desired = true;
    let mut name = Name::from_ascii(name).expect("a name");
    name.set_fqdn(true);
    message.add_query(ParsedQuery::query(name, kind));
    message
}

fn with_edns(mut message: Parsed, payload: u16, version: u8) -> Parsed {
    let mut edns = Edns::new();
    edns.set_max_payload(payload).set_version(version);
    message.set_edns(edns);
    message
}

fn octets(message: &Parsed) -> Vec<u8> {
    message.to_vec().expect("it can be encoded")
}

/// What became of a query: the reply's octets, or the word.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Silence,
    Reply(Vec<u8>),
    Forward(usize),
}

fn outcome(snapshot: &Snapshot, asker: Asker, transport: Transport, chance: u64, octets: &[u8]) -> Outcome {
    // A buffer that was used before.
    let mut reply = vec![0xff; 700];
    match step(snapshot, asker, transport, chance, octets, &mut reply) {
        Step::Silence => Outcome::Silence,
        Step::Reply => Outcome::Reply(reply),
        Step::Forward { limit, .. } => Outcome::Forward(limit),
    }
}

fn ask(transport: Transport, octets: &[u8]) -> Outcome {
    outcome(&snapshot(), asker("10.1.0.2", "10.1.0.1"), transport, 0, octets)
}

fn reply(outcome: Outcome) -> Parsed {
    match outcome {
        Outcome::Reply(octets) => Parsed::from_vec(&octets).expect("replies are well-formed"),
        other => panic!("a reply was expected, not {other:?}"),
    }
}

#[test]
fn an_answer_is_authoritative_short_lived_and_in_the_clients_case() {
    let reply = reply(ask(Transport::Udp, &octets(&query("aPi.WEB.fabric.Internal", Kind::A))));
    assert_eq!(reply.metadata.id, 0x1234);
    assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
    assert!(reply.metadata.authoritative && reply.metadata.recursion_available && reply.metadata.recursion_desired);
    assert_eq!(reply.answers.len(), 1);
    assert_eq!(reply.answers[0].data, RData::A(hickory_proto::rr::rdata::A([10, 1, 0, 2].into())));
    assert_eq!(reply.answers[0].name.to_ascii(), "aPi.WEB.fabric.Internal.");
    assert_eq!(reply.queries[0].name().to_ascii(), "aPi.WEB.fabric.Internal.");
    assert!(reply.answers[0].ttl <= 10);
    assert!(reply.edns.is_none(), "a client without EDNS gets none");
}

#[test]
fn absence_is_told_with_the_zone_that_knows() {
    for (name, kind, code, zone) in [
        ("proxy", Kind::AAAA, ResponseCode::NoError, "."),
        ("nobody", Kind::A, ResponseCode::NXDomain, "."),
        ("proxy.web", Kind::AAAA, ResponseCode::NoError, "web."),
        ("proxy.web.fabric.internal", Kind::AAAA, ResponseCode::NoError, "fabric.internal."),
        ("nobody.web.fabric.internal", Kind::A, ResponseCode::NXDomain, "fabric.internal."),
        ("9.0.1.10.in-addr.arpa", Kind::PTR, ResponseCode::NXDomain, "0.1.10.in-addr.arpa."),
    ] {
        let reply = reply(ask(Transport::Udp, &octets(&query(name, kind))));
        assert_eq!(reply.metadata.response_code, code, "{name}");
        assert!(reply.metadata.authoritative, "{name}");
        assert!(reply.answers.is_empty(), "{name}");
        let [authority] = &*reply.authorities else { panic!("{name}: one SOA record was expected") };
        assert_eq!(authority.name.to_ascii(), zone, "{name}");
        assert!(matches!(&authority.data, RData::SOA(soa) if soa.minimum <= 10), "{name}");
    }
}

#[test]
fn queries_are_refused_by_header() {
    let plain = octets(&query("api", Kind::A));
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut octets = plain.clone();
        change(&mut octets);
        octets
    };
    let end = plain.len();
    for (what, octets, code) in [
        ("opcode STATUS", changed(&|octets| octets[2] |= 2 << 3), ResponseCode::NotImp),
        ("opcode UPDATE", changed(&|octets| octets[2] |= 5 << 3), ResponseCode::NotImp),
        ("no question", changed(&|octets| octets[5] = 0), ResponseCode::FormErr),
        ("two questions", changed(&|octets| octets[5] = 2), ResponseCode::FormErr),
        ("many questions", changed(&|octets| octets[4] = 255), ResponseCode::FormErr),
        ("cut", changed(&|octets| octets.truncate(20)), ResponseCode::FormErr),
        ("header only", changed(&|octets| octets.truncate(12)), ResponseCode::FormErr),
        ("pointer to itself", changed(&|octets| octets[12..14].copy_from_slice(&[0xc0, 12])), ResponseCode::FormErr),
        ("pointer forward", changed(&|octets| octets[12..14].copy_from_slice(&[0xc0, 99])), ResponseCode::FormErr),
        ("label of 64", changed(&|octets| octets[12] = 64), ResponseCode::FormErr),
        ("missing record", changed(&|octets| octets[11] = 1), ResponseCode::FormErr),
        ("class CH", changed(&|octets| octets[end - 1] = 3), ResponseCode::Refused),
        ("class ANY", changed(&|octets| octets[end - 1] = 255), ResponseCode::Refused),
    ] {
        let reply = reply(ask(Transport::Udp, &octets));
        assert_eq!(reply.metadata.response_code, code, "{what}");
        assert_eq!(reply.metadata.id, 0x1234, "{what}");
        assert!(reply.answers.is_empty(), "{what}");
    }
}

#[test]
fn responses_fragments_and_strangers_get_silence() {
    let plain = octets(&query("api", Kind::A));
    let mut response = plain.clone();
    response[2] |= 0x80;
    assert_eq!(ask(Transport::Udp, &response), Outcome::Silence);
    response.truncate(14);
    assert_eq!(ask(Transport::Udp, &response), Outcome::Silence, "not even a malformed one");
    for length in 0..12 {
        assert_eq!(ask(Transport::Udp, &plain[..length]), Outcome::Silence, "{length}");
    }
    for stranger in ["192.0.2.1", "2001:db8::1"] {
        assert_eq!(
            outcome(&snapshot(), asker(stranger, "10.1.0.1"), Transport::Udp, 0, &plain),
            Outcome::Silence,
            "{stranger}"
        );
    }
}

#[test]
fn edns_is_answered_in_kind() {
    let reply_to = |message: Parsed| reply(ask(Transport::Udp, &octets(&message)));
    let good = reply_to(with_edns(query("api", Kind::A), 4096, 0));
    assert_eq!(good.edns.expect("EDNS").max_payload(), DATAGRAM);
    let bad = reply_to(with_edns(query("api", Kind::A), 4096, 1));
    assert_eq!(u16::from(bad.metadata.response_code), 16, "BADVERS");
    assert_eq!(bad.edns.expect("EDNS").version(), 0);
}

#[test]
fn any_is_answered_with_one_small_record() {
    let reply = reply(ask(Transport::Udp, &octets(&query("pool", Kind::ANY))));
    assert_eq!(reply.answers.len(), 1);
    assert_eq!(reply.answers[0].record_type(), Kind::HINFO);
}

/// Four addresses come first, second, third and last equally often, also where a client always asks for A and AAAA in
/// turn, as the C libraries do.
#[test]
fn several_addresses_are_shuffled_fairly() {
    let mut pool = snapshot();
    for host in 10..14 {
        let replica = attachment("web", &format!("r{host}"), &[&format!("10.1.0.{host}"), &format!("fd00:1::{host}")]);
        let replica = crate::Attachment { aliases: vec!["replicas".parse().expect("a name")], ..replica };
        pool = pool.with_attachment(replica).expect("it fits");
    }
    let query = octets(&query("replicas", Kind::A));
    for stride in [1, 2, 4] {
        let mut places = [[0_u32; 4]; 4];
        for turn in 0..4000 {
            let reply = reply(outcome(&pool, asker("10.1.0.2", "10.1.0.1"), Transport::Udp, turn * stride, &query));
            assert_eq!(reply.answers.len(), 4);
            for (place, record) in reply.answers.iter().enumerate() {
                let RData::A(address) = &record.data else { panic!("an address was expected: {record}") };
                places[place][usize::from(address.octets()[3]) - 10] += 1;
            }
        }
        // 1000 expected; 5 standard deviations of a binomial distribution are 137.
        assert!(places.iter().flatten().all(|count| (863..=1137).contains(count)), "stride {stride}: {places:?}");
    }
}

#[test]
fn services_come_with_their_targets_addresses() {
    let reply = reply(ask(Transport::Udp, &octets(&query("_http._tcp.pool", Kind::SRV))));
    let mut targets: Vec<_> = reply
        .answers
        .iter()
        .map(|record| match &record.data {
            RData::SRV(srv) => format!("{} {} {} {}", srv.priority, srv.weight, srv.port, srv.target),
            other => panic!("SRV was expected: {other}"),
        })
        .collect();
    targets.sort();
    assert_eq!(targets, ["0 1 80 api.web.fabric.internal.", "0 1 80 proxy.web.fabric.internal."]);
    let mut additional: Vec<_> =
        reply.additionals.iter().map(|record| format!("{} {}", record.name, record.data)).collect();
    additional.sort();
    assert_eq!(
        additional,
        [
            "api.web.fabric.internal. 10.1.0.2",
            "api.web.fabric.internal. fd00:1::2",
            "proxy.web.fabric.internal. 10.1.0.3"
        ]
    );
}

#[test]
fn addresses_of_both_families_and_their_names() {
    let answers = |name: &str, kind| {
        let reply = reply(ask(Transport::Udp, &octets(&query(name, kind))));
        reply.answers.iter().map(|record| record.data.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(answers("api", Kind::A), ["10.1.0.2"]);
    assert_eq!(answers("api", Kind::AAAA), ["fd00:1::2"]);
    assert_eq!(answers("2.0.1.10.in-addr.arpa", Kind::PTR), ["api.web.fabric.internal."]);
    let reverse = format!("2{}.1.0.0.0.0.0.d.f.ip6.arpa", ".0".repeat(23));
    assert_eq!(answers(&reverse, Kind::PTR), ["api.web.fabric.internal."]);
}

#[test]
fn other_names_are_forwarded_and_from_internal_networks_refused() {
    let message = octets(&with_edns(query("example.com", Kind::A), 4096, 0));
    assert_eq!(ask(Transport::Udp, &message), Outcome::Forward(1232));
    assert_eq!(ask(Transport::Tcp, &message), Outcome::Forward(65535));
    let mut internal = snapshot();
    for network in ["web", "back", "dev", "six"] {
        let config = internal.zone(&network.parse().expect("a name")).expect("it is there").clone();
        let config = crate::ZoneConfig { forwarding: crate::Forwarding::Never, ..config };
        internal = internal.with_network(config).expect("no overlap");
    }
    let Outcome::Reply(octets) = outcome(&internal, asker("10.1.0.2", "10.1.0.1"), Transport::Udp, 0, &message) else {
        panic!("a refusal was expected");
    };
    assert!(octets.windows(8).any(|window| window == b"internal"), "the reason is told");
    let refusal = Parsed::from_vec(&octets).expect("replies are well-formed");
    assert_eq!(refusal.metadata.response_code, ResponseCode::Refused);
    assert!(!refusal.metadata.authoritative);
}

#[test]
fn an_opt_record_must_be_one_in_its_place() {
    let plain = octets(&query("api", Kind::A));
    let opt = [0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 0];
    for (what, counts, records, code) in [
        ("one", [0, 0, 0, 0, 0, 1], vec![opt], ResponseCode::NoError),
        ("two", [0, 0, 0, 0, 0, 2], vec![opt, opt], ResponseCode::FormErr),
        ("among the answers", [0, 1, 0, 0, 0, 0], vec![opt], ResponseCode::FormErr),
        ("of a name", [0, 0, 0, 0, 0, 1], vec![[192, 12, 0, 41, 4, 0, 0, 0, 0, 0, 0]], ResponseCode::FormErr),
    ] {
        let mut message = plain.clone();
        message[6..12].copy_from_slice(&counts);
        message.extend(records.concat());
        if what == "of a name" {
            message.push(0);
        }
        assert_eq!(reply(ask(Transport::Udp, &message)).metadata.response_code, code, "{what}");
    }
}

#[test]
fn what_does_not_fit_a_datagram_is_cut_and_whole_by_tcp() {
    let mut big = snapshot();
    for host in 2..202 {
        let one = attachment("dev", &format!("c{host}"), &[&format!("172.20.1.{host}")]);
        let services = vec![crate::decision::tests::service(80, model::Protocol::Tcp)];
        let one = crate::Attachment { aliases: vec!["many".parse().expect("a name")], services, ..one };
        big = big.with_attachment(one).expect("it fits");
    }
    let ask = |transport, message: Parsed| {
        let client = asker("172.20.1.2", "172.20.0.1");
        let Outcome::Reply(octets) = outcome(&big, client, transport, 0, &octets(&message)) else {
            panic!("a reply was expected");
        };
        (octets.len(), Parsed::from_vec(&octets).expect("replies are well-formed"))
    };
    let many = || query("many", Kind::A);
    for (payload, limit) in [(None, 512), (Some(100), 512), (Some(800), 800), (Some(1232), 1232), (Some(65535), 1232)] {
        let message = payload.map_or_else(many, |payload| with_edns(many(), payload, 0));
        let (length, reply) = ask(Transport::Udp, message);
        assert!(length <= limit && length > limit - 60, "{payload:?}: {length}");
        assert!(reply.metadata.truncation, "{payload:?}");
        assert_eq!(reply.edns.is_some(), payload.is_some(), "{payload:?}");
    }
    let (_, whole) = ask(Transport::Tcp, many());
    assert!(!whole.metadata.truncation);
    assert_eq!(whole.answers.len(), 200);
    let (length, services) = ask(Transport::Tcp, query("_80._tcp.many", Kind::SRV));
    assert!(length > 0x4000 / 2 && !services.metadata.truncation);
    assert_eq!((services.answers.len(), services.additionals.len()), (200, 200));
    let (length, services) = ask(Transport::Udp, with_edns(query("_80._tcp.many", Kind::SRV), 1232, 0));
    assert!(length <= 1232 && services.metadata.truncation && services.additionals.is_empty());
}

#[test]
fn a_failure_says_why_to_those_who_understand() {
    let error = ExtendedError { code: 22, text: "nobody answered" };
    let message = octets(&with_edns(query("example.com", Kind::A), 1232, 0));
    let mut reply = Vec::new();
    failure(Transport::Udp, &message, error, &mut reply);
    let text = reply.windows(15).any(|window| window == b"nobody answered");
    let reply = Parsed::from_vec(&reply).expect("replies are well-formed");
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    assert!(text && !reply.metadata.authoritative);
}

fn check(octets: &[u8], transport: Transport) -> Result<(), TestCaseError> {
    for asker in [asker("10.1.0.2", "10.1.0.1"), host()] {
        let Outcome::Reply(reply) = outcome(&snapshot(), asker, transport, 0, octets) else { continue };
        prop_assert_eq!(&reply[..2], &octets[..2]);
        prop_assert!(reply[2] & 0x80 != 0, "replies are responses");
        prop_assert!(matches!(transport, Transport::Tcp) || reply.len() <= usize::from(DATAGRAM));
        prop_assert!(Parsed::from_vec(&reply).is_ok());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn arbitrary_octets_are_survived(octets in prop::collection::vec(any::<u8>(), 0..300)) {
        check(&octets, Transport::Udp)?;
        check(&octets, Transport::Tcp)?;
    }

    #[test]
    fn damaged_queries_are_survived(
        name in "([a-zA-Z][a-zA-Z0-9_]{0,20}\\.){0,6}",
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        edns in any::<Option<u16>>(),
    ) {
        let name = if name.is_empty() { "." } else { name.as_str() };
        let message = query(name, Kind::A);
        let mut octets = octets(&match edns { Some(payload) => with_edns(message, payload, 0), None => message });
        for (place, octet) in damage {
            *place.get_mut(&mut octets) = octet;
        }
        check(&octets, Transport::Udp)?;
        check(&octets, Transport::Tcp)?;
    }
}
