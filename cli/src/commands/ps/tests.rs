use super::*;
use crate::commands::samples;

#[test]
fn containers_are_listed_in_columns() {
    insta::assert_snapshot!("containers", render(&samples::containers(), samples::now()));
    insta::assert_snapshot!("no_containers", render(&[], samples::now()));
}
