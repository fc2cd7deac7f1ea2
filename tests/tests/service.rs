//! What a service manager hears of the daemon.

use std::{os::unix::net::UnixDatagram, process::Command};

use tests::{Host, PATIENCE};

fn heard(socket: &UnixDatagram) -> Option<String> {
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

#[test]
fn it_is_ready_gives_signs_of_life_and_says_that_it_ends() {
    let host = Host::stopped("");
    let path = host.path("notify");
    let socket = UnixDatagram::bind(&path).expect("the directory is ours");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time");
    let mut command: Command = host.netd_command();
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "1000000");
    host.spawn(&mut command);
    let first = heard(&socket).expect("it is told");
    assert!(first.starts_with("READY=1\n"), "{first}");
    host.ok(&["status"]);
    for _ in 0..3 {
        assert_eq!(heard(&socket).as_deref(), Some("WATCHDOG=1\n"));
    }
    host.terminate();
    let last = std::iter::from_fn(|| heard(&socket)).find(|text| text.starts_with("STOPPING=1"));
    assert!(last.is_some());
}
