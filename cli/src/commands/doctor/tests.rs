use api::{Check, CheckResult, Difference};

use super::*;

#[test]
fn each_check_has_a_row_with_its_differences_and_remedies_below() {
    let check = |name: &str, result, message: &str, hint: Option<&str>| Check {
        name: name.to_owned(),
        result,
        message: message.to_owned(),
        hint: hint.map(str::to_owned),
        differences: Vec::new(),
    };
    let difference = |object: &str, difference: &str| Difference {
        object: object.to_owned(),
        difference: difference.to_owned(),
        remedy: "mend it with `fabric doctor --fix`".to_owned(),
    };
    let mut doctor = Doctor::new(vec![
        check("links", CheckResult::Ok, "every interface is as it should be", None),
        Check {
            differences: vec![
                difference("bridge fb-0123456789ab of network web", "mtu 1400 instead of 1500"),
                difference("veth fe-0123456789ab of container api", "is missing"),
            ],
            ..check("links", CheckResult::Problem, "2 differences", None)
        },
        check("dns", CheckResult::Warning, "no upstream", Some("add one to /etc/resolv.conf")),
    ]);
    insta::assert_snapshot!("doctor", render(&doctor));
    doctor.mended = vec![difference("/run/fabric/containers/00", "belongs to no container")];
    insta::assert_snapshot!("mended", render(&doctor));
}
