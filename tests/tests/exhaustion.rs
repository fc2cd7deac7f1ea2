//! What is told when something has run out, and that everything goes on when there is some again.

use std::{fs, os::unix::net::UnixStream, thread::sleep, time::Duration};

use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
use tests::{Attached, Host, RecordType, ask, difference, eventually};

fn networks_and_containers(host: &Host) -> String {
    format!("{:#}\n{:#}", host.json(&["network", "ls"]), host.json(&["ps", "-a"]))
}

fn answers(of: &Attached, gateway: [u8; 4]) -> bool {
    ask(&of.namespace(), (gateway, 53).into(), "api", RecordType::A).is_ok_and(|answer| answer.code == 0)
}

#[test]
fn addresses() {
    let host = Host::new();
    host.ok(&["network", "create", "web", "--subnet", "10.9.8.0/29"]);
    for number in 0..5 {
        host.run(&format!("c{number}"), "web", &[], &["sleep", "1000"]);
    }
    let (before, kernel) = (networks_and_containers(&host), host.kernel_state());
    let refused = host.fabric(&["run", "-d", "--network", "web", "busybox", "true"]).expect_code(125);
    assert!(refused.stderr.contains("network `web` has no address to give"), "{refused}");
    assert!(refused.stderr.contains("hint: "), "{refused}");
    assert_eq!(before, networks_and_containers(&host));
    let after = host.kernel_state();
    assert_eq!(kernel, after, "{}", difference(&kernel, &after));
    host.ok(&["rm", "-f", "c3"]);
    host.run("next", "web", &[], &["sleep", "1000"]);
    host.assert_healthy();
}

/// How many descriptors the daemon has open once nothing is under way: it refills its pool, for one, in the background.
fn open_descriptors(host: &Host) -> u64 {
    let directory = format!("/proc/{}/fd", host.netd_pid().as_raw_nonzero());
    let count = || fs::read_dir(&directory).expect("netd runs").count() as u64;
    let mut last = count();
    eventually("as many descriptors for half a second", || {
        let counts: Vec<u64> = (0..10)
            .map(|_| {
                sleep(Duration::from_millis(50));
                count()
            })
            .collect();
        let same = counts.iter().all(|count| *count == last);
        last = counts[9];
        same.then_some(last)
    })
}

/// Lets the daemon have as many descriptors open, and returns how many it might before.
fn limit_descriptors(host: &Host, current: Option<u64>) -> Option<u64> {
    // It has the test's own hard limit, which stays.
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    prlimit(Some(host.netd_pid()), Resource::Nofile, Rlimit { current, maximum }).expect("root may").current
}

/// The processor time that the daemon has used, in ticks of 10 ms.
fn ticks(host: &Host) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", host.netd_pid().as_raw_nonzero())).expect("netd runs");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a name in brackets").split_whitespace().collect();
    // utime and stime, fields 14 and 15 of proc_pid_stat(5).
    fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
}

#[test]
fn descriptors() {
    let host = Host::new();
    host.ok(&["network", "create", "web", "--subnet", "10.9.8.0/24"]);
    let api = host.run("api", "web", &[], &["sleep", "1000"]);
    let before = host.json(&["ps", "-a"]);
    // Nothing is made ahead any more that would take or free some.
    host.holdings();
    let leave_few = || limit_descriptors(&host, Some(open_descriptors(&host) + 2));
    let enough = leave_few();
    let refused = eventually("there are too few", || {
        let outcome = host.fabric(&["run", "-d", "--name", "more", "--network", "web", "busybox", "sleep", "1000"]);
        if outcome.code != 0 {
            return Some(outcome);
        }
        // What looks at the host in the background had some, for as long as it got no processor, and gave them back.
        limit_descriptors(&host, enough);
        host.ok(&["rm", "-f", "more"]);
        leave_few();
        None
    })
    .expect_code(125);
    assert!(refused.stderr.contains("Too many open files"), "{refused}");
    assert!(refused.stderr.contains("hint: netd may open no more files: raise `LimitNOFILE=`"), "{refused}");
    // Connections take what is left; who waits for the next one does not spin.
    let held: Vec<_> =
        (0..20).map(|_| UnixStream::connect(host.run_dir().join("netd.sock")).expect("it listens")).collect();
    let used_in_a_second = |_| {
        let used = ticks(&host);
        sleep(Duration::from_secs(1));
        ticks(&host) - used
    };
    // Who spins does so all the time; a machine that stands still may count that as its own once.
    let used: Vec<u64> = (0..3).map(used_in_a_second).collect();
    assert!(used.iter().any(|used| *used < 30), "netd used {used:?} ticks of 100");
    assert!(answers(&api, [10, 9, 8, 1]), "DNS goes on");
    drop(held);
    limit_descriptors(&host, enough);
    eventually("nothing half-made is left", || (host.json(&["ps", "-a"]) == before).then_some(()));
    assert_eq!(host.json(&["network", "inspect", "web"])["usage"]["used"], 1);
    assert_eq!(host.attached("api"), api, "it went on");
    host.run("next", "web", &[], &["sleep", "1000"]);
    // Whose rules could not be read might judge what passes a bridge: the shortcut was taken away, and is put back a
    // second later.
    eventually("all is as it should be", || (host.fabric(&["doctor"]).code == 0).then_some(()));
}
