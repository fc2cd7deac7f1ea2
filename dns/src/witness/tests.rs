use proptest::prelude::*;

use super::*;

/// A name in wire form.
fn wire_name(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    let mut octets: Vec<u8> = labels.flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).collect();
    octets.push(0);
    octets
}

/// An answer to a question for addresses of `asked`: owner, type, TTL, data.
fn answer(asked: &str, records: &[(&str, RecordType, u32, Vec<u8>)]) -> Vec<u8> {
    let mut octets = vec![0, 7, 0x81, 0x80, 0, 1, 0, records.len() as u8, 0, 0, 0, 0];
    octets.extend([wire_name(asked), vec![0, 1, 0, 1]].concat());
    for (owner, kind, ttl, data) in records {
        octets.extend(wire_name(owner));
        octets.extend(kind.0.to_be_bytes());
        octets.extend([0, 1]);
        octets.extend(ttl.to_be_bytes());
        octets.extend((data.len() as u16).to_be_bytes());
        octets.extend(data);
    }
    octets
}

fn a(owner: &'static str, last: u8, ttl: u32) -> (&'static str, RecordType, u32, Vec<u8>) {
    (owner, RecordType::A, ttl, vec![192, 0, 2, last])
}

fn alias(owner: &'static str, target: &str) -> (&'static str, RecordType, u32, Vec<u8>) {
    (owner, RecordType::CNAME, 300, wire_name(target))
}

/// The last octets of the addresses.
fn found(asked: &str, records: &[(&str, RecordType, u32, Vec<u8>)]) -> Vec<u8> {
    let octets = answer(asked, records);
    let found = addresses(Message::new(&octets).expect("a header"));
    let last = |(address, _): &(IpAddr, Duration)| match address {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(address) => address.octets()[15],
    };
    found.iter().map(last).collect()
}

#[test]
fn addresses_are_those_that_the_name_asked_for_leads_to() {
    let six = ("www.example.com", RecordType::AAAA, 60, [0; 15].into_iter().chain([9]).collect::<Vec<u8>>());
    for (what, records, expected) in [
        ("one", vec![a("www.example.com", 1, 60)], vec![1]),
        ("upper case", vec![a("WWW.Example.COM", 1, 60)], vec![1]),
        ("both families", vec![a("www.example.com", 1, 60), six], vec![1, 9]),
        ("by another name", vec![alias("www.example.com", "cdn.net"), a("cdn.net", 2, 60)], vec![2]),
        ("in any order", vec![a("cdn.net", 2, 60), alias("www.example.com", "CDN.net")], vec![2]),
        ("of somebody else", vec![a("www.example.com", 1, 60), a("victim.example.org", 3, 60)], vec![1]),
        ("round and round", vec![alias("www.example.com", "b.net"), alias("b.net", "www.example.com")], vec![]),
        ("of four octets", vec![("www.example.com", RecordType::A, 60, vec![1, 2, 3])], vec![]),
    ] {
        assert_eq!(found("www.example.com", &records), expected, "{what}");
    }
    let names: Vec<String> = (0..20).map(|number| format!("n{number}.net")).collect();
    let chain = |length: usize| {
        let mut records: Vec<_> = (0..length)
            .map(|number| (names[number].as_str(), RecordType::CNAME, 60, wire_name(&names[number + 1])))
            .collect();
        records.push((&names[length], RecordType::A, 60, vec![192, 0, 2, 7]));
        found(&names[0], &records)
    };
    assert_eq!((chain(15), chain(18)), (vec![7], vec![]), "a chain ends");
}

#[test]
fn names_are_those_that_hosts_have() {
    let name = |octets: &[u8]| with_name(Message::new(octets).expect("a header"), str::to_owned);
    assert_eq!(name(&answer("API.example.com", &[])).as_deref(), Some("api.example.com"));
    assert_eq!(name(&answer("", &[])).as_deref(), Some(""));
    let mut dotted = answer("api-example.com", &[]);
    dotted[HEADER + 4] = b'.';
    assert_eq!(name(&dotted), None, "a dot that is part of a label parts no labels");
}

#[test]
fn nothing_may_be_remembered_for_longer_than_it_is_here() {
    for (ttl, expected) in [(0, 0), (60, 60), (3600, 3600), (604_800, 3600), (0x8000_0000, 0)] {
        let mut octets = answer("www.example.com", &[a("www.example.com", 1, ttl)]);
        assert!(bound_ttls(&mut octets));
        assert_eq!(octets, answer("www.example.com", &[a("www.example.com", 1, expected)]));
        let [(_, told)] = addresses(Message::new(&octets).expect("a header"))[..] else { panic!("one") };
        assert_eq!(told, Duration::from_secs(expected.into()));
    }
    // The second owner is a name in the first one's TTL.
    let ttl = u32::from_be_bytes(*b"\x01x\0\0");
    let mut octets = answer("a.b", &[a("a.b", 1, ttl)]);
    let ttl_at = octets.len() - 10;
    octets[7] = 2;
    octets.extend([0xc0, ttl_at as u8, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 2]);
    assert!(!bound_ttls(&mut octets));
}

proptest! {
    /// Whatever it holds, and damaged wherever.
    #[test]
    fn nothing_fails_on_what_an_upstream_may_say(
        octets in prop::collection::vec(any::<u8>(), HEADER..80),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let records = [alias("www.example.com", "cdn.net"), a("cdn.net", 2, 604_800), a("www.example.com", 1, 60)];
        let mut damaged = answer("www.example.com", &records);
        for (at, octet) in damage {
            let at = at.index(damaged.len());
            damaged[at] = octet;
        }
        for mut reply in [octets, damaged] {
            let length = reply.len();
            if bound_ttls(&mut reply) {
                let message = Message::new(&reply).expect("a header");
                let found = addresses(message);
                prop_assert!(found.iter().all(|(_, ttl)| *ttl <= Duration::from_secs(LONGEST.into())));
                with_name(message, |name| assert!(name.len() < 255 && !name.ends_with('.')));
            }
            prop_assert_eq!(reply.len(), length);
        }
    }
}
