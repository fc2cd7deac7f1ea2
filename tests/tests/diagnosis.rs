//! The doctor, alone with a host on which somebody broke one thing: it names that thing, and mends it.
//!
//! The daemon is told not to mend by itself, so nothing is put right before the doctor looks.

use std::{fs, path::PathBuf};

use rustix::process::{Signal, kill_process};
use tests::{Attached, Host, Namespace, PATIENCE, difference, eventually, shim_of, within, without_carrier};

/// A host with a network of both families, a container that publishes a port on it, and a second network.
struct Scene {
    host: Host,
    api: Attached,
    bridge: String,
    port: String,
    namespace: PathBuf,
    /// Its state while nothing is damaged.
    healthy: String,
}

impl Scene {
    fn new() -> Self {
        let host = Host::stopped("");
        let mut command = host.netd_command();
        host.spawn(command.env("NETD_HANDS_OFF", "1"));
        host.wait_until_ready();
        host.import_busybox();
        host.ok(&["network", "create", "web", "--subnet", "10.9.8.0/24", "--subnet", "fd09::/64"]);
        let api = host.run("api", "web", &["-p", "8080:80"], &["sleep", "1000"]);
        let (bridge, port) = (host.interface("fb-"), host.interface("fe-"));
        let inode = |path: &PathBuf| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).expect("it is there"));
        let pins = fs::read_dir(host.run_dir().join("netns")).expect("readable");
        let own = inode(&PathBuf::from(format!("/proc/{}/ns/net", api.pid)));
        let namespace = pins.map(|pin| pin.expect("readable").path()).find(|pin| inode(pin) == own);
        let namespace = namespace.expect("it is pinned");
        let mut scene = Self { api, bridge, port, namespace, healthy: String::new(), host };
        eventually("spare namespaces are ready", || (scene.host.fabric(&["doctor"]).code == 0).then_some(()));
        scene.healthy = scene.state();
        scene
    }

    fn inside(&self) -> Namespace {
        self.api.namespace()
    }

    /// Everything of the host's and the container's network, IPv6 as well: but for what the kernel does of its own
    /// accord some time after a link came up or went down.
    fn state(&self) -> String {
        let parts: [&[&str]; 4] = [
            &["ip", "-6", "-o", "address", "show", "scope", "global"],
            &["sh", "-c", "ip -6 route show | grep -v ^fe80::"],
            &["sh", "-c", &format!("bridge fdb show br {} | grep -v -e ^33:33: -e ^01:00:5e: | sort", self.bridge)],
            &["sh", "-c", "tail -n +1 /proc/sys/net/ipv[46]/conf/f*/{route_localnet,disable_ipv6,accept_ra} 2>&1"],
        ];
        let host = parts.map(|part| self.host.namespace().try_run(part).stdout).join("\n");
        let inside = [
            &["ip", "-o", "-d", "link"][..],
            &["ip", "-o", "address", "show", "scope", "global"],
            &["ip", "route"],
            &["ip", "-6", "route", "show", "default"],
            &["sh", "-c", "cat /proc/sys/net/ipv6/conf/*/disable_ipv6"],
        ];
        let inside = inside.map(|part| self.inside().try_run(part).stdout).join("\n");
        without_carrier(&format!("{}\n{host}\n{inside}", self.host.kernel_state()))
    }

    /// What the doctor finds, one line for each.
    fn found(&self) -> Vec<String> {
        let told = self.host.fabric(&["doctor", "--format", "json"]);
        let told: serde_json::Value = serde_json::from_str(&told.stdout).expect("JSON");
        let checks = told["checks"].as_array().expect("a list");
        let differences = checks.iter().flat_map(|check| check["differences"].as_array().cloned().unwrap_or_default());
        let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
        differences.map(|one| format!("{}: {}", text(&one["object"]), text(&one["difference"]))).collect()
    }

    /// Damages, expects the doctor to find what begins so and nothing else, has it mended, and looks whether all is as
    /// it was; returns what went wrong.
    fn broken(&self, damage: &str, expected: &[String]) -> Option<String> {
        self.host.namespace().run(&["sh", "-c", damage]);
        let found = self.found();
        let begins = |(is, should): (&String, &String)| is.starts_with(should.as_str());
        if found.len() != expected.len() || !found.iter().zip(expected).all(begins) {
            return Some(format!("{damage}\nfound {found:#?}\ninstead of {expected:#?}"));
        }
        let mended = self.host.fabric(&["doctor", "--fix"]);
        if mended.code != 0 || !found.iter().all(|line| mended.stdout.contains(&format!("mended: {line}"))) {
            return Some(format!("{damage}\n{mended}\n{found:#?}"));
        }
        // Lines are compared, not their order: what was made anew comes last.
        let rest = || Some(difference(&self.healthy, &self.state())).filter(|rest| !rest.is_empty());
        if within(PATIENCE, || rest().is_none().then_some(())).is_none() {
            return Some(format!("{damage}\nis mended with\n{}", rest().unwrap_or_default()));
        }
        let again = self.found();
        (!again.is_empty()).then(|| format!("{damage}\nleaves {again:#?}"))
    }

    #[track_caller]
    fn assert_each_is_named_and_mended(&self, damages: Vec<(String, Vec<String>)>) {
        let wrong: Vec<_> = damages.iter().filter_map(|(damage, expected)| self.broken(damage, expected)).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    }
}

/// The MAC address of a container's interface, as it is written.
fn mac(inside: &Namespace) -> String {
    let link = inside.run(&["ip", "-o", "link", "show", "eth0"]);
    link.split_whitespace().skip_while(|word| *word != "link/ether").nth(1).expect("it has an address").to_owned()
}

#[test]
fn each_difference_of_the_hosts_network() {
    let scene = Scene::new();
    let (bridge, port) = (scene.bridge.as_str(), scene.port.as_str());
    let of_web = |what: &str| format!("interface {bridge} of network `web`: {what}");
    let of_api = |what: &str| format!("interface {port} of container `api`: {what}");
    let mac = mac(&scene.inside());
    let setting = |path: &str, value: &str| format!("echo {value} > /proc/sys/net/{path}");
    let ip = |line: &str| format!("ip {line}");
    let damages: Vec<(String, Vec<String>)> = vec![
        (ip(&format!("link set {bridge} mtu 1400")), vec![of_web("should have mtu 1500")]),
        (ip(&format!("link set {bridge} alias mine")), vec![of_web("should have alias fabric:network:")]),
        (ip(&format!("link set {bridge} address 02:00:00:00:00:77")), vec![of_web("should have mac ")]),
        (ip(&format!("address del 10.9.8.1/24 dev {bridge}")), vec![of_web("lacks the address 10.9.8.1/24")]),
        (ip(&format!("address del fd09::1/64 dev {bridge}")), vec![of_web("lacks the address fd09::1/64")]),
        (ip(&format!("-6 address flush dev {bridge} scope link")), vec![of_web("lacks the address fe80::")]),
        (setting(&format!("ipv6/conf/{bridge}/accept_ra"), "2"), vec![of_web("should have ipv6 on")]),
        (setting(&format!("ipv4/conf/{bridge}/route_localnet"), "0"), vec![of_web("should have loopback routing on")]),
        (ip(&format!("link set {port} down")), vec![of_api("should have up")]),
        (ip(&format!("link set {port} mtu 1400")), vec![of_api("should have mtu 1500")]),
        (ip(&format!("link set {port} nomaster")), vec![of_api("should have master ")]),
        (format!("bridge link set dev {port} hairpin off"), vec![of_api("should have hairpin on")]),
        (format!("bridge link set dev {port} learning on"), vec![of_api("should have fixed ")]),
        (format!("bridge link set dev {port} flood on"), vec![of_api("should have fixed ")]),
        (format!("bridge fdb del {mac} dev {port} master"), vec![of_api("should have fixed ")]),
        (
            "nft delete element inet fabric published_address '{ tcp . 8080 }'; \
             nft delete element inet fabric published_port '{ tcp . 8080 }'"
                .to_owned(),
            vec!["element publish tcp *:8080 -> 10.9.8.2:80: is missing".to_owned()],
        ),
        (
            // Half of one leads elsewhere.
            "nft delete element inet fabric published6_port '{ tcp . 8080 }'".to_owned(),
            vec![
                "element publish tcp *:8080 -> [fd09::2]:0: is in table".to_owned(),
                "element publish tcp *:8080 -> [fd09::2]:80: is missing".to_owned(),
            ],
        ),
        (
            "nft add element inet fabric published_address '{ tcp . 99 : 10.9.8.2 }'; \
             nft add element inet fabric published_port '{ tcp . 99 : 80 }'"
                .to_owned(),
            vec!["element publish tcp *:99 -> 10.9.8.2:80: is in table inet fabric and should not be".to_owned()],
        ),
        ("nft flush set inet fabric bridges".to_owned(), vec!["element bridge ".to_owned()]),
        ("nft flush set bridge fabric senders".to_owned(), vec!["element ".to_owned()]),
        (
            "nft delete table inet fabric".to_owned(),
            vec!["table inet fabric or bridge fabric: is missing or was altered".to_owned()],
        ),
        (
            "nft delete table bridge fabric".to_owned(),
            vec!["table inet fabric or bridge fabric: is missing or was altered".to_owned()],
        ),
        (
            "nft flush chain bridge fabric port".to_owned(),
            vec!["table inet fabric or bridge fabric: is missing or was altered".to_owned()],
        ),
        (
            "nft insert rule inet fabric forward accept".to_owned(),
            vec!["table inet fabric or bridge fabric: is missing or was altered".to_owned()],
        ),
        (
            "tc filter del block 64177".to_owned(),
            vec!["the shortcut from port to port: is missing or was altered".to_owned()],
        ),
        (
            "tc filter add block 64177 prio 2 bpf bytecode '1,6 0 0 0'".to_owned(),
            vec!["the shortcut from port to port: is missing or was altered".to_owned()],
        ),
        (
            format!("tc qdisc del dev {port} clsact"),
            vec![format!("port {port} of container `api`: does not take the shortcut, or takes it only partly")],
        ),
        (setting("ipv4/ip_forward", "0"), vec!["net.ipv4.ip_forward: is 0 and should be 1".to_owned()]),
        (
            setting("ipv6/conf/all/forwarding", "0"),
            vec!["net.ipv6.conf.all.forwarding: is 0 and should be 1".to_owned()],
        ),
        (
            "ip link add fb-0123456789ab type bridge; ip link set fb-0123456789ab group 0x66616272".to_owned(),
            vec!["interface fb-0123456789ab: belongs to no network and no container".to_owned()],
        ),
    ];
    scene.assert_each_is_named_and_mended(damages);
}

#[test]
fn each_difference_of_a_containers_network() {
    let scene = Scene::new();
    let of_api = |what: &str| vec![format!("interface {} of container `api`: {what}", scene.port)];
    let name = scene.namespace.file_name().expect("a file").to_string_lossy().into_owned();
    let of_namespace =
        vec![format!("namespace {name} of container `api`: has no loopback interface that is up, or other settings")];
    let inside = |command: &str| format!("nsenter --net={} -- sh -c '{command}'", scene.namespace.display());
    let end = "its other end should be eth0";
    scene.assert_each_is_named_and_mended(vec![
        (inside("ip link set eth0 mtu 1400"), of_api(end)),
        (inside("ip address del 10.9.8.2/24 dev eth0"), of_api(end)),
        (inside("ip address del fd09::2/64 dev eth0"), of_api(end)),
        (inside("ip route del default"), of_api(end)),
        (inside("ip -6 route del default"), of_api(end)),
        (inside("ip link set eth0 down"), of_api(end)),
        (
            inside("ip link set eth0 address 02:00:00:00:00:77"),
            ["should have fixed ", end].iter().flat_map(|what| of_api(what)).collect(),
        ),
        (inside("ip link set lo down"), of_namespace.clone()),
        (inside("sysctl -qw net.ipv4.ip_unprivileged_port_start=1024"), of_namespace),
    ]);
    // What is made anew is not what it was to the letter.
    let works = || {
        let gateway = scene.inside().try_run(&["ping", "-n", "-c", "1", "-W", "10", "10.9.8.1"]);
        let gateway6 = scene.inside().try_run(&["ping", "-6", "-n", "-c", "1", "-W", "10", "fd09::1"]);
        (gateway.code, gateway6.code) == (0, 0)
    };
    let stray = scene.namespace.with_file_name("0123456789ab");
    let pin = format!("touch {0}; unshare --net={0} true", stray.display());
    for (damage, expected) in [
        (format!("ip link del {}", scene.port), format!("interface {} of container `api`: is missing", scene.port)),
        (
            inside("ip link set eth0 down; ip link set eth0 name other"),
            format!("interface {} of container `api`: its other end is called other and should be eth0", scene.port),
        ),
        (
            inside("ip link set eth0 down; ip link set eth0 name other; ip link set other up"),
            format!("interface {} of container `api`: is missing", scene.port),
        ),
        (inside("ip link del eth0"), format!("interface {} of container `api`: is missing", scene.port)),
        (format!("ip link del {}", scene.bridge), format!("interface {} of network `web`: is missing", scene.bridge)),
        (
            format!("umount -l {}", scene.namespace.display()),
            format!("namespace {name} of container `api`: is missing"),
        ),
        (pin, "namespace 0123456789ab: belongs to no container".to_owned()),
    ] {
        scene.host.namespace().run(&["sh", "-c", &damage]);
        let found = scene.found();
        assert!(found.iter().any(|line| line.starts_with(&expected)), "{damage}: {found:#?}");
        let mended = scene.host.fabric(&["doctor", "--fix"]).expect_code(0);
        assert!(mended.stdout.contains(&format!("mended: {expected}")), "{damage}: {mended}");
        scene.host.assert_healthy();
        assert!(works(), "{damage}");
    }
    assert!(!stray.exists());
    // A new start finds the containers' own namespaces as well.
    scene.host.kill();
    scene.host.namespace().run(&["umount", "-l", &scene.namespace.display().to_string()]);
    scene.host.start();
    assert!(works(), "unpinned while netd was away");
    scene.host.assert_healthy();
}

/// Where a bridge seeks an address: frames for it go to who should not have them, or to nobody.
#[test]
fn each_fixed_entry_of_a_forwarding_database_that_leads_astray() {
    let mut scene = Scene::new();
    let own = mac(&scene.inside());
    let port = scene.port.clone();
    let other = scene.host.run("other", "web", &[], &["sleep", "1000"]);
    let theirs = mac(&other.namespace());
    eventually("spare namespaces are ready", || (scene.host.fabric(&["doctor"]).code == 0).then_some(()));
    scene.healthy = scene.state();
    let links = scene.host.namespace().run(&["ip", "-o", "link", "show", "up", "master", &scene.bridge]);
    let ports = links.lines().filter_map(|line| line.split(": ").nth(1)?.split('@').next());
    let others = ports.filter(|name| *name != port).collect::<Vec<_>>();
    let [others] = others[..] else { panic!("one other port in:\n{links}") };
    let of = |port: &str, container: &str| format!("interface {port} of container `{container}`: should have fixed ");
    scene.assert_each_is_named_and_mended(vec![
        (format!("bridge fdb replace {own} dev {others} master static"), vec![of(&port, "api")]),
        (format!("bridge fdb replace {theirs} dev {port} master static"), vec![of(others, "other")]),
        (format!("bridge fdb replace {own} dev {port} master dynamic"), vec![of(&port, "api")]),
    ]);
    let reached = scene.inside().try_run(&["ping", "-n", "-c", "1", "-W", "30", &other.ipv4.to_string()]);
    assert_eq!(reached.code, 0, "{reached}");
}

#[test]
fn a_container_that_is_gone_without_a_trace_and_cannot_be_made_anew_yet() {
    let host = Host::new();
    let source = host.path("source");
    fs::create_dir(&source).expect("the directory is ours");
    host.ok(&["network", "create", "web"]);
    let api = host.run("api", "web", &["-v", &format!("{}:/mnt", source.display())], &["sleep", "1000"]);
    host.kill();
    kill_process(shim_of(api.pid), Signal::KILL).expect("it runs");
    eventually("the container ends with its shim", || gone(api.pid));
    for directory in [host.run_dir(), host.data_dir()] {
        fs::remove_dir_all(directory.join("containers").join(&api.id)).expect("nobody uses it");
    }
    let away = host.path("away");
    fs::rename(&source, &away).expect("one file system");
    host.start();
    let line = "container `api`: should be there, and has no shim";
    let told = host.fabric(&["doctor"]).expect_code(1);
    assert!(told.stdout.contains(line) && told.stdout.contains("hint: mend it with `fabric doctor --fix`"), "{told}");
    // What is in the way still is.
    let told = host.fabric(&["doctor", "--fix"]).expect_code(1);
    assert!(told.stdout.contains(line) && !told.stdout.contains("mended"), "{told}");
    fs::rename(&away, &source).expect("one file system");
    let mended = host.fabric(&["doctor", "--fix"]).expect_code(0);
    // netd tries it again by itself, too, and may have been there first.
    assert!(mended.stdout.contains(&format!("mended: {line}")) || !mended.stdout.contains("mended"), "{mended}");
    assert_ne!(host.attached("api").pid, api.pid);
    host.assert_healthy();
}

fn gone(pid: i64) -> Option<()> {
    (!fs::exists(format!("/proc/{pid}")).expect("proc")).then_some(())
}

#[test]
fn a_container_whose_keeper_is_gone() {
    let scene = Scene::new();
    let (host, api) = (&scene.host, &scene.api);
    let state = |name: &str| host.json(&["inspect", name])["state"].as_str().map(str::to_owned).expect("it has one");
    // Its shim is killed: it ends with it, and that is how it is.
    kill_process(shim_of(api.pid), Signal::KILL).expect("it runs");
    eventually("the container ends with its shim", || gone(api.pid));
    eventually("which is known", || (state("api") == "exited").then_some(()));
    host.assert_healthy();
    host.ok(&["start", "api"]);
    assert_ne!(host.attached("api").pid, api.pid);
    host.assert_healthy();
}
