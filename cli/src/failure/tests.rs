use api::Problem;

use super::*;

fn plain(failure: &Failure) -> String {
    anstream::adapter::strip_str(&failure.render()).to_string()
}

fn refused(problem: Problem) -> Failure {
    Failure::Client(ClientError::Problem { status: 404, problem })
}

#[test]
fn a_failure_is_told_with_its_causes_and_what_to_do() {
    let problem = Problem {
        causes: vec!["address 10.1.0.2 is taken".to_owned(), "by container `db`,\nsince Monday \u{1b}[31m".to_owned()],
        ..Problem::new("cannot attach container `api` to network `web`").with_hint("did you mean `wob`?")
    };
    insta::assert_snapshot!("problem", plain(&refused(problem)));
    insta::assert_snapshot!(
        "import",
        plain(&Failure::Import { path: "busybox.tar".into(), source: io::Error::from_raw_os_error(2) })
    );
    let away = ClientError::Connect { socket: "/run/fabric/netd.sock".into(), source: io::Error::from_raw_os_error(2) };
    insta::assert_snapshot!("away", plain(&away.into()));
    let denied =
        ClientError::Connect { socket: "/run/fabric/netd.sock".into(), source: io::Error::from_raw_os_error(13) };
    // The rest is the host's.
    assert!(plain(&denied.into()).contains("hint: run it as root"));
    let several = Failure::from_several(vec![refused(Problem::new("no a")), refused(Problem::new("no b"))]);
    insta::assert_snapshot!("several", plain(&several.expect_err("two failed")));
}

#[test]
fn exit_codes_are_those_of_container_tools() {
    let not_found = || refused(Problem::new("no such program").with_exit_code(127));
    let not_started = || Failure::NotStarted { code: 126, message: "permission denied".to_owned() };
    let pipe = || Failure::Output(ErrorKind::BrokenPipe.into());
    for (failure, code) in [
        (not_found(), 1),
        (not_found().not_run(), 127),
        (refused(Problem::new("no image")).not_run(), 125),
        (not_started().not_run(), 126),
        (Failure::Lost("api".to_owned()).not_run(), 125),
        (pipe(), 141),
        (pipe().not_run(), 141),
        (Failure::Output(ErrorKind::StorageFull.into()), 1),
        (Failure::Several(vec![not_found(), not_found()]), 1),
    ] {
        assert_eq!(failure.exit_code(), code, "{failure:?}");
    }
    assert_eq!(pipe().render(), "", "who closed the output knows");
}
