use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A response to `example.com A` with this code and these records: section, type, TTL, data.
fn response(code: u8, records: &[(Section, RecordType, u32, &[u8])]) -> Vec<u8> {
    let count = |section| records.iter().filter(|record| record.0 == section).count() as u8;
    let mut octets = vec![0, 7, 0x81, 0x80 | code, 0, 1, 0, count(Section::Answer), 0, count(Section::Authority), 0];
    octets.push(count(Section::Additional));
    octets.extend(b"\x07example\x03com\0\0\x01\0\x01");
    for (_, kind, ttl, data) in records {
        octets.extend([0xc0, 12]);
        octets.extend(kind.0.to_be_bytes());
        octets.extend([0, 1]);
        octets.extend(ttl.to_be_bytes());
        octets.extend((data.len() as u16).to_be_bytes());
        octets.extend(*data);
    }
    octets
}

fn a(ttl: u32) -> (Section, RecordType, u32, &'static [u8]) {
    (Section::Answer, RecordType::A, ttl, &[192, 0, 2, 1])
}

/// An SOA record with a minimum of a minute.
fn soa(ttl: u32) -> (Section, RecordType, u32, &'static [u8]) {
    (Section::Authority, RecordType::SOA, ttl, b"\0\0\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x3c")
}

#[test]
fn responses_are_kept_as_long_as_they_allow() {
    let opt = (Section::Additional, RecordType::OPT, 0, &[][..]);
    let glue = (Section::Additional, RecordType::A, 20, &[192, 0, 2, 2][..]);
    let mut truncated = response(0, &[a(300)]);
    truncated[2] |= 2;
    let mut cut = response(0, &[a(300)]);
    cut.pop();
    for (what, response, seconds) in [
        ("an address", response(0, &[a(300)]), Some(300)),
        ("with EDNS, whose TTL is none", response(0, &[a(300), opt]), Some(300)),
        ("the shortest counts", response(0, &[a(300), a(30)]), Some(30)),
        ("of every section", response(0, &[a(300), glue]), Some(20)),
        ("not at all", response(0, &[a(0)]), None),
        ("an impossible TTL", response(0, &[a(0x8000_0000)]), None),
        ("a week", response(0, &[a(604_800)]), Some(3600)),
        ("no such name", response(3, &[soa(3600)]), Some(60)),
        ("no such name, short", response(3, &[soa(5)]), Some(5)),
        ("no data", response(0, &[soa(3600)]), Some(60)),
        ("an alias of no such name", response(3, &[a(20), soa(3600)]), Some(20)),
        ("absence that nobody vouches for", response(3, &[]), None),
        ("no data that nobody vouches for", response(0, &[]), None),
        ("a failure", response(2, &[a(300)]), None),
        ("a refusal", response(5, &[soa(300)]), None),
        ("the beginning of an answer", truncated, None),
        ("what is malformed", cut, None),
        ("nothing", Vec::new(), None),
    ] {
        assert_eq!(lifetime(&response), seconds.map(Duration::from_secs), "{what}");
    }
}

/// With age it would become another name, or no whole message.
#[test]
fn responses_with_a_name_made_of_a_ttl_are_not_kept() {
    let ttl = u32::from_be_bytes(*b"\x01x\0\0");
    let ttl_at = 35;
    let owner = response(0, &[a(ttl), a(300)]);
    assert!(lifetime(&owner).is_some());
    let mut touched = owner.clone();
    assert_eq!((&touched[ttl_at..ttl_at + 2], touched[46]), (b"\x01x".as_slice(), 12));
    touched[46] = ttl_at as u8;
    assert_eq!(lifetime(&touched), None);
    let pointer = [0xc0, ttl_at as u8];
    let mail = [&[0, 10], pointer.as_slice()].concat();
    let service = [&[0, 0, 0, 1, 0, 80], pointer.as_slice()].concat();
    let authority = [pointer.as_slice(), &[0], &[0; 20]].concat();
    let mailbox = [&[0], pointer.as_slice(), &[0; 20]].concat();
    for (kind, data) in [
        (RecordType::CNAME, pointer.as_slice()),
        (RecordType::MX, &mail),
        (RecordType::SRV, &service),
        (RecordType::SOA, &authority),
        (RecordType::SOA, &mailbox),
    ] {
        assert_eq!(lifetime(&response(0, &[a(ttl), (Section::Answer, kind, 300, data)])), None, "{kind}");
    }
    let text = (Section::Answer, RecordType::TXT, 300, pointer.as_slice());
    assert!(lifetime(&response(0, &[a(ttl), text])).is_some(), "what holds no names has none");
}

#[test]
fn ttls_shrink_with_age_until_the_answer_is_gone() {
    let mut cache = Cache::new(10_000);
    let opt = (Section::Additional, RecordType::OPT, 0x8000, &[][..]);
    cache.keep(b"key", &response(0, &[a(30), a(300), opt]), 100 * SECOND);
    let mut reply = Vec::new();
    assert!(cache.recall(b"key", 100 * SECOND, &mut reply));
    assert_eq!(reply, response(0, &[a(30), a(300), opt]));
    assert!(cache.recall(b"key", 129 * SECOND + SECOND / 2, &mut reply));
    assert_eq!(reply, response(0, &[a(1), a(271), opt]), "and EDNS flags are no TTL");
    assert!(!cache.recall(b"key", 130 * SECOND, &mut reply));
    assert!(!cache.recall(b"other", 100 * SECOND, &mut reply));
    cache.keep(b"key", &response(0, &[a(60)]), 200 * SECOND);
    assert!(cache.recall(b"key", 259 * SECOND, &mut reply), "it can be asked for again");
}

#[test]
fn who_is_asked_for_stays_while_others_come_and_go() {
    let mut cache = Cache::new(20 * 250);
    let mut reply = Vec::new();
    cache.keep(b"wanted", &response(0, &[a(3000)]), SECOND);
    for number in 0..1000_u32 {
        assert!(cache.recall(b"wanted", SECOND, &mut reply), "after {number} others");
        cache.keep(&number.to_be_bytes(), &response(0, &[a(3000)]), SECOND);
    }
    assert!(!cache.recall(&0_u32.to_be_bytes(), SECOND, &mut reply));
    assert!(cache.recall(&999_u32.to_be_bytes(), SECOND, &mut reply));
}

proptest! {
    /// Whatever is kept, the cache never takes more than its capacity, and its books are right.
    #[test]
    fn the_cache_keeps_its_bounds(
        steps in prop::collection::vec((0..30_u8, 0..400_usize, any::<bool>()), 0..200),
        capacity in 0..3000_usize,
    ) {
        let mut cache = Cache::new(capacity);
        let mut reply = Vec::new();
        for (time, (key, length, keep)) in steps.into_iter().enumerate() {
            let now = SECOND * time as u32;
            let data = vec![0; length];
            if keep {
                cache.keep(&[key], &response(0, &[(Section::Answer, RecordType::TXT, 20, &data)]), now);
            } else {
                cache.recall(&[key], now, &mut reply);
            }
            let taken: usize = cache.entries.iter().map(|(key, entry)| key.len() + entry.response.len() + ENTRY).sum();
            prop_assert_eq!(taken, cache.octets);
            prop_assert!(taken <= capacity);
            prop_assert_eq!(cache.order.len(), cache.entries.len());
        }
    }
}
