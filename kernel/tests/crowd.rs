//! A host with many endpoints: what must not grow with them, and where they end.

mod lab;

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use kernel::{Kernel, Removal};
use lab::{ENOUGH, Lab, Place, RUN, address, attachment, network, sh, state};
use model::{Scope, State};

/// The mounts on the directory of namespaces, and those below.
fn mounts() -> (usize, usize) {
    let table = sh("cat /proc/self/mountinfo");
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).filter_map(|point| point.strip_prefix(RUN));
    let count = |wanted: fn(&str) -> bool| points.clone().filter(|point| wanted(point)).count();
    (count(|point| point == "/netns"), count(|point| point.starts_with("/netns/")))
}

#[test]
fn whoever_copies_the_mounts_is_rid_of_all_pins_by_one_unmount() {
    lab::run(|lab| {
        lab.settle(&state(&[attachment(12, &[]), attachment(13, &[])]));
        assert_eq!(mounts(), (1, 2));
        sh(&format!("unshare --mount sh -ec 'umount --lazy {RUN}/netns; ! grep nsfs.*{RUN} /proc/self/mountinfo'"));
        assert_eq!(mounts(), (1, 2), "the host's stay");
        let again = Kernel::open(Path::new(RUN), lab::LIMIT, model::Switch::On).expect("opens");
        assert_eq!(mounts(), (1, 2), "it is mounted once");
        lab.wait(again.close()).expect("closes");
        assert_eq!(mounts(), (1, 2), "and stays while something is pinned");
        lab.settle(&State::empty());
        lab.wait(lab.kernel.close()).expect("closes");
        assert_eq!(mounts(), (0, 0));
        lab.wait(lab.kernel.close()).expect("is closed");
    });
}

#[test]
fn pins_do_not_appear_in_other_mount_namespaces() {
    lab::run(|lab| {
        // As on most hosts; the program was started before netd.
        lab.wait(lab.kernel.close()).expect("nothing is pinned");
        sh(&format!(
            "mount --make-shared /run; unshare --mount --propagation unchanged sleep 60 > /dev/null 2>&1 & echo $! > {RUN}/pid;
             until [ $(readlink /proc/$!/ns/mnt) != $(readlink /proc/self/ns/mnt) ]; do sleep 0.01; done"
        ));
        lab.kernel = Kernel::open(Path::new(RUN), lab::LIMIT, model::Switch::On).expect("opens");
        let seen = || sh(&format!("grep -c {RUN}/netns/ /proc/$(cat {RUN}/pid)/mountinfo || true"));
        lab.settle(&state(&[attachment(12, &[])]));
        assert_eq!(mounts(), (1, 1));
        assert_eq!(seen(), "0\n");
        sh(&format!("kill $(cat {RUN}/pid)"));
    });
}

#[test]
fn a_bridge_without_a_free_port_is_named() {
    lab::run(|lab| {
        let bridge = network(1).bridge();
        lab.settle(&state(&[attachment(12, &[])]));
        sh(&format!(
            "for n in $(seq 1022); do echo link add p$n master {bridge} type veth peer name q$n; done | ip -batch -"
        ));
        let error =
            lab.try_reconcile(Scope::from(attachment(13, &[])), &state(&[attachment(12, &[]), attachment(13, &[])]));
        let error = error.expect_err("there is no port left");
        assert!(error.is_full_bridge(), "{error}");
        assert!(error.to_string().contains(&format!("bridge {bridge} has 1,023 ports already")), "{error}");
        sh("ip link del p1");
        let changes =
            lab.reconcile(Scope::from(attachment(13, &[])), &state(&[attachment(12, &[]), attachment(13, &[])]));
        assert!(!changes.is_empty());
        assert_eq!(lab.sh_at(Place::Container(13), "ip -br link show eth0 | grep -c UP"), "1\n");
        // A port that awaits its removal makes room for the next one.
        let swept = |number: u8, wanted: State| {
            let scope = Scope::from(attachment(number, &[]));
            lab.wait(lab.kernel.reconcile(scope, Removal::Swept, move || wanted, |_| {})).expect("there is room")
        };
        swept(12, state(&[attachment(13, &[])]));
        swept(14, state(&[attachment(13, &[]), attachment(14, &[])]));
        assert_eq!(lab.sh_at(Place::Container(14), "ip -br link show eth0 | grep -c UP"), "1\n");
    });
}

#[test]
fn a_look_waits_for_nobody_and_sees_what_is_damaged() {
    lab::run(|lab| {
        let wanted = state(&[attachment(12, &[])]);
        lab.settle(&wanted);
        let look = |lab: &Lab| {
            let wanted = wanted.clone();
            let changes = lab.wait(lab.kernel.look(Scope::Everything, move || wanted)).expect("can be observed");
            changes.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(look(lab), Vec::<String>::new());
        lab.sh_at(Place::Container(12), "ip link set eth0 down");
        thread::scope(|scope| {
            let (busy, wanted) = (lab.kernel.clone(), wanted.clone());
            let (begun, begins) = std::sync::mpsc::channel();
            let (ends, end) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || {
                let desired = move || {
                    begun.send(()).expect("is waited for");
                    let _ = end.recv_timeout(Duration::from_secs(30));
                    wanted
                };
                let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts");
                runtime
                    .block_on(busy.reconcile(Scope::Everything, Removal::Awaited, desired, |_| {}))
                    .expect("reconciles");
            });
            begins.recv().expect("a reconcile is under way");
            assert!(look(lab).iter().any(|change| change.starts_with("configure eth0 in c12")));
            ends.send(()).expect("it is still under way");
        });
        assert_eq!(look(lab), Vec::<String>::new());
    });
}

#[test]
fn whoever_is_asked_for_among_a_thousand_answers() {
    lab::run(|lab| {
        let bridge = network(1).bridge();
        lab.settle(&state(&[attachment(12, &[]), attachment(13, &[])]));
        // Who tells all where he is comes to all. The kernel does so when an interface is given an address, even its
        // own.
        lab.sh_at(Place::Container(12), "ip neigh replace 10.89.1.13 lladdr 02:00:00:00:00:99 dev eth0 nud stale");
        lab.sh_at(
            Place::Container(13),
            "echo 1 > /proc/sys/net/ipv4/conf/eth0/arp_notify; ip link set eth0 address 02:00:00:00:00:0d",
        );
        let start = Instant::now();
        loop {
            let known = lab.sh_at(Place::Container(12), "ip neigh show 10.89.1.13");
            if known.contains("02:00:00:00:00:0d") {
                break;
            }
            assert!(start.elapsed() < ENOUGH, "{known}");
        }
        // In the group of Fabric's interfaces, up at both ends: each takes a place in the queue for what all are sent.
        let ports = 1..=1020;
        let make =
            |number| format!("link add p{number} group 0x66616272 up master {bridge} type veth peer name q{number}\n");
        let raise = |number| format!("link set q{number} up\n");
        let commands: String = ports.clone().map(make).chain(ports.map(raise)).collect();
        std::fs::write(format!("{RUN}/ports"), commands).expect("there is room");
        sh(&format!(
            "ip -batch {RUN}/ports; until ! bridge link | grep -q 'state \\(disabled\\|listening\\|learning\\)'; do sleep 0.1; done"
        ));
        for (from, of) in
            [(Place::Container(12), lab::gateway(1)), (Place::Container(12), address(13)), (Place::Host, address(13))]
        {
            lab.sh_at(from, "ip neigh flush all");
            lab::ping_once(lab, from, of);
        }
    });
}
