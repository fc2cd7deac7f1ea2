//! Commands on several containers that take their time.

mod rig;

use std::sync::{Arc, Mutex};

use api::Problem;
use hyper::{Request, body::Incoming};
use rig::{
    PATIENCE,
    daemon::{Answer, Daemon, container, json},
    fabric, output, text,
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Child,
    sync::Barrier,
    time::timeout,
};

/// The container that a request is about.
fn subject(request: &Request<Incoming>) -> String {
    request.uri().path().split('/').nth(3).unwrap_or_default().to_owned()
}

/// What is answered when a container has been stopped, restarted or waited for: of `gone`, that there is none.
fn done(name: &str, path: &str) -> Answer {
    match (name, path.ends_with("/wait")) {
        ("gone", _) => json(404, &Problem::new("there is no container `gone`")),
        (_, true) => json(200, &serde_json::json!({ "exit_code": 7 })),
        (_, false) => json(200, &container()),
    }
}

#[tokio::test]
async fn all_are_asked_for_at_once_and_told_in_the_order_given() {
    for command in ["stop", "wait", "restart"] {
        // Nobody is answered before all three are asked for.
        let together = Arc::new(Barrier::new(3));
        let daemon = Daemon::start(move |request| {
            let together = together.clone();
            async move {
                let (name, path) = (subject(&request), request.uri().path().to_owned());
                if request.method() == "GET" && !path.ends_with("/wait") {
                    return json(200, &container());
                }
                together.wait().await;
                done(&name, &path)
            }
        });
        let all = output(&mut fabric(&daemon, &[command, "first", "gone", "last"])).await;
        let expected = if command == "wait" { "7\n7\n" } else { "first\nlast\n" };
        assert_eq!((all.status.code(), text(&all.stdout)), (Some(1), expected), "{command}");
        assert_eq!(text(&all.stderr), "error: there is no container `gone`\n", "{command}");
    }
}

#[tokio::test]
async fn who_shares_a_network_is_restarted_after_those_who_have_one() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let daemon = Daemon::start(move |request| {
        let log = log.clone();
        async move {
            let name = subject(&request);
            if request.method() == "GET" {
                let mut container = serde_json::to_value(container()).expect("JSON");
                container["network_mode"] = if name == "side" { "container:api" } else { "networks" }.into();
                return json(200, &container);
            }
            log.lock().expect("no panic holds it").push(format!("{name} begins"));
            tokio::task::yield_now().await;
            log.lock().expect("no panic holds it").push(format!("{name} ends"));
            json(200, &container())
        }
    });
    let restarted = output(&mut fabric(&daemon, &["restart", "side", "api"])).await;
    assert_eq!((restarted.status.code(), text(&restarted.stdout)), (Some(0), "side\napi\n"));
    assert_eq!(*seen.lock().expect("no panic holds it"), ["api begins", "api ends", "side begins", "side ends"]);
}

#[tokio::test]
async fn who_interrupts_is_told_what_goes_on() {
    for (command, doing) in [("stop", "stopping"), ("restart", "restarting")] {
        let daemon = Daemon::start(|request| async move {
            match (request.method().as_str(), &*subject(&request)) {
                ("GET", _) => json(200, &container()),
                (_, "quick") => json(200, &container()),
                (_, "gone") => json(404, &Problem::new("there is no container `gone`")),
                _ => std::future::pending::<Answer>().await,
            }
        });
        // What is told of one is told after those before it.
        let arguments = [command, "gone", "quick", "slow", "early", "slower"];
        let mut child = fabric(&daemon, &arguments).spawn().expect("it was built");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let first = timeout(PATIENCE, lines.next_line()).await.expect("it comes").expect("it can be read");
        assert_eq!(first.as_deref(), Some("quick"));
        interrupt(&child);
        let ended = timeout(PATIENCE, child.wait_with_output()).await.expect("it ends").expect("it ran");
        assert_eq!(ended.status.code(), Some(130), "{command}");
        let expected = format!(
            "error: there is no container `gone`\nerror: interrupted; netd goes on {doing} `slow`, `early`, `slower`\n"
        );
        assert_eq!(text(&ended.stderr), expected);
    }
}

#[tokio::test]
async fn of_many_some_are_asked_for_when_others_are_done() {
    let names: Vec<String> = (0..200).map(|number| format!("c{number}")).collect();
    let arguments: Vec<&str> = ["stop"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let daemon = Daemon::start(|_| async move { json(200, &container()) });
    let stopped = output(&mut fabric(&daemon, &arguments)).await;
    assert_eq!(text(&stopped.stderr), "");
    assert_eq!(text(&stopped.stdout).lines().collect::<Vec<_>>(), names);

    // One more than are asked for at once.
    let all_asked = Arc::new(Barrier::new(65));
    let asked = all_asked.clone();
    let daemon = Daemon::start(move |_| {
        let asked = asked.clone();
        async move {
            asked.wait().await;
            std::future::pending::<Answer>().await
        }
    });
    let child = fabric(&daemon, &arguments[..66]).spawn().expect("it was built");
    timeout(PATIENCE, all_asked.wait()).await.expect("64 are asked for");
    interrupt(&child);
    let ended = timeout(PATIENCE, child.wait_with_output()).await.expect("it ends").expect("it ran");
    assert_eq!(ended.status.code(), Some(130));
    assert!(text(&ended.stderr).ends_with("`c62`, `c63`; not asked for: `c64`\n"), "{}", text(&ended.stderr));
}

fn interrupt(child: &Child) {
    let pid = Pid::from_raw(child.id().expect("it runs").try_into().expect("a pid")).expect("not zero");
    kill_process(pid, Signal::INT).expect("it runs");
}
