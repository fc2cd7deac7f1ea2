//! What goes wrong for one network, one container or one client goes wrong for that one alone.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, UdpSocket},
    os::unix::net::{UnixDatagram, UnixStream},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tests::{Halted, Host, RecordType, ask, eventually, shim_of};

fn texts(list: &Value, field: &str) -> Vec<String> {
    let items = list.as_array().expect("a list").iter();
    items.map(|item| item[field].as_str().expect("a text").to_owned()).collect()
}

/// Holds port 53 on an address of the host, as another DNS server does.
fn other_server(host: &Host, address: Ipv4Addr) -> UdpSocket {
    let bind = || host.namespace().enter(|| UdpSocket::bind((address, 53)).ok());
    eventually("nobody has the port any more", bind)
}

#[test]
fn a_gateway_whose_port_another_program_took_keeps_no_other_network_from_anything() {
    let host = Host::new();
    host.ok(&["network", "create", "first", "--subnet", "10.9.8.0/24"]);
    host.run("one", "first", &[], &["sleep", "1000"]);
    host.kill();
    let other = other_server(&host, [10, 9, 8, 1].into());
    host.start();
    host.ok(&["network", "create", "second", "--subnet", "10.9.7.0/24"]);
    let two = host.run("two", "second", &[], &["sleep", "1000"]);
    let answer = ask(&two.namespace(), ([10, 9, 7, 1], 53).into(), "two", RecordType::A).expect("its network is whole");
    assert_eq!(answer.records, [two.ipv4.to_string()]);
    host.ok(&["network", "update", "second", "--internal"]);
    let refused = host.fabric(&["network", "update", "first", "--internal"]).expect_code(1);
    assert!(refused.stderr.contains("10.9.8.1:53"), "who asks for that network is told: {refused}");
    let told = host.fabric(&["doctor"]).expect_code(1);
    assert!(told.stdout.contains("10.9.8.1:53"), "{told}");
    drop(other);
    host.fabric(&["doctor", "--fix"]).expect_code(0);
    host.assert_healthy();
}

#[test]
fn a_network_that_could_not_be_made_is_not_taken_from_who_joined_it() {
    const ROUNDS: usize = 8;
    let host = Host::new();
    let other = other_server(&host, Ipv4Addr::UNSPECIFIED);
    for round in 0..ROUNDS {
        let decided = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for joiner in 0..3 {
                let (host, decided) = (&host, &decided);
                scope.spawn(move || {
                    for attempt in 0.. {
                        let name = format!("c{round}-{joiner}-{attempt}");
                        host.fabric(&["create", "--name", &name, "--network", "web", "busybox", "true"]);
                        if decided.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                });
            }
            host.fabric(&["network", "create", "web", "--subnet", "10.9.8.0/24"]).expect_code(1);
            decided.store(true, Ordering::Relaxed);
        });
        let networks = texts(&host.json(&["network", "ls"]), "name");
        let containers = host.json(&["ps", "-a"]);
        for container in containers.as_array().expect("a list") {
            let on = texts(&container["endpoints"], "network");
            assert!(on == ["web"] && networks == on, "of {networks:?} there is {container:#}");
        }
        let names = texts(&containers, "name");
        if !names.is_empty() {
            host.ok(&[&["rm", "-f"], &names.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat());
        }
        if !networks.is_empty() {
            host.ok(&["network", "rm", "web"]);
        }
    }
    drop(other);
    host.fabric(&["doctor", "--fix"]).expect_code(0);
    host.ok(&["network", "create", "web", "--subnet", "10.9.8.0/24"]);
}

#[test]
fn a_kill_is_carried_out_although_its_client_goes_away() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    let api = host.run("api", "web", &["--restart", "always"], &["sleep", "1000"]);
    let send = |path: &str, more: &str| {
        let mut stream = UnixStream::connect(host.run_dir().join("netd.sock")).expect("netd listens");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("not zero");
        write!(stream, "POST /v1/containers/api/{path} HTTP/1.1\r\nHost: netd\r\nContent-Length: 0\r\n{more}\r\n")
            .expect("netd reads");
        stream
    };
    let halted = Halted::new(shim_of(api.pid));
    // The container is worked on until its shim has taken this client.
    let mut attached = send("attach", "Connection: upgrade\r\nUpgrade: fabric-stream\r\n");
    let mut answer = [0; 12];
    attached.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 101");
    for _ in 0..3 {
        let impatient = send("kill", "");
        // Other requests are answered meanwhile, so this one has been read.
        host.ok(&["status"]);
        drop(impatient);
        host.ok(&["status"]);
    }
    drop(halted);
    let ended = || (host.json(&["inspect", "api"])["state"] == "exited").then_some(());
    eventually("the container has ended", ended);
    host.restart();
    assert_eq!(host.json(&["inspect", "api"])["state"], "exited");
    host.assert_healthy();
}

#[test]
fn without_its_zygote_netd_says_so_and_another_one_goes_on() {
    let host = Host::stopped("");
    let path = host.path("notify");
    let manager = UnixDatagram::bind(&path).expect("the directory is ours");
    manager.set_read_timeout(Some(Duration::from_secs(1))).expect("not zero");
    let mut command = host.netd_command();
    host.spawn(command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "1000000"));
    host.wait_until_ready();
    host.import_busybox();
    host.ok(&["network", "create", "web"]);
    let api = host.run("api", "web", &[], &["sleep", "1000"]);
    let sign = || manager.recv(&mut [0; 512]).is_ok();
    eventually("a sign of life", || sign().then_some(()));
    host.assert_healthy();

    let netd = host.netd_pid().as_raw_nonzero();
    let children = std::fs::read_to_string(format!("/proc/{netd}/task/{netd}/children")).expect("it runs");
    let is_zygote =
        |pid: &&str| std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"fabric-zygote"));
    let zygote = children.split_whitespace().find(is_zygote).expect("it has one").parse().expect("a number");
    kill_process(Pid::from_raw(zygote).expect("a process"), Signal::KILL).expect("it runs");
    eventually("no sign of life for a second", || (!sign()).then_some(()));
    let doctor = || Some(host.fabric(&["doctor"])).filter(|told| told.code != 0);
    let told = eventually("the doctor knows", doctor).expect_code(1);
    assert!(told.stdout.contains("no container can be started") && told.stdout.contains("restart netd"), "{told}");
    let refused = host.fabric(&["run", "--rm", "--network", "web", "busybox", "true"]).expect_code(125);
    assert!(refused.stderr.contains("restart netd"), "{refused}");
    let refused = host.fabric(&["restart", "-t", "0", "api"]).expect_code(1);
    assert!(refused.stderr.contains("cannot restart container `api`"), "{refused}");
    assert!(refused.stderr.contains("hint: restart netd, which ends no container"), "{refused}");
    assert_eq!(host.attached("api"), api, "what runs goes on");
    host.restart();
    assert_eq!(host.attached("api"), api);
    host.ok(&["run", "--rm", "--network", "web", "busybox", "true"]);
    host.assert_healthy();
}

#[test]
fn a_container_that_changes_its_network_all_the_time_keeps_nobody_from_being_repaired() {
    let host = Host::new();
    host.ok(&["network", "create", "web", "--subnet", "10.9.8.0/24"]);
    let busy = host.run("busy", "web", &["--cap-add", "NET_ADMIN"], &["sleep", "1000"]);
    let api = host.run("api", "web", &[], &["sleep", "1000"]);
    let bridges = host.namespace().run(&["ip", "-o", "link", "show", "type", "bridge"]);
    let bridge = bridges.split(": ").nth(1).expect("it has a name").to_owned();
    let inside = busy.namespace();
    // Thousands of addresses, one of which comes and goes as fast as anybody can ask for that.
    let addresses: String =
        (0..4000).map(|n| format!("address add 10.77.{}.{}/32 dev lo\n", n / 250, n % 250)).collect();
    let change = "address add 10.78.0.1/32 dev lo\naddress del 10.78.0.1/32 dev lo\n".repeat(1000);
    for (name, lines) in [("many", &addresses), ("change", &change)] {
        std::fs::write(host.path(name), lines).expect("the directory is ours");
    }
    inside.run(&["ip", "-batch", &host.path("many").to_string_lossy()]);
    let line = format!("while [ -e {0} ]; do ip -batch {0} || exit; done", host.path("change").display());
    let mut churn = Child(inside.command("sh").args(["-c", &line]).spawn().expect("nsenter runs"));
    host.kill();
    let port = |link: &str| link.contains(&format!("master {bridge}"));
    let links = || host.namespace().run(&["ip", "-o", "link"]).lines().filter(|link| port(link)).count();
    assert_eq!(links(), 2);
    for link in host.namespace().run(&["ip", "-o", "link"]).lines().filter(|link| port(link)) {
        let name = link.split([' ', '@', ':']).find(|word| word.starts_with("fe-")).expect("a port has a name");
        host.namespace().run(&["ip", "link", "set", name, "nomaster"]);
    }
    host.start();
    let reached = || host.namespace().try_run(&["ping", "-n", "-c", "1", "-W", "1", &api.ipv4.to_string()]).code == 0;
    eventually("the other container is reached again", || reached().then_some(()));
    std::fs::remove_file(host.path("change")).expect("it is ours");
    churn.0.wait().expect("it is our child");
    host.fabric(&["doctor", "--fix"]).expect_code(0);
    assert_eq!(links(), 2);
    host.assert_healthy();
}

/// A process that ends with this.
struct Child(std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn flows_are_forgotten_of_a_container_that_took_its_address_off() {
    let host = Host::new();
    let lan = host.lan();
    host.ok(&["network", "create", "web", "--subnet", "10.9.8.0/24"]);
    let script = "trap 'exit 0' TERM; while :; do sleep 0.1; done";
    let api = host.run("api", "web", &["--cap-add", "NET_ADMIN"], &["sh", "-c", script]);
    let flows = || {
        let listed = host.namespace().run(&["sh", "-c", "conntrack -L 2> /dev/null || true"]);
        listed.lines().filter(|line| line.contains(&format!("={} ", api.ipv4))).count()
    };
    let ping = ["ping", "-n", "-c", "1", "-W", "10", &lan.address.to_string()];
    assert_eq!(api.namespace().try_run(&ping).code, 0, "control: the way out works");
    assert!(flows() > 0, "control: the flow is known");
    host.ok(&["exec", "api", "ip", "address", "flush", "dev", "eth0"]);
    host.ok(&["stop", "api"]);
    eventually("its flows are forgotten", || (flows() == 0).then_some(()));
}
