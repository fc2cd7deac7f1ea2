use super::*;

#[test]
fn both_sides_have_a_version_unless_one_is_away() {
    let version = |text: &str| api::Version { version: text.to_owned(), api: "v1".to_owned() };
    let both = Versions { client: version("0.1.0"), server: Some(version("0.2.0")) };
    insta::assert_snapshot!("both", render(&both));
    insta::assert_snapshot!("alone", render(&Versions { client: version("0.1.0"), server: None }));
}
