use hickory_proto::{
    op::{Message as Parsed, Query},
    rr::RecordType,
};
use proptest::prelude::*;

use super::*;
use crate::{
    Attachment,
    decision::tests::{asker, snapshot},
};

/// `name type` as a query with id 4660, which asks for recursion.
fn query(name: &str, kind: RecordType) -> Parsed {
    let mut message = Parsed::query();
    message.metadata.id = 0x1234;
    message.metadata.recursion_desired = true;
    let mut name = Name::from_ascii(name).expect("a name");
    name.set_fqdn(true);
    message.add_query(Query::query(name, kind));
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

fn ask(transport: Transport, octets: &[u8]) -> Step {
    step(&snapshot(), asker("10.1.0.2", "10.1.0.1"), transport, 0, octets)
}

fn reply(step: Step) -> Parsed {
    match step {
        Step::Reply(octets) => Parsed::from_vec(&octets).expect("replies are well-formed"),
        other => panic!("a reply was expected, not {other:?}"),
    }
}

#[test]
fn an_answer_is_authoritative_short_lived_and_in_the_clients_case() {
    let reply = reply(ask(Transport::Udp, &octets(&query("aPi.WEB.fabric.Internal", RecordType::A))));
    assert_eq!(reply.metadata.id, 0x1234);
    assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
    assert!(reply.metadata.authoritative && reply.metadata.recursion_available && reply.metadata.recursion_desired);
    assert_eq!(reply.answers.len(), 1);
    assert_eq!(reply.answers[0].data, RData::A(A([10, 1, 0, 2].into())));
    assert_eq!(reply.answers[0].name.to_ascii(), "aPi.WEB.fabric.Internal.");
    assert_eq!(reply.queries[0].name().to_ascii(), "aPi.WEB.fabric.Internal.");
    assert!(reply.answers[0].ttl <= 10);
    assert!(reply.edns.is_none(), "a client without EDNS gets none");
}

#[test]
fn absence_is_told_with_the_zone_that_knows() {
    for (name, kind, code, zone) in [
        ("api", RecordType::AAAA, ResponseCode::NoError, "."),
        ("nobody", RecordType::A, ResponseCode::NXDomain, "."),
        ("api.web", RecordType::AAAA, ResponseCode::NoError, "web."),
        ("api.web.fabric.internal", RecordType::AAAA, ResponseCode::NoError, "fabric.internal."),
        ("nobody.web.fabric.internal", RecordType::A, ResponseCode::NXDomain, "fabric.internal."),
        ("9.0.1.10.in-addr.arpa", RecordType::PTR, ResponseCode::NXDomain, "0.1.10.in-addr.arpa."),
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
    let plain = octets(&query("api", RecordType::A));
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
    let plain = octets(&query("api", RecordType::A));
    let mut response = plain.clone();
    response[2] |= 0x80;
    assert_eq!(ask(Transport::Udp, &response), Step::Silence);
    response.truncate(14);
    assert_eq!(ask(Transport::Udp, &response), Step::Silence, "not even a malformed one");
    for length in 0..12 {
        assert_eq!(ask(Transport::Udp, &plain[..length]), Step::Silence, "{length}");
    }
    for stranger in ["192.0.2.1", "2001:db8::1"] {
        assert_eq!(
            step(&snapshot(), asker(stranger, "10.1.0.1"), Transport::Udp, 0, &plain),
            Step::Silence,
            "{stranger}"
        );
    }
}

#[test]
fn edns_is_answered_in_kind() {
    let reply_to = |message: Parsed| reply(ask(Transport::Udp, &octets(&message)));
    let good = reply_to(with_edns(query("api", RecordType::A), 4096, 0));
    assert_eq!(good.edns.expect("EDNS").max_payload(), DATAGRAM);
    let bad = reply_to(with_edns(query("api", RecordType::A), 4096, 1));
    assert_eq!(u16::from(bad.metadata.response_code), 16, "BADVERS");
    assert_eq!(bad.edns.expect("EDNS").version(), 0);
}

#[test]
fn any_is_answered_with_one_small_record() {
    let reply = reply(ask(Transport::Udp, &octets(&query("pool", RecordType::ANY))));
    assert_eq!(reply.answers.len(), 1);
    assert_eq!(reply.answers[0].record_type(), RecordType::HINFO);
}

#[test]
fn several_addresses_take_turns_to_be_first() {
    let firsts: Vec<_> = (0..4)
        .map(|rotation| {
            let query = octets(&query("pool", RecordType::A));
            let step = step(&snapshot(), asker("10.1.0.2", "10.1.0.1"), Transport::Udp, rotation, &query);
            let reply = reply(step);
            assert_eq!(reply.answers.len(), 2);
            reply.answers[0].data.clone()
        })
        .collect();
    assert_eq!(firsts[0], firsts[2]);
    assert_eq!(firsts[1], firsts[3]);
    assert_ne!(firsts[0], firsts[1]);
}

#[test]
fn what_does_not_fit_a_datagram_is_cut_and_whole_by_tcp() {
    let mut big = snapshot();
    for host in 2..202 {
        big = big
            .with_attachment(Attachment {
                network: "dev".parse().expect("a name"),
                container: format!("c{host}").parse().expect("a name"),
                address: [172, 20, 1, host].into(),
                aliases: vec!["many".parse().expect("a name")],
            })
            .expect("it fits");
    }
    let ask = |transport, message: Parsed| {
        let Step::Reply(octets) = step(&big, asker("172.20.1.2", "172.20.0.1"), transport, 0, &octets(&message)) else {
            panic!("a reply was expected");
        };
        (octets.len(), Parsed::from_vec(&octets).expect("replies are well-formed"))
    };
    let many = || query("many", RecordType::A);
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
}

#[test]
fn a_failure_says_why_to_those_who_understand() {
    let error = ExtendedError { code: 22, text: "nobody answered" };
    let message = octets(&with_edns(query("example.com", RecordType::A), 1232, 0));
    let reply = failure([10, 1, 0, 2].into(), Transport::Udp, &message, error).expect("the query is well-formed");
    let text = reply.windows(15).any(|window| window == b"nobody answered");
    let reply = Parsed::from_vec(&reply).expect("replies are well-formed");
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    assert!(text && !reply.metadata.authoritative);
}

fn check(octets: &[u8], transport: Transport) -> Result<(), TestCaseError> {
    if let Step::Reply(reply) = ask(transport, octets) {
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
        let message = query(name, RecordType::A);
        let mut octets = octets(&match edns { Some(payload) => with_edns(message, payload, 0), None => message });
        for (place, octet) in damage {
            *place.get_mut(&mut octets) = octet;
        }
        check(&octets, Transport::Udp)?;
        check(&octets, Transport::Tcp)?;
    }
}
