//! `GET /metrics`: what monitoring sees.

use std::{collections::BTreeMap, process::Command};

use tests::Host;

/// Every sample by its name and labels, once each line has been held to be one of the format.
fn metrics(host: &Host) -> BTreeMap<String, f64> {
    let socket = host.run_dir().join("netd.sock");
    let output =
        Command::new("curl").args(["-sS", "--fail", "--unix-socket"]).arg(socket).arg("http://netd/metrics").output();
    let output = output.expect("curl runs");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut samples = BTreeMap::new();
    let mut typed = String::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("# TYPE ") {
            typed = name.split(' ').next().expect("a name").to_owned();
        } else if !line.starts_with("# HELP ") {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            assert!(name.starts_with(&typed), "`{line}` follows the type of {typed}");
            let twice = samples.insert(name.to_owned(), value.parse().expect("a number"));
            assert_eq!(twice, None, "{line}");
        }
    }
    samples
}

#[test]
fn what_happens_is_counted_in_series_that_do_not_grow() {
    let host = Host::new();
    host.ok(&["network", "create", "web", "--subnet", "10.9.8.0/24"]);
    let before = metrics(&host);
    assert_eq!(before["fabric_networks"], 1.0);
    assert_eq!(before["fabric_addresses_used"], 0.0);
    assert_eq!(before["fabric_container_start_seconds_count"], 0.0);
    assert!(before["fabric_addresses_capacity"] > 200.0 && before["fabric_store_bytes"] > 0.0, "{before:?}");
    for number in 0..3 {
        host.run(&format!("c{number}"), "web", &[], &["sleep", "1000"]);
    }
    host.ok(&["run", "--name", "job", "busybox", "true"]);
    // Who is attached learns of the end from the shim, a moment before netd does.
    host.ok(&["wait", "job"]);
    let after = metrics(&host);
    assert_eq!(after["fabric_containers{state=\"running\"}"], 3.0);
    assert_eq!(after["fabric_containers{state=\"exited\"}"], 1.0);
    assert_eq!((after["fabric_endpoints"], after["fabric_addresses_used"]), (3.0, 3.0));
    assert_eq!(after["fabric_attach_seconds_count"], 4.0);
    assert_eq!(after["fabric_attach_seconds_bucket{le=\"+Inf\"}"], 4.0);
    assert!(after["fabric_attach_seconds_sum"] > 0.0);
    assert!(after["fabric_container_start_seconds_count"] >= 3.0, "{after:?}");
    assert!(after["fabric_kernel_changes_total"] > before["fabric_kernel_changes_total"]);
    assert_eq!(after["fabric_reconcile_failures_total"], 0.0);
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>(), "no series for what people name");
}
