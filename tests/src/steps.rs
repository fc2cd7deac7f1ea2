//! Crashes of the daemon right after its own named steps, whose list is the daemon's: it writes them to
//! `NETD_STEP_LOG`, and kills itself after the one that `NETD_CRASH_AT` counts or names.

use std::{collections::BTreeSet, fs, process::Stdio, thread, time::Duration};

use crate::Host;

/// How often a step that was passed by is visited by its name, before it is missing.
const ROUNDS: usize = 10;

/// What is done with a daemon that may die of it.
#[derive(Clone, Copy)]
pub struct Scenario<'a> {
    /// Is done while no daemon runs.
    pub before: &'a dyn Fn(&Host),
    /// What the daemon finds in its environment.
    pub environment: &'a [(&'a str, &'a str)],
    /// Is done once the daemon answers.
    pub once_ready: &'a dyn Fn(&Host),
    /// What is asked of it then, one after the other.
    pub requests: &'a [Vec<&'a str>],
}

/// How far a daemon came.
#[derive(Debug)]
pub struct Course {
    /// The steps it has taken.
    pub steps: Vec<String>,
    /// Whether it said of a request that it was carried out, for each that was put to it.
    pub done: Vec<bool>,
}

impl<'a> Scenario<'a> {
    /// Nothing but requests.
    pub fn of(requests: &'a [Vec<&'a str>]) -> Self {
        Self { before: &|_| {}, environment: &[], once_ready: &|_| {}, requests }
    }

    /// Plays it with a daemon that dies after the step that `crash_at` counts or names; without one all must succeed.
    /// No daemon runs afterwards.
    pub fn play(&self, host: &Host, crash_at: Option<&str>) -> Course {
        let log = host.path("steps");
        fs::write(&log, "").expect("the directory is ours");
        host.terminate();
        (self.before)(host);
        let mut netd = host.netd_command();
        netd.env("NETD_STEP_LOG", &log).envs(self.environment.iter().copied());
        if let Some(step) = crash_at {
            netd.env("NETD_CRASH_AT", step);
        }
        host.spawn(&mut netd);
        let mut done = Vec::new();
        // The first steps are those of its start.
        if host.is_soon_ready() {
            (self.once_ready)(host);
            for request in self.requests {
                done.push(match crash_at {
                    None => host.fabric(request).expect_code(0).code == 0,
                    Some(_) => ask_who_may_die(host, request),
                });
            }
        }
        if crash_at.is_none() {
            // None is missing in the list: the doctor waits for what is being removed, the count for what is made
            // ahead.
            let _ = host.fabric(&["doctor"]);
            host.holdings();
        }
        // Some steps follow the answer.
        let ended = host.ended_by(Duration::from_millis(500));
        let log = fs::read_to_string(&log).expect("the daemon wrote its steps");
        match ended {
            Some(signal) => assert!(signal == 9 && crash_at.is_some(), "netd ended by itself\n{}", host.log_tail()),
            None => host.kill(),
        }
        Course { steps: log.lines().map(str::to_owned).collect(), done }
    }
}

/// Sends a request to a daemon that may die of it; tells whether it said that it was carried out. Who is attached to a
/// container that the next daemon is to start or to remove waits for that one, and is not waited for.
fn ask_who_may_die(host: &Host, request: &[&str]) -> bool {
    let stat = format!("/proc/{}/stat", host.netd_pid());
    let is_dead = || fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") Z "));
    let mut command = host.fabric_command(request);
    let mut client = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
    let mut dead_for = 0;
    loop {
        if let Some(status) = client.try_wait().expect("it is our child") {
            return status.success();
        }
        thread::sleep(Duration::from_millis(20));
        dead_for = if is_dead() { dead_for + 1 } else { 0 };
        if dead_for == 100 {
            client.kill().expect("it is our child");
        }
    }
}

/// The step without what differs each time: addresses and identifiers.
pub fn kind(step: &str) -> String {
    let word =
        |word: &str| if word.contains(|c: char| c.is_ascii_digit()) { "…".to_owned() } else { word.to_owned() };
    step.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// Has the daemon killed after each of `steps` that is wanted. `crash` is given what `NETD_CRASH_AT` is to be, and
/// returns the steps that were taken. A kind of step that the daemon is never killed after fails the test.
#[track_caller]
pub fn crash_after_each(steps: &[String], wanted: impl Fn(&str) -> bool, mut crash: impl FnMut(&str) -> Vec<String>) {
    let mut missing: BTreeSet<String> = steps.iter().filter(|step| wanted(step)).map(|step| kind(step)).collect();
    for number in (1..=steps.len()).filter(|number| wanted(&steps[number - 1])) {
        let taken = crash(&number.to_string());
        if let Some(last) = taken.last().filter(|_| taken.len() == number) {
            missing.remove(&kind(last));
        }
    }
    // Work in the background moves steps, and what is in the pool decides which there are: what was passed by is
    // visited by its name, once it is taken.
    for name in (0..ROUNDS).flat_map(|_| missing.clone()).collect::<Vec<_>>() {
        if missing.contains(&name) && crash(&name).last().is_some_and(|last| kind(last) == name) {
            missing.remove(&name);
        }
    }
    assert!(missing.is_empty(), "netd was never killed after: {missing:#?}");
}
