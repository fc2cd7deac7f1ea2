use api::{Check, CheckResult};

use super::*;

#[test]
fn each_check_has_a_row_and_its_hint_below() {
    let check = |name: &str, result, message: &str, hint: Option<&str>| Check {
        name: name.to_owned(),
        result,
        message: message.to_owned(),
        hint: hint.map(str::to_owned),
    };
    let doctor = Doctor::new(vec![
        check("kernel", CheckResult::Ok, "Linux 6.18 has what is needed", None),
        check("network web", CheckResult::Problem, "rules are missing", Some("they are restored: fabric doctor")),
        check("dns", CheckResult::Warning, "no upstream", Some("add one to /etc/resolv.conf")),
    ]);
    insta::assert_snapshot!("doctor", render(&doctor));
}
