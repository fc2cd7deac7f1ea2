//! Input that is large, deep or made to grow.

#![allow(clippy::disallowed_methods, reason = "the crate has no clock, its tests have")]

use std::time::{Duration, Instant};

use policy::{FILE_LIMIT, Policies, Suite, Syntax, World, parse, warnings};

use crate::rig::now;

fn refused(text: &str) -> String {
    let begun = Instant::now();
    let errors = parse("p.yaml", Syntax::Yaml, text, None).expect_err("it is refused");
    assert!(begun.elapsed() < Duration::from_secs(30), "refused after {:?}", begun.elapsed());
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// A document for each of 10,000 endpoints, in both forms and by different means, and who they are about.
fn ten_thousand() -> (Vec<String>, World) {
    let document = |number: usize| {
        let (app, other) = (format!("a{number}"), format!("a{}", (number + 1) % 10_000));
        match number % 4 {
            0 => format!(
                "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: p{number}\n  namespace: shop\nspec:\n  \
                 podSelector:\n    matchLabels:\n      app: {app}\n  ingress:\n  - from:\n    - podSelector:\n        \
                 matchLabels:\n          app: {other}\n    ports:\n    - port: 80\n"
            ),
            1 => native(
                number,
                &format!("subject: {{labels: {{app: {app}}}}}"),
                &format!("from: [{{labels: {{app: {other}}}}}]"),
            ),
            2 => native(number, "subject: {}", &format!("from: [{{cidr: 10.{}.{}.0/24}}]", number / 256, number % 256)),
            _ => native(number, "subject: {}", &format!("ports: [{number}]")),
        }
    };
    let endpoint =
        |number: usize| format!("- {{name: c{number}, network: shop, labels: {{app: a{number}, tier: back}}}}\n");
    let world: String = (0..10_000).map(endpoint).collect();
    let world =
        Suite::parse("w.yaml", Syntax::Yaml, &format!("networks: {{shop: }}\nendpoints:\n{world}")).expect("valid");
    ((0..10_000).map(document).collect(), world.world)
}

fn native(number: usize, subject: &str, rule: &str) -> String {
    format!(
        "apiVersion: fabric/v1\nkind: Policy\nmetadata: {{name: p{number}}}\nnetworks: [shop]\n{subject}\ningress:\n\
         - {{action: deny, {rule}}}\n- {{action: allow, {rule}}}\n"
    )
}

#[test]
fn ten_thousand_documents_are_read_and_warned_about_in_seconds() {
    let (documents, world) = ten_thousand();
    let begun = Instant::now();
    let documents = parse("p.yaml", Syntax::Yaml, &documents.join("---\n"), None).expect("all are valid");
    assert_eq!(documents.len(), 10_000);
    let policies = Policies::new(documents).expect("each has a name of its own");
    let told = warnings(&policies, Some(&world), now());
    assert_eq!(told.len(), 7_500, "each rule of Fabric's own hides the one after it");
    assert!(told.iter().all(|warning| warning.what.contains("never decides")));
    // It takes 2 s; the rest is for a machine that does other things besides.
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[test]
fn one_document_of_ten_thousand_that_is_wrong_is_told_and_none_is_accepted() {
    let (mut documents, _) = ten_thousand();
    documents[9_998] = native(9_998, "subjet: {}", "ports: [1]");
    let lines_before = documents[..9_998].iter().map(|document| document.lines().count() + 1).sum::<usize>();
    let errors = parse("p.yaml", Syntax::Yaml, &documents.join("---\n"), None).expect_err("one is wrong");
    let told: Vec<_> = errors.iter().map(|error| (error.to_string(), error.hint().unwrap_or_default())).collect();
    let place = format!("p.yaml:{}:1", lines_before + 5);
    assert_eq!(told, [(format!("{place}: document 9999: unknown field `subjet`"), "did you mean `subject`?")]);

    documents[9_998] = "apiVersion: [\n".to_owned();
    let told = refused(&documents.join("---\n"));
    assert!(told.starts_with("p.yaml:") && told.contains(": not YAML: "), "{told}");
}

#[test]
fn many_labels_of_one_selector_are_read_in_seconds() {
    let labels: String = (0..100_000).map(|number| format!("l{number}: x, ")).collect();
    let text = native(1, &format!("subject: {{labels: {{{labels}}}}}"), "ports: [1]");
    let begun = Instant::now();
    parse("p.yaml", Syntax::Yaml, &text, None).expect("it is valid");
    let networks: String = (0..20_000).map(|number| format!("n{number}: {{labels: {{a: b}}}}, ")).collect();
    Suite::parse("w.yaml", Syntax::Yaml, &format!("networks: {{{networks}}}")).expect("it is valid");
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[test]
fn aliases_do_not_multiply() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let below = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    let told = refused(&text);
    assert!(told.contains("not YAML"), "{told}");
}

#[test]
fn nesting_has_an_end() {
    for text in [
        "[".repeat(100_000),
        "{a: ".repeat(100_000),
        "- ".repeat(100_000),
        (0..1_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect(),
    ] {
        let told = refused(&text);
        assert!(told.contains("not YAML") && told.len() < 300, "{told}");
    }
    let deep = format!("a = {}{}", "[".repeat(100_000), "]".repeat(100_000));
    parse("p.toml", Syntax::Toml, &deep, None).expect_err("too deep");
}

#[test]
fn a_long_line_is_read_in_seconds() {
    let text = format!(
        "apiVersion = \"fabric/v1\"\nkind = \"Policy\"\nmetadata = {{name = \"a\"}}\nnetworks = [{}]",
        "\"a\",".repeat(300_000)
    );
    let begun = Instant::now();
    parse("p.toml", Syntax::Toml, &text, None).expect("one network, often");
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[test]
fn a_file_has_a_largest_size() {
    let told = refused(&"#".repeat(FILE_LIMIT + 1));
    assert_eq!(told, "p.yaml:1:1: the file is larger than 16 MiB");
}

#[test]
fn a_long_text_is_cut_where_it_is_told() {
    let long = "x".repeat(1_000_000);
    for text in [
        format!("kind: {long}\napiVersion: a"),
        format!("apiVersion: fabric/v1\nkind: Policy\nmetadata: {{name: {long}}}\nnetworks: [a]"),
        format!("apiVersion: fabric/v1\nkind: Stance\nmetadata: {{name: a}}\nnetworks: [a]\ningress: \"{long}\""),
        format!("apiVersion: fabric/v1\nkind: Policy\nmetadata: {{name: a}}\nnetworks: [a]\ntier: \"{long}\""),
        format!("a: 1\n{}: 1\n{}: 1", &long[..1_000], &long[..1_000]),
        format!(
            "apiVersion: fabric/v1\nkind: Policy\nmetadata: {{name: a}}\nnetworks: [a]\nsubject: {{labels: {{a: \"{long}\"}}}}"
        ),
    ] {
        let told = refused(&text);
        assert!(told.len() < 700, "{}", &told[..700]);
    }
}

#[test]
fn characters_that_act_on_a_terminal_are_not_told_as_they_are() {
    for text in [
        "apiVersion: fabric/v1\nkind: Stance\nmetadata: {name: a}\nnetworks: [a]\ningress: |\n  deny\n",
        "apiVersion: fabric/v1\nkind: Stance\nmetadata: {name: a}\nnetworks: [a]\ningress: \"\\e[2J\"\n",
        "apiVersion: fabric/v1\nkind: Policy\nmetadata: {name: a}\nnetworks: [a]\ntier: \"\\u202e\"\n",
        "\"\\e[2J\": 1\n\"\\e[2J\": 1\n",
    ] {
        let told = refused(text);
        assert!(!told.chars().any(|character| character.is_control() || character == '\u{202e}'), "{told:?}");
    }
}
