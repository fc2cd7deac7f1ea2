//! Attached runs and execs, against a server that answers as told.

mod rig;

use std::{
    fs,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use api::{ContainerCreate, ExecCreate, Problem};
use hyper::{Request, body::Incoming};
use model::{Frame, Stream};
use rig::{
    Client, PATIENCE,
    daemon::{Daemon, answer, body, container, json, upgrade},
    fabric, output, text,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    sync::Notify,
    time::timeout,
};

/// What was asked of a daemon, in its order.
type Seen = Arc<Mutex<Vec<String>>>;

/// A daemon whose one container does `conversation` once it is started; requests are logged without their ids.
fn running<F>(conversation: impl Fn(Client) -> F + Clone + Send + Sync + 'static) -> (Daemon, Seen)
where
    F: Future<Output = ()> + Send + 'static,
{
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (log, started) = (seen.clone(), Arc::new(Notify::new()));
    let daemon = Daemon::start(move |request: Request<Incoming>| {
        let (log, started, conversation) = (log.clone(), started.clone(), conversation.clone());
        async move {
            let uri = request.uri().to_string().replace(container().id.as_str(), "ID");
            log.lock().expect("no panic holds it").push(format!("{} {uri}", request.method()));
            if uri.ends_with("/attach") {
                upgrade(request, move |stream, read| async move {
                    started.notified().await;
                    conversation(Client::new(stream, &read)).await;
                })
            } else if uri.ends_with("/start") {
                started.notify_one();
                json(200, &container())
            } else if uri.contains("/wait") {
                json(200, &serde_json::json!({"exit_code": 0}))
            } else {
                let create: ContainerCreate =
                    serde_json::from_slice(&body(request).await).expect("a documented request");
                assert_eq!(create.image.as_str(), "busybox");
                json(201, &api::Container { auto_remove: create.auto_remove, ..container() })
            }
        }
    });
    (daemon, seen)
}

#[tokio::test]
async fn an_attached_run_passes_streams_and_the_exit_code() {
    let (daemon, seen) = running(|mut client| async move {
        client.send(Frame::Output(Stream::Stdout, b"out\0\xff".to_vec())).await;
        client.send(Frame::Output(Stream::Stderr, b"err\n".to_vec())).await;
        client.send(Frame::Exit(42)).await;
    });
    let output = output(&mut fabric(&daemon, &["run", "--rm", "busybox", "sh", "-c", "x", "--rm"])).await;
    assert_eq!(output.status.code(), Some(42));
    assert_eq!(output.stdout, b"out\0\xff");
    assert_eq!(text(&output.stderr), "err\n");
    assert_eq!(
        *seen.lock().expect("no panic holds it"),
        [
            "POST /v1/containers",
            "POST /v1/containers/ID/attach",
            "POST /v1/containers/ID/start",
            "GET /v1/containers/ID/wait?until=removed"
        ]
    );
}

#[tokio::test]
async fn a_megabyte_passes_through_both_ways_unchanged() {
    let (daemon, _) = running(|mut client| async move {
        loop {
            match client.next().await {
                Some(Frame::Stdin(bytes)) => assert!(client.send(Frame::Output(Stream::Stdout, bytes)).await),
                Some(Frame::StdinEnd) => break,
                other => panic!("unexpected {other:?}"),
            }
        }
        client.send(Frame::Exit(0)).await;
    });
    let sent: Vec<u8> = (0..1_000_003_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut child = fabric(&daemon, &["run", "-i", "busybox", "cat"]).stdin(Stdio::piped()).spawn().expect("built");
    let mut stdin = child.stdin.take().expect("piped");
    let input = sent.clone();
    tokio::spawn(async move { stdin.write_all(&input).await.expect("the program reads on") });
    let output = timeout(PATIENCE, child.wait_with_output()).await.expect("it ends").expect("it ran");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(output.stdout == sent, "{} of {} octets", output.stdout.len(), sent.len());
}

#[tokio::test]
async fn without_i_standard_input_is_left_alone() {
    let (daemon, _) = running(|mut client| async move {
        let said = timeout(Duration::from_millis(300), client.next()).await;
        client.send(Frame::Exit(u8::from(said.is_ok()))).await;
    });
    // There before the program is, and open until it has ended.
    let (stdin, mut other) = std::io::pipe().expect("pipes can be made");
    std::io::Write::write_all(&mut other, b"for somebody else").expect("a pipe has room");
    let output = output(fabric(&daemon, &["run", "busybox"]).stdin(stdin)).await;
    assert_eq!(output.status.code(), Some(0));
    drop(other);
}

#[tokio::test]
async fn signals_are_passed_on_each_time_and_the_third_demand_to_end_kills() {
    let (daemon, _) = running(|mut client| async move {
        client.send(Frame::Output(Stream::Stdout, b"ready\n".to_vec())).await;
        for expected in [2, 2, 9, 1, 3, 10, 12] {
            assert_eq!(client.next().await, Some(Frame::Signal(expected)));
            client.send(Frame::Output(Stream::Stdout, b"got it\n".to_vec())).await;
        }
        client.send(Frame::Exit(130)).await;
    });
    let mut child = fabric(&daemon, &["run", "busybox"]).spawn().expect("built");
    let pid = pid(&child);
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    use rustix::process::Signal;
    for signal in [Signal::INT, Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::USR1, Signal::USR2] {
        timeout(PATIENCE, lines.next_line()).await.expect("it answers").expect("text").expect("it goes on");
        rustix::process::kill_process(pid, signal).expect("it runs");
    }
    let status = timeout(PATIENCE, child.wait()).await.expect("it ends").expect("it ran");
    assert_eq!(status.code(), Some(130));
}

fn pid(child: &tokio::process::Child) -> rustix::process::Pid {
    let number = child.id().expect("it runs").try_into().expect("process ids are positive");
    rustix::process::Pid::from_raw(number).expect("process ids are positive")
}

#[tokio::test]
async fn a_signal_does_not_wait_behind_input_that_nobody_reads() {
    let killed = Arc::new(Notify::new());
    let kill = killed.clone();
    let daemon = Daemon::start(move |request| {
        let (kill, killed) = (kill.clone(), killed.clone());
        async move {
            match request.uri().path() {
                path if path.ends_with("/attach") => upgrade(request, |stream, read| async move {
                    let mut client = Client::new(stream, &read);
                    client.send(Frame::Output(Stream::Stdout, b"ready".to_vec())).await;
                    killed.notified().await;
                    client.send(Frame::Exit(130)).await;
                }),
                path if path.ends_with("/kill") => {
                    assert_eq!(request.uri().query(), Some("signal=INT"));
                    kill.notify_one();
                    answer(204, "")
                }
                "/v1/containers" => json(201, &container()),
                _ => json(200, &container()),
            }
        }
    });
    let zeroes = fs::File::open("/dev/zero").expect("every Linux has it");
    let mut child = fabric(&daemon, &["run", "-i", "busybox", "sleep"]).stdin(zeroes).spawn().expect("built");
    child.stdout.as_mut().expect("piped").read_exact(&mut [0; 5]).await.expect("output comes");
    // Long enough for the input to fill whatever there is between the program and the process.
    tokio::time::sleep(Duration::from_millis(200)).await;
    rustix::process::kill_process(pid(&child), rustix::process::Signal::INT).expect("it runs");
    let status = timeout(PATIENCE, child.wait()).await.expect("it ends").expect("it ran");
    assert_eq!(status.code(), Some(130));
}

#[tokio::test]
async fn a_reader_that_leaves_neither_hangs_nor_breaks_the_program() {
    let (daemon, _) =
        running(
            |mut client| async move { while client.send(Frame::Output(Stream::Stdout, vec![b'y'; 4096])).await {} },
        );
    let mut child = fabric(&daemon, &["run", "busybox", "yes"]).spawn().expect("built");
    let mut stdout = child.stdout.take().expect("piped");
    stdout.read_exact(&mut [0; 10]).await.expect("output comes");
    drop(stdout);
    let output = timeout(PATIENCE, child.wait_with_output()).await.expect("it ends").expect("it ran");
    assert_eq!(output.status.code(), Some(141));
    assert_eq!(text(&output.stderr), "the output was closed; container `api` goes on until: fabric stop api\n");
}

#[tokio::test]
async fn a_stream_that_ends_without_an_exit_code_is_a_failure() {
    let (daemon, _) = running(|_| async {});
    let output = output(&mut fabric(&daemon, &["run", "busybox"])).await;
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).contains("fabric inspect api"), "{}", text(&output.stderr));
}

#[tokio::test]
async fn a_start_that_fails_leaves_nothing_and_exits_as_container_tools_do() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let daemon = Daemon::start(move |request| {
        log.lock().expect("no panic holds it").push(request.method().to_string());
        async move {
            match request.uri().path() {
                path if path.ends_with("/attach") => upgrade(request, |mut stream, _| async move {
                    // Open until the client goes.
                    let _ = stream.read(&mut [0]).await;
                }),
                path if path.ends_with("/start") => {
                    json(422, &Problem::new("there is no program `nope` in `busybox`").with_exit_code(127))
                }
                "/v1/containers" => json(201, &container()),
                _ => answer(204, ""),
            }
        }
    });
    let output = output(&mut fabric(&daemon, &["run", "busybox", "nope"])).await;
    assert_eq!(output.status.code(), Some(127));
    assert_eq!(text(&output.stderr), "error: there is no program `nope` in `busybox`\n");
    assert_eq!(*seen.lock().expect("no panic holds it"), ["POST", "POST", "POST", "DELETE"]);
}

#[tokio::test]
async fn exec_sends_its_order_and_ends_with_the_code_of_its_process() {
    let daemon = Daemon::start(|mut request| async move {
        use http_body_util::BodyExt;
        let sent = request.body_mut().collect().await.expect("a whole body").to_bytes();
        let exec: ExecCreate = serde_json::from_slice(&sent).expect("a documented request");
        let code = if exec.command == ["sh", "-c", "exit 3"] && exec.stdin { 3 } else { 99 };
        upgrade(request, move |stream, read| async move {
            let mut client = Client::new(stream, &read);
            if is_to_fail(&mut client).await {
                client.send(Frame::Failed { code: 126, message: "`sh` may not be run".to_owned() }).await;
            } else {
                client.send(Frame::Exit(code)).await;
            }
        })
    });
    let mut command = fabric(&daemon, &["exec", "-i", "api", "sh", "-c", "exit 3"]);
    assert_eq!(output(&mut command).await.status.code(), Some(3));
    let mut child = command.stdin(Stdio::piped()).spawn().expect("built");
    child.stdin.take().expect("piped").write_all(b"fail").await.expect("a pipe has room");
    let output = timeout(PATIENCE, child.wait_with_output()).await.expect("it ends").expect("it ran");
    assert_eq!(output.status.code(), Some(126));
    assert!(text(&output.stderr).starts_with("error: `sh` may not be run\nhint: "), "{}", text(&output.stderr));
}

/// Whether the client's input says that the process is to fail.
async fn is_to_fail(client: &mut Client) -> bool {
    matches!(client.next().await, Some(Frame::Stdin(bytes)) if bytes == b"fail")
}

/// A daemon that says when it was asked for a container, answers once it is told to, and lets nobody attach.
fn slow() -> (Daemon, Seen, Arc<Notify>, Arc<Notify>) {
    let (asked, answers, seen) = (Arc::new(Notify::new()), Arc::new(Notify::new()), Arc::new(Mutex::new(Vec::new())));
    let (ask, answering, log) = (asked.clone(), answers.clone(), seen.clone());
    let daemon = Daemon::start(move |request: Request<Incoming>| {
        let (ask, answering, log) = (ask.clone(), answering.clone(), log.clone());
        async move {
            match (request.method().as_str(), request.uri().path()) {
                ("POST", "/v1/containers") => {
                    ask.notify_one();
                    answering.notified().await;
                    json(201, &container())
                }
                ("DELETE", _) => {
                    log.lock().expect("no panic holds it").push(request.uri().to_string());
                    answer(204, "")
                }
                _ => std::future::pending().await,
            }
        }
    });
    (daemon, seen, asked, answers)
}

#[tokio::test]
async fn a_run_that_is_interrupted_before_its_start_undoes_what_it_created() {
    let (daemon, seen, asked, answers) = slow();
    let child = fabric(&daemon, &["run", "busybox"]).spawn().expect("built");
    timeout(PATIENCE, asked.notified()).await.expect("it asks for a container");
    rustix::process::kill_process(pid(&child), rustix::process::Signal::INT).expect("it runs");
    answers.notify_one();
    let output = timeout(PATIENCE, child.wait_with_output()).await.expect("it ends").expect("it ran");
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(text(&output.stderr), "error: interrupted before it was started; nothing is left of it\n");
    let gone = format!("/v1/containers/{}?force=true", container().id);
    assert_eq!(*seen.lock().expect("no panic holds it"), [gone]);
}

#[tokio::test]
async fn a_run_that_is_interrupted_and_cannot_know_says_so() {
    use rustix::process::Signal;
    let cases = [(&["run", "-d", "busybox"][..], "goes on with it"), (&["run", "busybox"], "may have made it")];
    for (arguments, expected) in cases {
        let (daemon, _, asked, _) = slow();
        let mut child = fabric(&daemon, arguments).spawn().expect("built");
        timeout(PATIENCE, asked.notified()).await.expect("it asks for a container");
        // Those that come at once count as one.
        let status = timeout(PATIENCE, async {
            loop {
                rustix::process::kill_process(pid(&child), Signal::TERM).expect("it was not waited for");
                if let Ok(status) = timeout(Duration::from_millis(100), child.wait()).await {
                    break status.expect("it ran");
                }
            }
        });
        assert_eq!(status.await.expect("it ends").code(), Some(143), "{arguments:?}");
        let output = child.wait_with_output().await.expect("it ran");
        let said = text(&output.stderr);
        assert!(said.contains(expected) && said.contains("fabric ps -a"), "{arguments:?}: {said}");
    }
}
