//! The client against a server that answers as told.

mod daemon;

use std::{
    io::{ErrorKind, Write},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use api::{
    Client, ClientError, ContainersQuery, DisconnectQuery, EndpointCreate, ExecCreate, ImportQuery, KillQuery,
    LogsQuery, NetworkCreate, NetworkUpdate, NetworksPrune, Problem, Reference, RemoveQuery, Rename, StartQuery,
    StopQuery, Until, WaitQuery, upload,
};
use daemon::{Daemon, answer, body, container, json, upgrade};
use http_body_util::{BodyExt, StreamBody};
use hyper::{Response, body::Frame as BodyFrame, header};
use model::{Frame, FrameDecoder, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn api_container() -> Reference {
    "api".parse().expect("literal")
}

/// What a call of the client looks like on the wire: method, path and query, content type, body.
#[tokio::test]
async fn every_call_is_one_documented_request() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let daemon = Daemon::start(move |request| {
        let log = log.clone();
        async move {
            let line = format!("{} {}", request.method(), request.uri());
            let kind = request.headers().get(header::CONTENT_TYPE).map(|kind| kind.to_str().expect("ASCII").to_owned());
            let body = String::from_utf8(body(request).await.to_vec()).expect("text");
            log.lock()
                .expect("no test panics here")
                .push(format!("{line} {} {body}", kind.unwrap_or_default()).trim().to_owned());
            answer(204, "")
        }
    });
    let client = Client::new(daemon.socket());
    let name = "web".parse().expect("literal");
    let image = "team/app:1.2".parse().expect("literal");
    let (mut writer, tar) = upload();
    std::thread::spawn(move || {
        writer.write_all(b"tar").expect("the request goes on");
        writer.finish();
    });
    // The answers are empty: only what was sent counts here.
    let _ = client.version().await;
    let _ = client.networks().await;
    let _ = client.network(&name).await;
    let _ = client.create_network(&NetworkCreate::new(name.clone())).await;
    let update = NetworkUpdate { internal: Some(true), ..NetworkUpdate::default() };
    let _ = client.update_network(&name, &update).await;
    client.remove_network(&name).await.expect("204");
    let _ = client.containers(ContainersQuery { all: true }).await;
    client.remove_container(&api_container(), RemoveQuery { force: true }).await.expect("204");
    let _ = client.start_container(&api_container(), StartQuery { prepare: false }).await;
    let _ = client.start_container(&api_container(), StartQuery { prepare: true }).await;
    let _ = client.restart_container(&api_container(), StopQuery { timeout_seconds: None }).await;
    let _ = client.rename_container(&api_container(), &Rename { name: "other".parse().expect("literal") }).await;
    let mut endpoint = EndpointCreate::new(name.clone());
    endpoint.aliases.push("db".parse().expect("literal"));
    let _ = client.connect(&api_container(), &endpoint).await;
    let _ = client.disconnect(&api_container(), &DisconnectQuery { network: name.clone() }).await;
    let _ = client.processes(&api_container()).await;
    let _ = client.prune_containers(&Default::default()).await;
    let _ = client.prune_networks(&NetworksPrune { only: Some(vec![name.clone()]) }).await;
    let _ = client.stop_container(&api_container(), StopQuery { timeout_seconds: Some(3) }).await;
    let _ = client.stop_container(&api_container(), StopQuery { timeout_seconds: None }).await;
    client.kill_container(&api_container(), KillQuery { signal: "15".parse().expect("literal") }).await.expect("204");
    let _ = client.wait_container(&api_container(), WaitQuery { until: Until::Removed }).await;
    let _ = client.logs(&api_container(), LogsQuery { follow: true, tail: Some(5), ..LogsQuery::default() }).await;
    let _ = client.import_image(&image, tar).await;
    client.remove_image(&image).await.expect("204");
    assert_eq!(
        *seen.lock().expect("no test panics here"),
        [
            "GET /v1/version",
            "GET /v1/networks",
            "GET /v1/networks/web",
            r#"POST /v1/networks application/json {"name":"web","driver":null,"subnets":[],"gateways":[],"ip_ranges":[],"reserve":[],"ipv4":true,"ipv6":false,"internal":false,"gateway_mode":null,"mtu":null,"name_servers":[],"labels":{},"options":{}}"#,
            r#"PATCH /v1/networks/web application/json {"driver":null,"mtu":null,"internal":true,"gateway_mode":null,"add_subnets":[],"remove_subnets":[],"ip_ranges":[],"reserve":[],"release":[],"labels":{},"remove_labels":[],"options":{}}"#,
            "DELETE /v1/networks/web",
            "GET /v1/containers?all=true",
            "DELETE /v1/containers/api?force=true",
            "POST /v1/containers/api/start",
            "POST /v1/containers/api/start?prepare=true",
            "POST /v1/containers/api/restart",
            r#"POST /v1/containers/api/rename application/json {"name":"other"}"#,
            r#"POST /v1/containers/api/endpoints application/json {"network":"web","ipv4":null,"ipv6":null,"mac":null,"aliases":["db"],"gateway_priority":0}"#,
            "DELETE /v1/containers/api/endpoints?network=web",
            "GET /v1/containers/api/top",
            r#"POST /v1/prune/containers application/json {"only":null}"#,
            r#"POST /v1/prune/networks application/json {"only":["web"]}"#,
            "POST /v1/containers/api/stop?timeout_seconds=3",
            "POST /v1/containers/api/stop",
            "POST /v1/containers/api/kill?signal=TERM",
            "GET /v1/containers/api/wait?until=removed",
            "GET /v1/containers/api/logs?follow=true&tail=5",
            "POST /v1/images?name=team%2Fapp%3A1.2 application/x-tar tar",
            "DELETE /v1/images/team%2Fapp%3A1.2",
        ]
    );
    assert_eq!(ImportQuery { name: image }.name.as_str(), "team/app:1.2");
}

#[tokio::test]
async fn a_problem_arrives_whole() {
    let problem = Problem {
        error: "no network `wbe`".to_owned(),
        causes: vec!["it was never made".to_owned()],
        hint: Some("did you mean `web`?".to_owned()),
        exit_code: Some(125),
    };
    let sent = problem.clone();
    let daemon = Daemon::start(move |_| {
        let sent = sent.clone();
        async move { json(404, &sent) }
    });
    let error = Client::new(daemon.socket()).network(&"wbe".parse().expect("literal")).await.expect_err("404");
    assert_eq!((error.status(), error.exit_code()), (Some(404), Some(125)));
    assert_eq!(error.to_string(), problem.error);
    assert_eq!(error.causes(), problem.causes);
    assert_eq!(error.hint(), problem.hint);
}

#[tokio::test]
async fn answers_that_are_not_the_api_are_named() {
    let daemon = Daemon::start(|request| async move {
        match request.uri().path() {
            "/v1/status" => answer(502, "<html>"),
            "/v1/doctor" => answer(200, "{"),
            _ => answer(200, "[]"),
        }
    });
    let client = Client::new(daemon.socket());
    assert!(matches!(client.status().await, Err(ClientError::Refused { status: 502, .. })));
    assert!(matches!(client.doctor().await, Err(ClientError::Answer { .. })));
    assert!(matches!(client.attach(&api_container()).await, Err(ClientError::NotUpgraded { status: 200, .. })));
    assert_eq!(client.images().await.expect("an empty list"), []);
}

#[tokio::test]
async fn a_daemon_that_is_not_there_is_named_with_its_socket() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let socket = directory.path().join("netd.sock");
    let client = Client::new(&socket);
    let error = client.version().await.expect_err("nothing listens");
    assert_eq!(error.to_string(), format!("cannot connect to netd at {}", socket.display()));
    assert!(error.hint().expect("there is something to do").contains("--socket"));
    // A socket that outlived its daemon.
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("a new socket can be bound"));
    let error = client.version().await.expect_err("nothing listens any more");
    assert!(matches!(error, ClientError::Connect { source, .. } if source.kind() == ErrorKind::ConnectionRefused));
    let denied = ClientError::Connect { socket, source: ErrorKind::PermissionDenied.into() };
    assert!(denied.hint().expect("there is something to do").contains("group"));
}

#[tokio::test]
async fn a_socket_may_lie_as_deep_as_a_file() {
    let daemon = Daemon::start(|_| async { answer(200, "[]") });
    let deep: PathBuf = daemon.directory().join("d".repeat(200)).join("e".repeat(200));
    std::fs::create_dir_all(&deep).expect("a new directory can be made");
    let socket = deep.join("f".repeat(200));
    std::fs::rename(daemon.socket(), &socket).expect("a socket can be renamed");
    assert_eq!(Client::new(&socket).networks().await.expect("the path works"), []);
    let missing = Client::new(deep.join("g".repeat(200))).networks().await.expect_err("nothing there");
    assert!(matches!(missing, ClientError::Connect { source, .. } if source.kind() == ErrorKind::NotFound));
}

#[tokio::test]
async fn log_lines_arrive_whatever_pieces_they_come_in() {
    let daemon = Daemon::start(|_| async {
        let line = |stream: &str, log: &str| {
            format!("{}\n", serde_json::json!({"time": "2026-11-20T08:00:00Z", "stream": stream, "log": log}))
        };
        let text = line("stdout", "one\n") + &line("stderr", "zwei ü\n") + line("stdout", "end").trim_end();
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            for piece in text.as_bytes().chunks(7) {
                sender.send(Ok(BodyFrame::data(piece.to_vec().into()))).await.expect("the client reads on");
            }
        });
        Response::new(StreamBody::new(tokio_stream::wrappers::ReceiverStream::new(receiver)).boxed_unsync())
    });
    let mut logs = Client::new(daemon.socket()).logs(&api_container(), LogsQuery::default()).await.expect("200");
    let mut seen = Vec::new();
    while let Some(line) = logs.next().await.expect("all are lines") {
        seen.push((line.stream, line.log));
    }
    let expected = [(Stream::Stdout, "one\n"), (Stream::Stderr, "zwei ü\n"), (Stream::Stdout, "end")];
    assert_eq!(seen, expected.map(|(stream, log)| (stream, log.to_owned())));
}

#[tokio::test]
async fn an_upgraded_connection_carries_frames_both_ways_and_loses_none_sent_at_once() {
    let daemon = Daemon::start(|mut request| async move {
        assert_eq!(request.headers()[header::UPGRADE], "fabric-stream");
        let sent = request.body_mut().collect().await.expect("the client sends its whole body").to_bytes();
        let exec: ExecCreate = serde_json::from_slice(&sent).expect("the body comes with the request");
        assert_eq!(exec.command, ["cat"]);
        upgrade(request, |mut stream, read| async move {
            // Before the client can have said anything: this may share a segment with the 101 itself.
            stream.write_all(&Frame::Output(Stream::Stderr, b"hello".to_vec()).encode()).await.expect("connected");
            let mut decoder = FrameDecoder::default();
            decoder.push(&read);
            let mut buffer = [0; 4096];
            loop {
                match decoder.next_frame().expect("the client speaks frames") {
                    Some(Frame::Stdin(bytes)) => {
                        let frame = Frame::Output(Stream::Stdout, bytes);
                        stream.write_all(&frame.encode()).await.expect("connected");
                    }
                    Some(Frame::StdinEnd) => break,
                    Some(other) => panic!("unexpected {other:?}"),
                    None => {
                        let length = stream.read(&mut buffer).await.expect("connected");
                        assert_ne!(length, 0, "the client closed before its last frame");
                        decoder.push(&buffer[..length]);
                    }
                }
            }
            stream.write_all(&Frame::Exit(7).encode()).await.expect("connected");
        })
    });
    let exec = ExecCreate {
        command: vec!["cat".to_owned()],
        env: Vec::new(),
        working_directory: None,
        stdin: true,
        terminal: None,
        user: None,
    };
    let stream = Client::new(daemon.socket()).exec(&api_container(), &exec).await.expect("101");
    let (mut reader, mut writer) = stream.split();
    assert_eq!(reader.next().await.expect("connected"), Some(Frame::Output(Stream::Stderr, b"hello".to_vec())));
    let mut echoed = 0;
    for size in [1, 1000, Frame::MAX_PAYLOAD as usize] {
        writer.send(&Frame::Stdin(vec![b'x'; size])).await.expect("connected");
        match reader.next().await.expect("connected") {
            Some(Frame::Output(Stream::Stdout, bytes)) => echoed += bytes.len(),
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(echoed, 1001 + Frame::MAX_PAYLOAD as usize);
    writer.send(&Frame::StdinEnd).await.expect("connected");
    assert_eq!(reader.next().await.expect("connected"), Some(Frame::Exit(7)));
    assert_eq!(reader.next().await.expect("connected"), None);
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_an_upload_is_what_the_client_reports() {
    for _ in 0..100 {
        // Answers before it has read the body, as a server does that has seen enough.
        let daemon = Daemon::start(|_| async { json(400, &Problem::new("this is no tar")) });
        let (mut writer, tar) = upload();
        let writing = std::thread::spawn(move || {
            loop {
                if let Err(error) = writer.write_all(&[0; 256 << 10]) {
                    return error.kind();
                }
            }
        });
        let client = Client::new(daemon.socket());
        let name = "busybox".parse().expect("literal");
        let import = tokio::time::timeout(Duration::from_secs(60), client.import_image(&name, tar));
        let error = import.await.expect("it ends").expect_err("400");
        assert_eq!(error.to_string(), "this is no tar");
        let ended = tokio::task::spawn_blocking(move || writing.join()).await.expect("joined").expect("no panic");
        assert_eq!(ended, ErrorKind::BrokenPipe);
    }
}

#[tokio::test]
async fn an_upload_that_fails_is_never_taken_for_a_whole_one() {
    for failing in [true, false] {
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let (begun, has_begun) = std::sync::mpsc::channel();
        let daemon = Daemon::start(move |mut request| {
            let (tell, begun) = (tell.clone(), begun.clone());
            async move {
                request.body_mut().frame().await.expect("the body begins").expect("the body begins");
                begun.send(()).expect("the writer waits");
                tell.send(request.into_body().collect().await.is_ok()).expect("the test goes on");
                json(200, &container())
            }
        });
        let (mut writer, tar) = upload();
        std::thread::spawn(move || {
            writer.write_all(b"half").expect("the request goes on");
            has_begun.recv().expect("the daemon reads");
            if failing {
                writer.fail(std::io::Error::other("unreadable"));
            }
        });
        let client = Client::new(daemon.socket());
        client.import_image(&"busybox".parse().expect("literal"), tar).await.expect_err("the body broke off");
        assert_eq!(told.recv().await, Some(false));
    }
}
