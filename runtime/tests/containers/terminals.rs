//! Containers and programs with a terminal of their own.

use std::{
    io::Write,
    os::{fd::OwnedFd, unix::net::UnixStream},
};

use model::{Frame, TerminalSize};
use runtime::ExecStreams;

use crate::bed::{Bed, Case, case, command, converse, shell};

pub(crate) const CASES: &[Case] = &[
    case!(the_terminal_belongs_to_the_user_and_is_the_container_s_own),
    case!(the_terminal_belongs_to_the_user_and_is_the_container_s_own, unified),
    case!(a_program_finds_its_size_at_once),
    case!(what_is_no_terminal_multiplexer_is_refused),
];

async fn the_terminal_belongs_to_the_user_and_is_the_container_s_own(bed: &Bed) {
    let script =
        "tty; stat -c '%u %a' $(tty); echo open >/dev/tty; ls /proc/self/fd | wc -l; read line; echo got $line";
    let mut spec = bed.container(&shell(script));
    (spec.terminal, spec.command.user) = (true, Some("www".into()));
    bed.runtime.create(&spec).await.expect("creates");
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    bed.runtime.attach(&spec.id, OwnedFd::from(theirs), Vec::new()).await.expect("attaches");
    bed.runtime.start(&spec.id).await.expect("starts");
    (&ours).write_all(&Frame::Stdin(b"word\n".to_vec()).encode()).expect("writes");
    let seen = converse(ours, Vec::new()).await.expect("does not panic");
    let text = seen.text().replace("word\r\n", "").replace("got ", "got");
    assert_eq!(text, "/dev/pts/0\r\n33 620\r\nopen\r\n4\r\ngot", "{seen:?}");
    assert_eq!(seen.last, Some(Frame::Exit(0)));
    bed.runtime.delete(&spec.id).await.expect("deletes");
    assert_eq!(bed.traces(&spec.id), [""; 0]);
}

async fn a_program_finds_its_size_at_once(bed: &Bed) {
    let spec = bed.container(&["sleep", "100"]);
    bed.start_in_background(&spec).await;
    for rows in [11, 12, 13] {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let streams = ExecStreams::Terminal(TerminalSize { rows, columns: 200 });
        let program = command(&["stty", "size"]);
        bed.runtime.exec(&spec.id, &program, streams, OwnedFd::from(theirs), Vec::new()).await.expect("hands over");
        let seen = converse(ours, Vec::new()).await.expect("does not panic");
        assert_eq!((seen.text(), seen.last), (format!("{rows} 200\r\n"), Some(Frame::Exit(0))));
    }
    bed.runtime.delete(&spec.id).await.expect("deletes");
}

/// A container that puts another file in the multiplexer's place gets no octet that a client sends.
async fn what_is_no_terminal_multiplexer_is_refused(bed: &Bed) {
    let mut spec = bed.container(&["true"]);
    spec.terminal = true;
    let trap = bed.base().join("trap");
    std::fs::write(&trap, "").expect("writes");
    spec.mounts.push(runtime::BindMount { source: trap, destination: "/dev/pts/ptmx".into(), read_only: false });
    let error = bed.runtime.create(&spec).await.expect_err("is refused");
    assert_eq!(error.exit_code(), 125, "{error}");
    bed.runtime.delete(&spec.id).await.expect("deletes");
    assert_eq!(bed.traces(&spec.id), [""; 0]);
}
