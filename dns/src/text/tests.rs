use hickory_proto::{
    op::{Message as Parsed, Query},
    rr::{
        Name, RData, Record as ParsedRecord,
        rdata::{A, MX, SOA, SRV, TXT},
    },
};
use proptest::prelude::*;

use super::*;

fn parsed(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

#[test]
fn records_read_as_in_a_zone_file() {
    let mut message = Parsed::query();
    message.add_query(Query::query(parsed("example.com."), hickory_proto::rr::RecordType::ANY));
    for data in [
        RData::A(A([192, 0, 2, 1].into())),
        RData::AAAA("2001:db8::1".parse().expect("an address")),
        RData::MX(MX::new(10, parsed("mail.example.com."))),
        RData::SRV(SRV::new(1, 2, 443, parsed("www.example.com."))),
        RData::TXT(TXT::new(vec!["a \"quoted\" text".into(), "bell \u{7}".into()])),
        RData::SOA(SOA::new(parsed("ns.example.com."), parsed("hostmaster.example.com."), 1, 2, 3, 4, 5)),
    ] {
        message.add_answer(ParsedRecord::from_rdata(parsed("Example.com."), 60, data));
    }
    let octets = message.to_vec().expect("it can be encoded");
    let reply = ReplyText::read(&octets).expect("it is well-formed");
    let lines: Vec<_> = reply
        .answers
        .iter()
        .map(|record| format!("{} {} {} {}", record.name, record.ttl, record.kind, record.data))
        .collect();
    assert_eq!(
        lines,
        [
            "Example.com 60 A 192.0.2.1",
            "Example.com 60 AAAA 2001:db8::1",
            "Example.com 60 MX 10 mail.example.com",
            "Example.com 60 SRV 1 2 443 www.example.com",
            "Example.com 60 TXT \"a \\\"quoted\\\" text\" \"bell \\007\"",
            "Example.com 60 SOA ns.example.com hostmaster.example.com 1 2 3 4 5",
        ]
    );
    assert_eq!(reply.code, "NOERROR");
}

#[test]
fn data_that_reaches_into_what_follows_is_shown_as_numbers() {
    let name: &[u8] = &[1, b'a', 0];
    for (kind, cut, whole) in [
        (2_u16, [b"\x01".as_slice(), b"a"].concat(), name.to_vec()),
        (15, vec![0, 10, 1], [&[0, 10], name].concat()),
        (33, vec![0, 0, 0, 1, 0, 80], [&[0, 0, 0, 1, 0, 80], name].concat()),
        (6, [name, name, &[0; 19]].concat(), [name, name, &[0; 20]].concat()),
        (5, [name, b"more"].concat(), name.to_vec()),
    ] {
        for (data, fits) in [(cut, false), (whole, true)] {
            let mut octets = vec![0, 0, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 1];
            octets.push(0);
            octets.extend(kind.to_be_bytes());
            octets.extend([0, 1, 0, 0, 0, 1, 0, data.len() as u8]);
            octets.extend(&data);
            // A record of the root, whose octets would make good what the first lacks.
            octets.extend([0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 192, 0, 2, 1]);
            let reply = ReplyText::read(&octets).expect("it holds together");
            let text = &reply.answers[0].data;
            assert_eq!(!text.starts_with("\\# "), fits, "{kind}: {text}");
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_octets_are_survived(octets in prop::collection::vec(any::<u8>(), 0..200)) {
        ReplyText::read(&octets);
    }

    /// The records of a sound message with damage.
    #[test]
    fn damaged_replies_are_survived(
        kind in prop::sample::select(vec![1_u16, 2, 5, 6, 12, 13, 15, 16, 28, 33, 41, 99]),
        data in prop::collection::vec(any::<u8>(), 0..60),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let mut octets = vec![0, 0, 0x80, 0, 0, 1, 0, 1, 0, 0, 0, 0, 1, b'a', 0, 0, 1, 0, 1, 0xc0, 12];
        octets.extend(kind.to_be_bytes());
        octets.extend([0, 1, 0, 0, 0, 1, 0, data.len() as u8]);
        octets.extend(data);
        for (place, octet) in damage {
            *place.get_mut(&mut octets) = octet;
        }
        if let Some(reply) = ReplyText::read(&octets) {
            let records = reply.answers.iter().chain(&reply.authorities).chain(&reply.additionals);
            for record in records {
                prop_assert!(!record.data.chars().chain(record.name.chars()).any(char::is_control));
            }
        }
    }
}
