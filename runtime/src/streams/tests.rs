use std::time::Duration;

use super::*;

/// Acts on whatever is possible until nothing is.
fn settle(streams: &mut Streams) {
    loop {
        let interests = streams.interests();
        let mut polled: Vec<_> = interests
            .iter()
            .map(|(_, descriptor, flags)| rustix::event::PollFd::from_borrowed_fd(*descriptor, *flags))
            .collect();
        let zero = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::event::poll(&mut polled, Some(&zero)).expect("polls");
        let happened: Vec<_> = interests
            .iter()
            .zip(&polled)
            .filter(|(_, polled)| !polled.revents().is_empty())
            .map(|((source, ..), polled)| (*source, polled.revents()))
            .collect();
        if happened.is_empty() {
            return;
        }
        happened.into_iter().for_each(|(source, flags)| streams.ready(source, flags));
        streams.sweep(Instant::now());
    }
}

fn write_until_full(pipe: &mut File) -> usize {
    let mut written = 0;
    while let Ok(count) = pipe.write(&[b'x'; 4096]) {
        written += count;
    }
    written
}

#[test]
fn a_client_that_hangs_holds_the_process_up_for_a_while_only() {
    let (mut streams, ends) = Streams::pipes(false, None).expect("makes pipes");
    let mut stdout = non_blocking(ends.stdout).expect("sets the mode");
    let (_hangs, theirs) = UnixStream::pair().expect("a pair");
    streams.attach(theirs.into(), &[]).expect("attaches");
    let mut written = 0;
    loop {
        let more = write_until_full(&mut stdout);
        settle(&mut streams);
        written += more;
        if more == 0 {
            break;
        }
    }
    assert!(written > MAX_WAITING && written < 2 << 20, "{written} octets are kept");
    let deadline = streams.deadline().expect("is stalled");
    streams.sweep(deadline - Duration::from_secs(1));
    settle(&mut streams);
    assert_eq!(write_until_full(&mut stdout), 0, "still waits for its client");
    streams.sweep(deadline);
    settle(&mut streams);
    assert!(write_until_full(&mut stdout) > 0, "goes on without it");
}

#[test]
fn standard_input_ends_with_its_frame_or_its_last_client() {
    let (mut streams, ends) = Streams::pipes(true, None).expect("makes pipes");
    let mut stdin = File::from(ends.stdin);
    let (one, theirs) = UnixStream::pair().expect("a pair");
    let early = Frame::Stdin(b"early ".to_vec()).encode();
    streams.attach(theirs.into(), &early[..3]).expect("attaches");
    (&one).write_all(&early[3..]).expect("writes");
    let (two, theirs) = UnixStream::pair().expect("a pair");
    streams.attach(theirs.into(), &[]).expect("attaches");
    settle(&mut streams);
    drop(one);
    settle(&mut streams);
    assert!(streams.stdin.is_some(), "another client is there");
    (&two).write_all(&Frame::Stdin(b"late".to_vec()).encode()).expect("writes");
    settle(&mut streams);
    drop(two);
    settle(&mut streams);
    let mut text = String::new();
    stdin.read_to_string(&mut text).expect("has an end");
    assert_eq!(text, "early late");
}

#[test]
fn who_does_not_speak_frames_is_dropped() {
    let (mut streams, _ends) = Streams::pipes(true, None).expect("makes pipes");
    let (client, theirs) = UnixStream::pair().expect("a pair");
    streams.attach(theirs.into(), b"GET / HTTP/1.1").expect("attaches");
    settle(&mut streams);
    streams.sweep(Instant::now());
    assert!(streams.clients.is_empty());
    assert_eq!((&client).read(&mut [0; 8]).expect("reads"), 0, "its connection is closed");
}
