use super::*;
use crate::commands::samples;

#[test]
fn the_daemon_is_shown_with_what_it_looks_after() {
    let status = Status {
        version: "0.1.0".to_owned(),
        pid: 815,
        started_at: "2026-11-20T09:15:00Z".parse().expect("literal"),
        data_dir: "/var/lib/fabric".into(),
        run_dir: "/run/fabric".into(),
        networks: 2,
        containers: 3,
        running: 1,
        images: 1,
    };
    insta::assert_snapshot!("status", render(&status, samples::now()));
}
