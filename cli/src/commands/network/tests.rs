use super::*;
use crate::commands::samples;

#[test]
fn networks_are_listed_in_columns() {
    insta::assert_snapshot!("networks", render_list(&samples::networks(), samples::now()));
}

#[test]
fn everything_about_a_network_is_shown() {
    insta::assert_snapshot!("network", render(&samples::networks()[0]));
    insta::assert_snapshot!("network_of_nobody", render(&samples::networks()[1]));
}
