//! Files of policies and of their tests, in YAML and in TOML. What is accepted says the same when it is read again,
//! judges connections, and can be told; a refusal is short, printable, and about a place of the file.

#![no_main]

use std::sync::LazyLock;

use jiff::Timestamp;
use libfuzzer_sys::{Corpus, fuzz_target};
use policy::{
    Document, Effect, Explanation, Policies, Position, Question, Suite, Syntax, World, evaluate, parse, warnings,
};

/// The octets that the longest line of what is told of one connection may have, beside those that were read.
const TOLD: usize = 4096;

fuzz_target!(|octets: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(octets) else { return Corpus::Reject };
    for syntax in [Syntax::Yaml, Syntax::Toml] {
        documents(syntax, text);
        tests(syntax, text);
    }
    Corpus::Keep
});

fn documents(syntax: Syntax, text: &str) {
    let network = "shop".parse().expect("a name");
    let read = || parse("p.yaml", syntax, text, Some(&network));
    let documents = match read() {
        Ok(documents) => documents,
        Err(errors) => {
            assert!(!errors.is_empty());
            for error in errors {
                refusal(&error.to_string(), error.hint());
                within(text, error.place.position);
            }
            return;
        }
    };
    for document in &documents {
        let place = match document {
            Document::Policy(policy) => &policy.place,
            Document::Stance(stance) => &stance.place,
        };
        within(text, place.position);
    }
    let again = read().expect("it was read before");
    assert_eq!(again, documents);
    match (Policies::new(documents), Policies::new(again)) {
        (Ok(policies), Ok(again)) => {
            judged(&policies, &again, &WORLD, now());
            judged(&policies, &again, &World::default(), Timestamp::MAX);
        }
        (Err(error), Err(_)) => refusal(&error.to_string(), None),
        (one, other) => panic!("{one:?}, then {other:?}"),
    }
}

/// Asks the same of both sets, which were read from the same text.
fn judged(policies: &Policies, again: &Policies, world: &World, now: Timestamp) {
    for (from, to) in CONNECTIONS {
        let question = Question::read(from, to).expect("written above");
        // Only some of the worlds have these endpoints.
        let _ = question.each_flow(world, |course| {
            let flow = &course.judged;
            let verdict = evaluate(policies, world, flow, now);
            assert_eq!(verdict, evaluate(again, world, flow, now), "{flow}");
            let denied = verdict.decisions().any(|(_, decision)| decision.effect == Effect::Deny);
            assert_eq!(verdict.effect() == Effect::Deny, denied, "{flow}");
            told(&Explanation::new(course, &verdict));
        });
    }
    for warning in warnings(policies, Some(world), now) {
        assert!(!warning.to_string().chars().any(char::is_control), "{warning:?}");
    }
}

fn tests(syntax: Syntax, text: &str) {
    let suite = match Suite::parse("t.yaml", syntax, text) {
        Ok(suite) => suite,
        Err(error) => {
            refusal(&error.to_string(), error.hint());
            return within(text, error.place.position);
        }
    };
    assert_eq!(Suite::parse("t.yaml", syntax, text).as_ref(), Ok(&suite));
    match suite.outcomes(&POLICIES, now()) {
        Ok(outcomes) => {
            assert_eq!(outcomes.len(), suite.expectations.len());
            for outcome in outcomes {
                assert_eq!(outcome.holds, outcome.wrong().next().is_none(), "{outcome:?}");
                outcome.explanations.iter().for_each(told);
            }
        }
        Err(error) => refusal(&error.to_string(), None),
    }
}

/// Fails on a refusal that would flood or command a terminal.
fn refusal(text: &str, hint: Option<&str>) {
    for text in [Some(text), hint].into_iter().flatten() {
        assert!(!text.is_empty() && text.len() <= 4096 && !text.chars().any(char::is_control), "{text:?}");
    }
}

fn told(explanation: &Explanation) {
    let text = explanation.to_string();
    assert!(text.lines().count() >= 2 && text.lines().all(|line| !line.chars().any(char::is_control)), "{text:?}");
    assert!(text.lines().all(|line| line.len() <= 4 * TOLD), "{text}");
    serde_json::to_string(explanation).expect("texts only");
}

fn within(text: &str, Position { line, column }: Position) {
    // A line ends where YAML says so, and an error may stand behind the last one.
    let lines = text.split(['\n', '\r']).count();
    assert!(line >= 1 && column >= 1 && line as usize <= lines + 1, "{line}:{column} of {lines} lines");
}

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().expect("a moment")
}

const CONNECTIONS: [(&str, &str); 9] = [
    ("web", "db:80"),
    ("web", "admin"),
    ("203.0.113.7", "web:53/udp"),
    ("api", "api.example.com:443"),
    ("host", "web:22"),
    ("db", "host:53/udp"),
    ("shop/app=web", "shop/app=db:80"),
    ("ops/app=web", "shop/app=db:1/sctp"),
    ("web", "web"),
];

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let text = include_str!("../seeds/policy/world");
    Suite::parse("world", Syntax::Yaml, text).expect("it is valid").world
});

static POLICIES: LazyLock<Policies> = LazyLock::new(|| {
    let documents = parse("kubernetes", Syntax::Yaml, include_str!("../seeds/policy/kubernetes"), None);
    Policies::new(documents.expect("it is valid")).expect("it is one policy")
});
