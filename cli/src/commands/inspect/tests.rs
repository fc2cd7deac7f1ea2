use super::*;
use crate::commands::samples;

#[test]
fn everything_about_a_container_is_shown() {
    let [attached, exited, _] = samples::containers().try_into().expect("three samples");
    insta::assert_snapshot!("attached", render(&attached));
    insta::assert_snapshot!("exited", render(&exited));
}
