use super::*;

const ALLOW: &str =
    "apiVersion: fabric/v1\nkind: Policy\nmetadata: {name: NAME}\nnetworks: [web]\ningress:\n- {action: allow}\n";

fn file(name: &str, text: &str) -> PolicyFile {
    PolicyFile { name: name.to_owned(), network: None, text: text.to_owned(), documents: BTreeSet::new() }
}

fn policy(name: &str) -> String {
    ALLOW.replace("NAME", name)
}

fn with(book: &Rulebook, files: &[(&str, &str)]) -> Result<(Rulebook, Vec<String>), Failure> {
    let mut number = book.files.len();
    let draw = || {
        number += 1;
        number.to_string()
    };
    let files = files.iter().map(|(name, text)| file(name, text)).collect();
    let (book, changes) = book.with(files, draw)?;
    Ok((book, changes.into_iter().map(|change| format!("{} {:?}", change.name, change.action)).collect()))
}

fn files(book: &Rulebook) -> Vec<String> {
    let shown = |parsed: &Parsed| {
        let names: Vec<&str> = parsed.file.documents.iter().map(String::as_str).collect();
        format!("{}: {}", parsed.file.name, names.join(" "))
    };
    book.files.values().map(shown).collect()
}

#[test]
fn a_document_that_is_given_anew_takes_the_place_of_the_old_one() {
    let both = format!("{}---\n{}", policy("a"), policy("b"));
    let (book, changes) = with(&Rulebook::default(), &[("both.yaml", &both)]).expect("valid");
    assert_eq!(changes, ["a Created", "b Created"]);
    assert_eq!(files(&book), ["both.yaml: a b"]);

    let (same, changes) = with(&book, &[("both.yaml", &both)]).expect("valid");
    assert_eq!(changes, ["a Unchanged", "b Unchanged"]);
    assert_eq!(same.news(&book), (Vec::new(), Vec::new()), "nothing is to be written");

    let moved = format!("# a comment\n{}", policy("a"));
    let (book, changes) = with(&book, &[("a.yaml", &moved)]).expect("valid");
    assert_eq!(changes, ["a Unchanged"], "it says the same elsewhere");
    assert_eq!(files(&book), ["both.yaml: b", "a.yaml: a"]);

    let other = policy("b").replace("allow", "deny");
    let (book, changes) = with(&book, &[("b.yaml", &other)]).expect("valid");
    assert_eq!(changes, ["b Changed"]);
    let mut left = files(&book);
    left.sort();
    assert_eq!(left, ["a.yaml: a", "b.yaml: b"], "a file goes with its last document");

    let (same, changes) = with(&book, &[("empty.yaml", "# nothing yet\n")]).expect("valid");
    assert_eq!((changes, same.news(&book)), (Vec::new(), (Vec::new(), Vec::new())), "a file without any is none");

    let less = book.without("a").expect("it is there");
    assert_eq!(files(&less), ["b.yaml: b"]);
    assert!(matches!(less.without("a"), Err(Failure::Unknown { .. })));
    assert!(less.without("b").expect("it is there").is_empty());
}

#[test]
fn nothing_is_taken_of_files_of_which_something_is_wrong() {
    let stance = "apiVersion: fabric/v1\nkind: Stance\nmetadata: {name: NAME}\nnetworks: [web]\ningress: deny\n";
    let (book, _) = with(&Rulebook::default(), &[("s.yaml", &stance.replace("NAME", "s"))]).expect("valid");
    for (files, expected) in [
        (vec![("a.yaml", policy("a")), ("b.yaml", policy("b").replace("action", "actoin"))], "unknown field"),
        (vec![("a.yaml", policy("a")), ("b.yaml", policy("a"))], "is there already"),
        (vec![("a.yaml", stance.replace("NAME", "t"))], "has a stance already"),
        (vec![("a.yaml", policy("s"))], "is the name of a Policy and of a Stance"),
    ] {
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let failure = with(&book, &files).expect_err("something is wrong");
        let text = model::Chain(&failure).to_string();
        assert!(text.contains(expected), "{expected}: {text}");
    }
}
