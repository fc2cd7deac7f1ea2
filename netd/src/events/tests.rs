use super::*;

fn sample(name: &str) -> Event {
    event(EventKind::Network, EventAction::Create, "00", name, &Labels::new())
}

fn names(events: &Events) -> Vec<(u64, String)> {
    let (mut all, mut sequence) = (Vec::new(), 0);
    loop {
        let (batch, go_on) = events.batch(sequence, None);
        if go_on == sequence {
            return all;
        }
        sequence = go_on;
        all.extend(batch.into_iter().map(|event| (event.sequence, event.name)));
    }
}

#[test]
fn the_history_goes_on_where_it_was_and_a_cut_line_spoils_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("events.jsonl");
    let events = Events::load(&path);
    events.tell(sample("one"));
    events.tell(sample("two"));
    drop(events);
    let text = fs::read(&path).expect("it was written");
    fs::write(&path, [&text[..], b"{\"sequence\":3,\"ti"].concat()).expect("the directory is ours");
    let events = Events::load(&path);
    events.tell(sample("three"));
    let expected = vec![(1, "one".to_owned()), (2, "two".to_owned()), (3, "three".to_owned())];
    assert_eq!(names(&events), expected);
    drop(events);
    assert_eq!(names(&Events::load(&path)), expected);
}

#[test]
fn memory_and_file_are_bounded() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("events.jsonl");
    let events = Events::load(&path);
    let name = "n".repeat(1000);
    for _ in 0..3 * REMEMBERED {
        events.tell(sample(&name));
    }
    let all = names(&events);
    assert_eq!((all.len(), all[0].0), (REMEMBERED, 2 * REMEMBERED as u64 + 1));
    let size = fs::metadata(&path).expect("it was written").len();
    assert!(size <= 2 * (REMEMBERED as u64) * 1200 + SLACK, "{size}");
    drop(events);
    assert_eq!(names(&Events::load(&path)), all);
}

#[test]
fn events_with_many_labels_take_no_more_memory() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let events = Events::load(&directory.path().join("events.jsonl"));
    let labels: Labels = (0..60).map(|number| (format!("key{number}"), "v".repeat(250))).collect();
    let large = event(EventKind::Container, EventAction::Start, "00", "api", &labels);
    assert_eq!(large.labels, labels);
    for _ in 0..2 * REMEMBERED_OCTETS / octets(&large) {
        events.tell(large.clone());
    }
    let all = names(&events);
    assert_eq!(all.len(), REMEMBERED_OCTETS / octets(&large), "fewer than {REMEMBERED}");
    drop(events);
    assert_eq!(names(&Events::load(&directory.path().join("events.jsonl"))), all);
}

#[test]
fn an_event_tells_of_the_labels_that_fit() {
    let label = |key: &str, length: usize| (key.to_owned(), "v".repeat(length));
    let of_image = Labels::from([
        label("a.short", 10),
        label("devcontainer.metadata", 40_000),
        label("with spaces", 1),
        ("lines".to_owned(), "a\nb".to_owned()),
        label("version", 256),
    ]);
    let told = |labels: &Labels| event(EventKind::Container, EventAction::Start, "00", "api", labels).labels;
    assert_eq!(told(&of_image).into_keys().collect::<Vec<_>>(), ["a.short", "version"]);
    let many: Labels = (0..10_000).map(|number| label(&format!("key{number}"), 200)).collect();
    let octets: usize = told(&many).iter().map(octets_of_label).sum();
    assert!(octets <= LABELS && octets + 300 > LABELS, "{octets}");
}

#[test]
fn an_end_is_told_once_and_what_can_happen_twice_twice() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let events = Events::load(&directory.path().join("events.jsonl"));
    for (action, seen) in [
        (EventAction::Create, false),
        (EventAction::Start, false),
        (EventAction::Rename, false),
        (EventAction::Disconnect, true),
        (EventAction::Exit, true),
        (EventAction::Remove, true),
    ] {
        let again = event(EventKind::Container, action, "00", "api", &Labels::new());
        assert!(!events.was_last(&again), "{action}");
        events.tell(again.clone());
        assert_eq!(events.was_last(&again), seen, "{action}");
    }
}

#[test]
fn the_moment_asked_for_is_included() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let events = Events::load(&directory.path().join("events.jsonl"));
    events.tell(sample("one"));
    let (all, _) = events.batch(0, None);
    assert_eq!(events.batch(0, Some(all[0].time)).0, all);
    assert_eq!(events.batch(0, Some(Timestamp::now())), (Vec::new(), 2));
}

#[test]
fn a_disconnection_is_told_once_of_each_network_until_something_else_happens() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let events = Events::load(&directory.path().join("events.jsonl"));
    let of = |action, network: &str| {
        let networks = vec![network.to_owned()];
        Event { networks, ..event(EventKind::Container, action, "00", "api", &Labels::new()) }
    };
    let (web, back) = (of(EventAction::Disconnect, "web"), of(EventAction::Disconnect, "back"));
    events.tell_once(web.clone());
    events.tell_once(back.clone());
    events.tell_once(web.clone());
    events.tell_once(back);
    assert_eq!(events.count(), 2);
    events.tell(of(EventAction::Connect, "web"));
    events.tell_once(web);
    assert_eq!(events.count(), 4);
}
