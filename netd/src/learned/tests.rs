use std::os::unix::fs::PermissionsExt;

use policy::{Syntax, parse};

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const NOW: Moment = Duration::from_secs(1000);

fn about(patterns: &str) -> About {
    let text = format!(
        "apiVersion: fabric/v1\nkind: Policy\nmetadata: {{name: a}}\nnetworks: [web]\negress:\n\
         - {{action: allow, to: [{{dns: {patterns}}}]}}\n"
    );
    About::new(&Policies::new(parse("a.yaml", Syntax::Yaml, &text, None).expect("valid")).expect("one"))
}

fn name(text: &str) -> DnsName {
    text.parse().expect("a name")
}

fn address(number: u32) -> IpAddr {
    IpAddr::V4((0xcb00_7100 + number).into())
}

/// What there is, as text.
fn shown(table: &Table) -> String {
    let one = |(until, name, address): &(Moment, DnsName, IpAddr)| {
        let held = table.names[name][address];
        assert_eq!(held.until, *until);
        format!("{name} {address} {}{}", (*until - NOW).as_secs(), if held.is_in_force { "" } else { "?" })
    };
    table.due.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[test]
fn an_address_stays_as_long_as_answers_about_it_live_and_a_little_longer() {
    let about = about("['*.example.com', example.org]");
    let (mut table, api) = (Table::default(), name("api.example.com"));
    let [one, two] = [1, 2].map(address);
    let given = [(one, 300 * SECOND), (two, SECOND)];
    assert!(!table.knows(&api, &given, NOW));
    let entries = table.learn(&about, &api, &given, NOW).expect("room");
    assert_eq!(shown(&table), "api.example.com 203.0.113.2 100?, api.example.com 203.0.113.1 340?");
    assert!(table.awaits_kernel(&entries) && !table.knows(&api, &given, NOW), "not before the kernel does");
    table.confirm(&entries);
    assert!(table.knows(&api, &given, NOW) && table.knows(&api, &given, NOW + 9 * SECOND));
    assert!(table.learn(&about, &api, &given, NOW).expect("room").is_empty());
    // From a cache it comes with less.
    assert!(table.knows(&api, &[(one, 100 * SECOND)], NOW + 200 * SECOND));
    assert!(!table.knows(&api, &given, NOW + 11 * SECOND), "but not so long any more");
    let entries = table.learn(&about, &api, &given, NOW + 11 * SECOND).expect("room");
    assert!(!table.awaits_kernel(&entries), "the kernel has them");
    assert_eq!(shown(&table), "api.example.com 203.0.113.2 111, api.example.com 203.0.113.1 351");
    let times = table.times_changed();
    assert!(!table.expire(&about, NOW + 110 * SECOND) && table.expire(&about, NOW + 111 * SECOND));
    assert_eq!(shown(&table), "api.example.com 203.0.113.1 351");
    assert_eq!(table.lapsed(), [(api.clone(), [two].into())].into());
    assert_eq!(table.changed_since(times), Some([(api.clone(), [one].into())].into()));
    assert_eq!(table.changed_since(times), None, "it was asked meanwhile");
    table.learn(&about, &api, &[(two, SECOND)], NOW + 120 * SECOND).expect("room");
    assert!(table.lapsed().is_empty(), "it is there again");
}

#[test]
fn what_the_kernel_does_not_take_is_not_known() {
    let about = about("['*.example.com']");
    let (mut table, api) = (Table::default(), name("api.example.com"));
    let entries = table.learn(&about, &api, &[(address(1), SECOND)], NOW).expect("room");
    table.confirm(&entries);
    let more = table.learn(&about, &api, &[(address(1), 99 * SECOND), (address(2), SECOND)], NOW).expect("room");
    table.withdraw(&about, &more);
    assert_eq!(shown(&table), "api.example.com 203.0.113.1 139");
    assert_eq!(table.of_patterns.values().copied().collect::<Vec<_>>(), [1]);
}

#[test]
fn who_has_a_zone_fills_no_more_than_its_part() {
    let about = about("['*.evil.com', '*.example.com', example.org]");
    let mut table = Table::default();
    let many = |count: u32| (0..count).map(|number| (address(number), SECOND)).collect::<Vec<_>>();
    let full = table.learn(&about, &name("a.evil.com"), &many(257), NOW);
    assert_eq!(full, Err(NoRoom::Name(name("a.evil.com"))));
    let taken = (0..100)
        .take_while(|number| table.learn(&about, &name(&format!("n{number}.evil.com")), &many(256), NOW).is_ok());
    assert_eq!(taken.count(), 8);
    assert!(matches!(table.learn(&about, &name("n9.evil.com"), &many(1), NOW), Err(NoRoom::Pattern(_))));
    assert!(table.learn(&about, &name("n1.evil.com"), &many(256), NOW + SECOND).is_ok(), "those are there");
    assert!(table.learn(&about, &name("api.example.com"), &many(256), NOW).is_ok(), "others have theirs");
    assert!(table.expire(&about, NOW + 1000 * SECOND) && table.is_empty());
    assert!(table.learn(&about, &name("n9.evil.com"), &many(256), NOW).is_ok(), "there is room again");
    assert!(table.has_many_lapsed());
    table.forget_lapsed(&about, |address| *address == self::address(7));
    assert_eq!(table.lapsed().values().map(BTreeSet::len).sum::<usize>(), 9, "of each name that had it");
    assert!(!table.has_many_lapsed());
    table.forget_lapsed(&self::about("[example.org]"), |_| true);
    assert!(table.lapsed().is_empty(), "no rule is about them any more");
}

#[test]
fn the_next_daemon_knows_what_this_one_did() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("names");
    let about = about("['*.example.com']");
    let mut table = Table::default();
    let (mut file, read) = LearnedFile::open(path.clone());
    assert!(read.is_empty());
    let mut learn = |table: &mut Table, host: &str, ttl: u32, now: Moment| {
        let learned = table.learn(&about, &name(host), &[(address(1), SECOND * ttl)], now).expect("room");
        file.note(&learned, || table.entries().collect());
    };
    learn(&mut table, "api.example.com", 1, NOW);
    learn(&mut table, "v2.example.com", 500, NOW);
    learn(&mut table, "api.example.com", 500, NOW + SECOND);
    let of_next = || {
        let mut next = Table::default();
        let (file, read) = LearnedFile::open(path.clone());
        next.restore(&about, read, NOW);
        (next, file)
    };
    let (next, _) = of_next();
    assert_eq!(shown(&next), shown(&table));
    assert_eq!(shown(&next).matches('?').count(), 2, "the kernel is asked once more");
    // One that was killed while it wrote.
    let cut = std::fs::metadata(&path).expect("it is there").len() - 5;
    std::fs::OpenOptions::new().append(true).open(&path).expect("it is there").set_len(cut).expect("it can be cut");
    let (mut next, mut file) = of_next();
    assert_eq!(next.due.len(), 2);
    next.expire(&about, NOW + 101 * SECOND);
    file.note(&[], || next.entries().collect());
    let again = of_next().0;
    assert_eq!(again.due.len(), 2, "{again:?}");
    let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "who asks for what is nobody else's business");
    // What is not needed is not kept.
    for round in 0..5000 {
        learn(&mut table, "api.example.com", 500, NOW + 11 * SECOND * round);
    }
    let lines = std::fs::read_to_string(&path).expect("it is there").lines().count();
    assert!(lines < 2000, "{lines}");
    let mut long_ago = Table::default();
    long_ago.restore(
        &about,
        [Entry { until: NOW + MOST + SECOND, name: name("a.example.com"), address: address(1) }],
        NOW,
    );
    assert!(long_ago.is_empty(), "it is of another boot");
    let mut next = Table::default();
    next.restore(&about, LearnedFile::open(path).1, NOW + 11 * SECOND * 5000);
    assert_eq!(shown(&next), shown(&table).replace("?", "").replace(", ", "?, ") + "?");
}
