//! Requests and what is printed of their answers, against a server that answers as told.

mod rig;

use std::fs;

use api::{ContainerCreate, Problem};
use hyper::{Request, body::Incoming};
use rig::{
    PATIENCE,
    daemon::{Answer, Daemon, answer, body, container, json},
    fabric, output, text,
};
use tokio::{io::AsyncReadExt, time::timeout};

#[tokio::test]
async fn a_detached_run_prints_the_id_and_passes_its_options_on() {
    let daemon = Daemon::start(|request| async move {
        assert_eq!(request.uri().path(), "/v1/containers");
        let create: ContainerCreate = serde_json::from_slice(&body(request).await).expect("a documented request");
        insta::assert_snapshot!("create", serde_json::to_string_pretty(&create).expect("JSON"));
        json(201, &container())
    });
    let arguments = [
        "run",
        "-d",
        "--rm",
        "--name",
        "api",
        "--network",
        "web",
        "--hostname",
        "Host.example",
        "-p",
        "8080:80",
        "-p",
        "127.0.0.1:53:53/udp",
        "-e",
        "A=1=2",
        "-e",
        "FROM_HERE",
        "-e",
        "NOT_HERE",
        "-l",
        "tier=web",
        "-l",
        "flag",
        "-w",
        "/srv",
        "busybox",
        "httpd",
        "-f",
        "--format",
        "x",
    ];
    let output = output(fabric(&daemon, &arguments).env("FROM_HERE", "yes").env_remove("NOT_HERE")).await;
    assert_eq!(text(&output.stderr), "");
    assert_eq!(text(&output.stdout), format!("{}\n", container().id));
    assert_eq!(output.status.code(), Some(0));
}

#[tokio::test]
async fn logs_keep_their_streams_apart_and_stop_when_nobody_reads() {
    let line = |stream: &str, log: &str| {
        format!("{}\n", serde_json::json!({"time": "2026-11-20T08:00:00Z", "stream": stream, "log": log}))
    };
    let some = line("stdout", "one\n") + &line("stderr", "two\n") + &line("stdout", "three");
    let many = line("stdout", &format!("{}\n", "x".repeat(1000))).repeat(5000);
    let daemon = Daemon::start(move |request| {
        let text = if request.uri().path().contains("many") { many.clone() } else { some.clone() };
        async move { answer(200, text) }
    });
    let logs = output(&mut fabric(&daemon, &["logs", "api"])).await;
    assert_eq!((text(&logs.stdout), text(&logs.stderr)), ("one\nthree", "two\n"));
    let json = output(&mut fabric(&daemon, &["logs", "api", "--format", "json"])).await;
    assert_eq!(text(&json.stdout).lines().count(), 3);
    let mut child = fabric(&daemon, &["logs", "many"]).spawn().expect("built");
    let mut stdout = child.stdout.take().expect("piped");
    stdout.read_exact(&mut [0; 10]).await.expect("output comes");
    drop(stdout);
    let output = timeout(PATIENCE, child.wait_with_output()).await.expect("it ends").expect("it ran");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(141), ""));
}

#[tokio::test]
async fn several_objects_are_gone_through_to_the_last() {
    let daemon = Daemon::start(|request| async move {
        match request.uri().path() {
            "/v1/containers/gone" => {
                json(404, &Problem::new("there is no container `gone`").with_hint("see fabric ps -a"))
            }
            _ => answer(204, ""),
        }
    });
    let removed = output(&mut fabric(&daemon, &["rm", "a", "gone", "b"])).await;
    assert_eq!(removed.status.code(), Some(1));
    assert_eq!(text(&removed.stdout), "a\nb\n");
    assert_eq!(text(&removed.stderr), "error: there is no container `gone`\nhint: see fabric ps -a\n");
    let json = output(&mut fabric(&daemon, &["rm", "a", "b", "--format", "json"])).await;
    assert_eq!(serde_json::from_slice::<Vec<String>>(&json.stdout).expect("an array"), ["a", "b"]);
}

#[tokio::test]
async fn json_is_what_the_daemon_said() {
    let daemon = Daemon::start(|request| async move {
        match request.uri().path() {
            "/v1/containers" => json(200, &[container()]),
            _ => json(200, &container()),
        }
    });
    let list = output(&mut fabric(&daemon, &["ps", "--format", "json"])).await;
    assert_eq!(serde_json::from_slice::<Vec<api::Container>>(&list.stdout).expect("an array"), [container()]);
    let one = output(&mut fabric(&daemon, &["--format", "json", "inspect", "api"])).await;
    assert_eq!(serde_json::from_slice::<api::Container>(&one.stdout).expect("an object"), container());
}

#[tokio::test]
async fn a_doctor_that_finds_problems_ends_with_1() {
    for (result, code) in [("ok", 0), ("warning", 0), ("problem", 1)] {
        let daemon = Daemon::start(move |_| async move {
            json(
                200,
                &serde_json::json!({
                    "checks": [{"name": "dns", "result": result, "message": "seen"}], "healthy": result != "problem",
                }),
            )
        });
        let output = output(&mut fabric(&daemon, &["doctor"])).await;
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(code), ""));
    }
}

#[tokio::test]
async fn an_answer_that_is_none_ends_with_1() {
    for (code, exit_code) in [("NOERROR", 0), ("NXDOMAIN", 1), ("SERVFAIL", 1), ("REFUSED", 1)] {
        let daemon = Daemon::start(move |_| async move {
            json(
                200,
                &serde_json::json!({
                    "code": code, "origin": "zone", "upstream": null, "authoritative": false, "reason": null,
                    "answers": [], "authorities": [], "additionals": [],
                }),
            )
        });
        for viewer in [&[][..], &["--as", "api"]] {
            let output = output(&mut fabric(&daemon, &[&["dns", "query", "x.example"], viewer].concat())).await;
            assert_eq!(
                (output.status.code(), text(&output.stdout)),
                (Some(exit_code), &*format!("{code} from zone\n"))
            );
            let is_told = text(&output.stderr).contains("--as CONTAINER");
            assert_eq!(is_told, code == "REFUSED" && viewer.is_empty(), "{code} {viewer:?}");
        }
    }
}

/// A daemon that imports whatever is sent, and says how many octets that were.
fn importing() -> Daemon {
    async fn import(request: Request<Incoming>) -> Answer {
        use http_body_util::BodyExt;
        match request.into_body().collect().await {
            Ok(body) => json(
                201,
                &serde_json::json!({
                    "name": "busybox", "digest": format!("sha256:{}", "5a".repeat(32)), "size": body.to_bytes().len(),
                    "created_at": "2026-11-20T08:00:00Z",
                }),
            ),
            Err(_) => json(400, &Problem::new("the tar broke off")),
        }
    }
    Daemon::start(import)
}

#[tokio::test]
async fn an_image_is_read_from_a_file_a_directory_or_standard_input() {
    let daemon = importing();
    let root = tempfile::tempdir().expect("a temporary directory can be made");
    let tar = root.path().join("image.tar");
    fs::write(&tar, vec![7; 3_000_000]).expect("new");
    fs::create_dir(root.path().join("fs")).expect("new");
    fs::write(root.path().join("fs/file"), "x").expect("new");
    let path = |name: &str| root.path().join(name).to_str().expect("text").to_owned();
    for (source, size) in [(path("image.tar"), 3_000_000), (path("fs"), 2048), ("-".to_owned(), 3_000_000)] {
        let mut command = fabric(&daemon, &["image", "import", &source, "busybox", "--format", "json"]);
        command.stdin(fs::File::open(&tar).expect("just written"));
        let output = output(&mut command).await;
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert_eq!(serde_json::from_slice::<api::Image>(&output.stdout).expect("an object").size, size, "{source}");
    }
    let output = output(&mut fabric(&daemon, &["image", "import", &path("image.tar"), "busybox"])).await;
    assert_eq!(text(&output.stdout), format!("busybox sha256:{}\n", "5a".repeat(32)));
}

#[tokio::test]
async fn an_image_that_cannot_be_read_is_the_failure_that_is_told() {
    let daemon = importing();
    let missing = output(&mut fabric(&daemon, &["image", "import", "/nonexistent.tar", "busybox"])).await;
    assert_eq!(missing.status.code(), Some(1));
    insta::assert_snapshot!("missing_image", text(&missing.stderr));
    // Reading /proc/self/mem fails at its first octet, after the request has begun.
    let unreadable = output(&mut fabric(&daemon, &["image", "import", "/proc/self/mem", "busybox"])).await;
    assert_eq!(unreadable.status.code(), Some(1));
    insta::assert_snapshot!("unreadable_image", text(&unreadable.stderr));
}
