//! The main job, as `scripts/demo` shows it.

use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Duration,
};

use tests::{Host, eventually, fetch};

#[test]
fn a_container_is_born_on_a_named_network_and_outlives_the_daemon() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    let api = host.run("api", "web", &["-p", "8080:80"], &["httpd", "-f", "-p", "80", "-h", "/etc"]);

    let ask = || fetch(host.namespace(), Ipv4Addr::LOCALHOST, 8080, "hostname");
    eventually("the server listens", || ask().ok());
    let looked_up = host.ok(&["run", "--rm", "--network", "web", "busybox", "nslookup", "api"]);
    assert!(looked_up.contains(&api.ipv4.to_string()), "{looked_up}");
    let hostname = host.ok(&["run", "--rm", "--network", "web", "busybox", "wget", "-qO-", "http://api/hostname"]);
    assert_eq!(hostname, "api");
    assert_eq!(ask().expect("the published port answers"), hostname);

    let (stop, answers) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(ask().expect("the published port answers throughout"), hostname);
                answers.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let more = |what| {
            let before = answers.load(Ordering::Relaxed);
            eventually(what, || (answers.load(Ordering::Relaxed) > before + 20).then_some(()));
        };
        more("answers with the daemon");
        host.kill();
        more("answers without the daemon");
        host.start();
        more("answers with the new daemon");
        stop.store(true, Ordering::Relaxed);
    });

    assert_eq!(host.attached("api"), api, "it is the same container");
    assert_eq!(host.ok(&["exec", "api", "hostname"]), hostname);
    assert_eq!(host.ok(&["logs", "api"]), "");
    let listed = host.ok(&["ps"]);
    assert!(listed.contains("api") && listed.contains("running"), "{listed}");
    let network = host.json(&["network", "inspect", "web"]);
    assert_eq!(network["endpoints"][0]["ipv4"], api.ipv4.to_string(), "{network:#}");
    host.assert_healthy();
}
