//! Requests that no honest client sends, octet by octet at the socket: each is refused, and changes nothing.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::Shutdown,
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use tests::{Host, PATIENCE, difference, within};

/// A connection whose answer is waited for at most a minute.
fn connect(host: &Host) -> UnixStream {
    let stream = UnixStream::connect(host.run_dir().join("netd.sock")).expect("netd listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("not zero");
    stream
}

/// Sends these octets and returns the answer's status, 0 if there is none, and all of its text.
fn send(host: &Host, octets: &[u8]) -> (u16, String) {
    let mut stream = connect(host);
    // A daemon that has heard enough closes the connection before it has read everything.
    let _ = stream.write_all(octets);
    answer(stream)
}

fn answer(mut stream: UnixStream) -> (u16, String) {
    let mut answer = Vec::new();
    // What came before a reset is the answer.
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, text)
}

fn head(line: &str, length: usize) -> Vec<u8> {
    format!(
        "{line} HTTP/1.1\r\nHost: netd\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: \
         {length}\r\n\r\n"
    )
    .into_bytes()
}

fn request(line: &str, body: &[u8]) -> Vec<u8> {
    [&head(line, body.len()), body].concat()
}

/// Everything a request could have changed.
fn state(host: &Host) -> String {
    let lists: [&[&str]; 3] = [&["ps", "-a"], &["network", "ls"], &["image", "ls"]];
    host.kernel_state() + &lists.map(|list| format!("{:#}\n", host.json(list))).concat()
}

#[test]
fn bodies_that_make_no_sense() {
    let host = Host::new();
    let before = state(&host);
    let network = "POST /v1/networks";
    let container = "POST /v1/containers";
    let large = format!(r#"{{"name":"{}"}}"#, "a".repeat(10 << 20));
    let labels = format!(r#"{{"image":"busybox","labels":{{"a":"{}"}}}}"#, "b".repeat(10 << 20));
    let deep = "[".repeat(100_000);
    let bodies: &[(&str, &[u8])] = &[
        (network, b""),
        (network, b"words"),
        (network, b"null"),
        (network, b"[]"),
        (network, b"{}"),
        (network, br#"{"name":5}"#),
        (network, br#"{"name":["web"]}"#),
        (network, br#"{"name":"web","colour":"blue"}"#),
        (network, br#"{"name":"web","subnets":"10.0.0.0/24"}"#),
        (network, br#"{"name":"web","subnets":["10.0.0.0/99"]}"#),
        (network, br#"{"name":"web","ipv4":"yes"}"#),
        (network, br#"{"name":"web"} {"name":"web"}"#),
        (network, b"{\"name\":\"w\xff\"}"),
        (network, b"{\"name\":\"w\0b\"}"),
        (network, br#"{"name":"w\u0000b"}"#),
        (network, br#"{"name":"w\nb"}"#),
        (network, br#"{"name":"w;reboot"}"#),
        (network, br#"{"name":"$(reboot)"}"#),
        (network, br#"{"name":"w\"; } table inet x { #"}"#),
        (network, br#"{"name":"../../etc"}"#),
        (network, br#"{"name":""}"#),
        (network, large.as_bytes()),
        (network, deep.as_bytes()),
        (container, br#"{"image":7}"#),
        (container, br#"{"image":"busybox","name":"a.b"}"#),
        (container, br#"{"image":"busybox","name":"*"}"#),
        (container, br#"{"image":"busybox","name":"a\\000b"}"#),
        (container, br#"{"image":"busybox","labels":{"":"x"}}"#),
        (container, br#"{"image":"busybox","labels":{"a":5}}"#),
        (container, br#"{"image":"busybox","labels":{"a":"x\u0000y"}}"#),
        (container, b"{\"image\":\"busybox\",\"labels\":{\"a\":\"\xc3\x28\"}}"),
        (container, labels.as_bytes()),
        (container, br#"{"image":"busybox","publishes":["70000:80"]}"#),
        (container, br#"{"image":"busybox","command":["a\u0000b"]}"#),
        (container, br#"{"image":"busybox","env":["A\nB=c"]}"#),
        (container, br#"{"image":"busybox","env":["A\u001b[2J=c"]}"#),
    ];
    for (line, body) in bodies {
        let (status, text) = send(&host, &request(line, body));
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).escape_debug().to_string();
        assert!([400, 413, 422].contains(&status), "{line} {shown}: {text}");
        assert!(text.contains(r#"{"error":""#), "it is said what is wrong: {line} {shown}: {text}");
        assert!(text.len() < 4000, "an error is short enough to read: {line} {shown}: {} octets", text.len());
    }
    let after = state(&host);
    assert_eq!(before, after, "{}", difference(&before, &after));
    host.assert_healthy();
}

#[test]
fn lines_and_headers_that_make_no_sense() {
    let host = Host::new();
    let before = state(&host);
    let header = [b"GET /v1/version HTTP/1.1\r\nX: ".as_slice(), &vec![b'a'; 2 << 20], b"\r\n\r\n"].concat();
    let many = [b"GET /v1/version HTTP/1.1\r\n".to_vec(), b"A: b\r\n".repeat(10_000), b"\r\n".to_vec()].concat();
    for (octets, expected) in [
        (request("DELETE /v1/version", b""), 405),
        (request("PUT /v1/networks", b"{}"), 405),
        (request("TRACE /v1/networks", b""), 405),
        (request("GET /v1/no-such-thing", b""), 404),
        (request("GET /../../etc/passwd", b""), 404),
        (request("GET /v1/networks/%ff", b""), 400),
        (request("GET /v1/networks/a%00b", b""), 400),
        (request("DELETE /v1/networks/..%2f..", b""), 400),
        (request("GET /v1/containers?all=perhaps", b""), 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), 400),
        (b"GET\r\n\r\n".to_vec(), 400),
        (b"POST /v1/networks HTTP/1.1\r\nContent-Length: -1\r\n\r\n".to_vec(), 400),
        (b"POST /v1/networks HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}".to_vec(), 400),
        (header, 431),
        (many, 431),
    ] {
        let (status, text) = send(&host, &octets);
        let shown = String::from_utf8_lossy(&octets[..octets.len().min(60)]).escape_debug().to_string();
        assert_eq!(status, expected, "{shown}: {text}");
        assert!(
            ![404, 405].contains(&status) || text.contains(r#"{"error":""#),
            "it is said what is wrong: {shown}: {text}"
        );
    }
    let after = state(&host);
    assert_eq!(before, after, "{}", difference(&before, &after));
}

/// What the daemon's descriptors lead to, and how many to each.
fn descriptors(host: &Host) -> BTreeMap<String, usize> {
    let directory = format!("/proc/{}/fd", host.netd_pid().as_raw_nonzero());
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("netd runs").map_while(Result::ok) {
        // One that was closed meanwhile leads nowhere.
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let target = target.to_string_lossy().into_owned();
        let kind = target.split_once(":[").map_or(target.as_str(), |(kind, _)| kind);
        *found.entry(kind.to_owned()).or_default() += 1;
    }
    found
}

/// How many files there are below a directory.
fn files(directory: &Path) -> usize {
    let entries = fs::read_dir(directory).into_iter().flatten().map_while(Result::ok);
    entries.map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { 1 }).sum()
}

#[test]
fn clients_that_stop_halfway_are_let_go() {
    let host = Host::new();
    // What netd opens when it is first of use, it keeps: the sockets by which the kernel tells of changes to the rules,
    // and by which links are removed; and the shortcut's maps.
    host.ok(&["network", "create", "web"]);
    host.ok(&["run", "--rm", "--network", "web", "busybox", "true"]);
    host.assert_healthy();
    host.ok(&["network", "rm", "web"]);
    let images = host.data_dir().join("images");
    let (before, stored) = (descriptors(&host), files(&images));
    let begin = Instant::now();
    let mut line = connect(&host);
    line.write_all(b"GET /v1/ver").expect("netd listens");
    let mut body = connect(&host);
    body.write_all(&head("POST /v1/networks", 100)).expect("netd listens");
    body.write_all(b"{\"name\":").expect("netd listens");
    let mut upload = connect(&host);
    upload.write_all(&head("POST /v1/images?name=half", 1 << 20)).expect("netd listens");
    let archive = fs::read(tests::busybox_tar()).expect("the rig made it");
    upload.write_all(&archive[..64 << 10]).expect("netd listens");
    let mut closed = connect(&host);
    closed.write_all(b"POST /v1/networks HTTP/1.1\r\nContent-Length: 10\r\n\r\n{").expect("netd listens");
    closed.shutdown(Shutdown::Write).expect("it is open");
    // Others are served meanwhile.
    host.ok(&["network", "create", "web"]);
    host.ok(&["network", "rm", "web"]);
    answer(closed);
    answer(line);
    let (status, text) = answer(body);
    assert_eq!(status, 400, "{text}");
    assert!(text.contains("did not arrive in time"), "{text}");
    assert!(begin.elapsed() < Duration::from_secs(25), "ten seconds are enough: {:?}", begin.elapsed());
    let (status, text) = answer(upload);
    assert_eq!(status, 422, "{text}");
    assert!(text.contains("sent nothing for 30s") && text.contains("send the image again"), "{text}");
    let more =
        |now: &BTreeMap<String, usize>| now.iter().any(|(kind, count)| before.get(kind).is_none_or(|was| count > was));
    let closed = within(PATIENCE, || (!more(&descriptors(&host))).then_some(()));
    assert!(closed.is_some(), "every connection is closed: {before:?} was, {:?} is", descriptors(&host));
    assert_eq!(files(&images), stored, "nothing half-made is left");
    assert_eq!(host.json(&["image", "ls"]).as_array().map(Vec::len), Some(1));
}

#[test]
fn who_is_neither_root_nor_of_the_group_may_not_connect() {
    let host = Host::new();
    let socket = host.run_dir().join("netd.sock");
    // Whoever gets as far as the socket is to be stopped by the socket itself.
    for directory in [host.path(""), host.run_dir()] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).expect("it is ours");
    }
    let version_as_nobody = || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "curl", "-sS", "--unix-socket"]);
        command.arg(&socket).arg("http://netd/v1/version").output().expect("setpriv runs")
    };
    let refused = version_as_nobody();
    // Of curl: could not connect.
    assert_eq!((refused.status.code(), refused.stdout.as_slice()), (Some(7), &b""[..]), "{refused:?}");
    // It is the mode that stopped it.
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).expect("it is ours");
    let answered = version_as_nobody();
    assert!(answered.status.success(), "{answered:?}");
}
