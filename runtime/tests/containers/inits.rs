//! Containers whose program has an init for a parent.

use std::fs;

use runtime::ContainerSpec;

use crate::bed::{Bed, Case, case, command, shell};

pub(crate) const CASES: &[Case] = &[
    case!(an_init_passes_signals_on_and_ends_as_its_program_does),
    case!(an_init_reaps_orphans_and_holds_nothing),
    case!(what_cannot_be_executed_is_told_through_an_init),
];

fn with_init(bed: &Bed, arguments: &[&str]) -> ContainerSpec {
    ContainerSpec { init: true, ..bed.container(arguments) }
}

async fn an_init_passes_signals_on_and_ends_as_its_program_does(bed: &Bed) {
    const TERM: i32 = 15;
    const KILL: i32 = 9;
    // SIGRTMIN+3 is what asks systemd to stop; without a handler it ends a process, unless that is the first of its
    // namespace.
    const REAL_TIME: i32 = 37;
    let waits = "trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done";
    for (script, signal, expected) in
        [(waits, TERM, 7), ("exec sleep 100", TERM, 128 + TERM), ("exec sleep 100", REAL_TIME, 128 + REAL_TIME)]
    {
        let spec = with_init(bed, &shell(script));
        bed.start_in_background(&spec).await;
        if script == waits {
            bed.wait_for_output(&spec.id).await;
        }
        bed.runtime.kill(&spec.id, signal).await.expect("it runs");
        assert_eq!(bed.wait(&spec.id).await.exit_code, expected, "{script} after signal {signal}");
        bed.runtime.delete(&spec.id).await.expect("deletes");
    }
    let spec = with_init(bed, &["sleep", "100"]);
    bed.start_in_background(&spec).await;
    bed.runtime.kill(&spec.id, KILL).await.expect("it runs");
    assert_eq!(bed.wait(&spec.id).await.exit_code, 128 + KILL, "the init itself");
    bed.runtime.delete(&spec.id).await.expect("deletes");
    let spec = with_init(bed, &shell("kill -9 $$"));
    assert_eq!(bed.run(&spec, b"").await.last, Some(model::Frame::Exit(137)), "its program");
}

async fn an_init_reaps_orphans_and_holds_nothing(bed: &Bed) {
    // Its parent ends at once, and it a little later.
    let leave_orphan = "sleep 0.1 >/dev/null 2>&1 & echo $!";
    for init in [true, false] {
        let spec = ContainerSpec { init, ..bed.container(&["sleep", "100"]) };
        bed.start_in_background(&spec).await;
        let orphan = bed.exec(&spec.id, &command(&shell(leave_orphan)), b"").await.text();
        // Reaped, or the control: whoever is no init lets a zombie lie.
        let (until, expected) = if init { ("[ ! -e $status ]", "") } else { ("grep -q '^State:.Z' $status", "zombie") };
        let script = format!(
            "status=/proc/{}/status; until {until}; do sleep 0.05; done; sleep 0.2; \
             grep -q '^State:.Z' $status && echo zombie",
            orphan.trim()
        );
        let seen = bed.exec(&spec.id, &command(&shell(&script)), b"").await;
        assert!(seen.last.is_some() && seen.text().trim() == expected, "with an init: {init}: {seen:?}");
        let processes = bed.runtime.processes(&spec.id).expect("lists");
        let first = processes.iter().find(|process| process.pid == 1).expect("there is always one");
        let held = fs::read_dir(format!("/proc/{}/fd", first.host_pid)).expect("it runs").count();
        if init {
            assert_eq!((first.command.as_str(), held), ("fabric-init", 0));
            let seen = bed
                .exec(
                    &spec.id,
                    &command(&shell("ls -A /proc/1/map_files; readlink /proc/1/exe; cat /proc/1/environ /proc/1/mem")),
                    b"",
                )
                .await;
            assert_eq!(seen.text(), "", "nobody inside looks into it");
        } else {
            assert_eq!(first.command, "sleep 100");
        }
        bed.runtime.delete(&spec.id).await.expect("deletes");
    }
}

async fn what_cannot_be_executed_is_told_through_an_init(bed: &Bed) {
    for (program, code) in [("/no/such/program", 127), ("/bin/data", 126)] {
        let spec = with_init(bed, &[program]);
        bed.runtime.create(&spec).await.expect("creates");
        let error = bed.runtime.start(&spec.id).await.expect_err("it cannot be executed");
        assert_eq!(error.exit_code(), code, "{error}");
        assert_eq!(bed.wait(&spec.id).await.exit_code, i32::from(code));
        bed.runtime.delete(&spec.id).await.expect("deletes");
    }
}
