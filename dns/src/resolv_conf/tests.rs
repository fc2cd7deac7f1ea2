use super::*;

fn servers(addresses: &[&str]) -> Arc<[SocketAddr]> {
    addresses.iter().map(|text| SocketAddr::new(text.parse().expect("an address"), DNS_PORT)).collect()
}

#[test]
fn resolv_conf_is_read_as_the_c_library_reads_it() {
    let text = "# made by hand\nnameserver 192.0.2.1\nnameserver\t2001:db8::1 # second\n nameserver 192.0.2.1\n\
                nameserver fe80::1%eth0\nnameserver nonsense\nnameserver\ndomain old.example\n\
                search example.org. corp.example bad/name dots.. a..b .\noptions ndots:2 edns0\nsortlist 10.0.0.0\n;options x\n\
                nameserver 0.0.0.0";
    assert_eq!(
        HostResolver::parse(text),
        HostResolver {
            servers: servers(&["192.0.2.1", "2001:db8::1", "127.0.0.1"]),
            search: vec!["example.org".into(), "corp.example".into()],
            options: vec!["ndots:2".into(), "edns0".into()],
        }
    );
    assert_eq!(HostResolver::parse(""), HostResolver::default());
}

#[test]
fn changes_of_the_file_are_followed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("resolv.conf");
    let file = ResolvConf::with_uplinks(&path, directory.path().join("uplinks"));
    let mut now = Instant::now();
    let mut servers_at = |later: Duration| {
        now += later;
        file.at(now).servers.clone()
    };
    assert_eq!(servers_at(Duration::ZERO), servers(&[]), "there is none yet");
    fs::write(&path, "nameserver 192.0.2.1\n").expect("the directory is ours");
    assert_eq!(servers_at(INTERVAL / 2), servers(&[]), "looked at a moment ago");
    assert_eq!(servers_at(INTERVAL), servers(&["192.0.2.1"]));
    // As programs do it: a new file takes the old one's place.
    let draft = directory.path().join("draft");
    fs::write(&draft, "nameserver 192.0.2.2\n").expect("the directory is ours");
    fs::rename(&draft, &path).expect("both are in one directory");
    assert_eq!(servers_at(INTERVAL), servers(&["192.0.2.2"]));
    fs::remove_file(&path).expect("it is there");
    assert_eq!(servers_at(INTERVAL), servers(&[]));
}

#[test]
fn behind_the_stub_of_systemd_resolved_are_its_uplinks() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (path, uplinks) = (directory.path().join("resolv.conf"), directory.path().join("uplinks"));
    let found = |resolv_conf: &str, behind: Option<&str>| {
        fs::write(&path, resolv_conf).expect("the directory is ours");
        let _ = fs::remove_file(&uplinks);
        if let Some(behind) = behind {
            fs::write(&uplinks, behind).expect("the directory is ours");
        }
        ResolvConf::with_uplinks(&path, &uplinks).current()
    };
    let stub = "nameserver 127.0.0.53\nsearch corp.example\noptions edns0\n";
    let behind = found(stub, Some("nameserver 192.0.2.1\nnameserver 192.0.2.2\n"));
    assert_eq!(behind.servers, servers(&["192.0.2.1", "192.0.2.2"]));
    assert_eq!(behind.search, ["corp.example"]);
    assert_eq!(found(stub, None).servers, servers(&["127.0.0.53"]), "then the stub is asked itself");
    assert_eq!(found(stub, Some("# none\n")).servers, servers(&["127.0.0.53"]));
    let mixed = "nameserver 192.0.2.9\nnameserver 127.0.0.53\n";
    assert_eq!(found(mixed, Some("nameserver 192.0.2.1\n")).servers, servers(&["192.0.2.9", "127.0.0.53"]));
    assert_eq!(found("nameserver 127.0.0.1\n", Some("nameserver 192.0.2.1\n")).servers, servers(&["127.0.0.1"]));
}
