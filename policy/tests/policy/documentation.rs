//! What `docs/policy.md` shows is read, and becomes what it says.

use policy::{Effect, Policies, Question, Suite, Syntax, World, evaluate, parse, warnings};

use crate::rig::now;

const PAGE: &str = include_str!("../../../docs/policy.md");

/// The blocks of a language in the page.
fn blocks<'p>(language: &str) -> impl Iterator<Item = &'p str> {
    let fence = format!("```{language}\n");
    let rest = PAGE.split_once(&fence).expect("the page has such blocks").1;
    let blocks: Vec<&str> =
        rest.split(fence.as_str()).map(|block| block.split("```").next().unwrap_or(block)).collect();
    blocks.into_iter()
}

fn world() -> World {
    let world = blocks("yaml").next().expect("the first block is the world");
    Suite::parse("docs/policy.md", Syntax::Yaml, world).expect("it is valid").world
}

fn set(syntax: Syntax, text: &str) -> Policies {
    let documents = parse("docs/policy.md", syntax, text, None).unwrap_or_else(|errors| panic!("{errors:?}\n{text}"));
    Policies::new(documents).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn every_example_becomes_what_is_said_below_it() {
    let world = world();
    let mut tried = 0;
    for block in blocks("yaml").skip(1).filter(|block| !block.starts_with("policies:")) {
        let policies = set(Syntax::Yaml, block);
        assert_eq!(warnings(&policies, Some(&world), now()), [], "{block}");
        let said = block.lines().filter_map(|line| line.strip_prefix("# "));
        let before = tried;
        for line in said {
            let (verdict, flow) = line.split_once(' ').expect("a verdict and a flow");
            let (from, to) = flow.split_once(" -> ").expect("an arrow");
            let expected = if verdict == "allow" { Effect::Allow } else { Effect::Deny };
            let effects = Question::read(from.trim(), to)
                .and_then(|question| {
                    question.each_flow(&world, |it| evaluate(&policies, &world, &it.judged, now()).effect())
                })
                .unwrap_or_else(|error| panic!("{line}: {error}"));
            assert!(effects.iter().all(|effect| *effect == expected), "{line}: {effects:?}\n{block}");
            tried += 1;
        }
        assert!(tried > before, "nothing is said of:\n{block}");
    }
    assert!(tried >= 40, "{tried}");
}

#[test]
fn the_example_in_toml_says_the_same_as_the_one_before_it() {
    let toml = set(Syntax::Toml, blocks("toml").next().expect("there is one"));
    let yaml = blocks("yaml").find(|block| block.contains("name: maintenance")).expect("there is one");
    let rules = |policies: &Policies| {
        let mut rules = policies.policies()[0].rules.clone();
        rules.iter_mut().for_each(|rule| rule.place.position = policy::Position::START);
        rules
    };
    assert_eq!(rules(&toml), rules(&set(Syntax::Yaml, yaml)));
}
