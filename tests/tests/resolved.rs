//! A host whose resolver is the stub of systemd-resolved: the servers behind it are asked, as they come and go.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::Command,
};

use tests::{Answer, Host, RecordType, answer_everything, ask, eventually};

/// Gives the daemon, in a mount namespace of its own, what systemd-resolved makes of `/etc/resolv.conf`.
const MOUNT: &str = r#"
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/resolve
mount --bind "$0" /run/systemd/resolve
mount --bind "$0/stub-resolv.conf" /etc/resolv.conf
exec "$@"
"#;
const STUB: &str = "# made by systemd-resolved\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch corp.example\n";

#[test]
fn the_servers_behind_the_stub_are_asked_as_they_change() {
    let host = Host::stopped("");
    let resolve = host.path("resolve");
    fs::create_dir(&resolve).expect("the directory is ours");
    fs::write(resolve.join("stub-resolv.conf"), STUB).expect("the directory is ours");
    // As systemd-resolved does: a new file takes the place of the old one.
    let uplinks = |servers: &[u8]| {
        let text: String = servers.iter().map(|last| format!("nameserver 127.0.0.{last}\n")).collect();
        fs::write(resolve.join("draft"), text + "search corp.example\n").expect("the directory is ours");
        fs::rename(resolve.join("draft"), resolve.join("resolv.conf")).expect("the directory is ours");
    };
    uplinks(&[11]);
    for last in [11, 12, 53] {
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), 53);
        answer_everything(host.namespace(), address, Ipv4Addr::new(203, 0, 113, last));
    }
    let netd = host.netd_command();
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-euc", MOUNT]).arg(&resolve).arg(netd.get_program()).args(netd.get_args());
    command.stderr(fs::File::options().append(true).open(host.path("netd.log")).expect("it was made"));
    host.spawn(&mut command);
    host.wait_until_ready();
    host.import_busybox();
    host.ok(&["network", "create", "web", "--subnet", "10.9.8.0/24"]);
    let asker = host.run("asker", "web", &[], &["sleep", "1000"]).namespace();
    let server = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 9, 8, 1)), 53);
    let from = |last: u8| {
        let expected = Answer { code: 0, records: vec![Ipv4Addr::new(203, 0, 113, last).to_string()] };
        eventually("that server is asked", || {
            let answer = ask(&asker, server, "www.example.com", RecordType::A).expect("an answer");
            (answer == expected).then_some(())
        });
    };
    from(11);
    let told = host.ok(&["exec", "asker", "cat", "/etc/resolv.conf"]);
    assert_eq!(told, "nameserver 10.9.8.1\nsearch corp.example\noptions ndots:0", "never the stub");
    // The host moves to another network.
    uplinks(&[12]);
    from(12);
    // It has none for a moment, or systemd-resolved no such file: then the stub itself is asked.
    fs::remove_file(resolve.join("resolv.conf")).expect("it was there");
    from(53);
    uplinks(&[11, 12]);
    from(11);
    // The first of the two is silent from now on: nothing but the second is left.
    uplinks(&[99, 12]);
    from(12);
    host.assert_healthy();
}
