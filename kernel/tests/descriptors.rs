//! What cannot be seen for want of descriptors counts as being in the way, and is looked at again soon. The limit is
//! one of the whole process, so there is no other test beside this one.

mod lab;

use std::time::Duration;

use kernel::Notice;
use lab::{attachment, state, with_passages};
use model::{Barrier, Scope};
use rustix::{
    mount::{MountFlags, mount},
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

#[test]
fn the_shortcut_is_away_until_it_is_seen_again_that_nobody_looks_at_frames() {
    lab::run(|lab| {
        // A setting that was there at the start is held open, and needs no descriptor to be read.
        mount("tmpfs", "/proc/sys/net/bridge", "tmpfs", MountFlags::empty(), None).expect("root may mount a tmpfs");
        lab.open_anew();
        let all = with_passages(&state(&[12, 13].map(|number| attachment(number, &[]))), &[12, 13]);
        lab.settle(&all);
        let barrier = |lab: &lab::Lab| lab.wait(lab.kernel.barrier()).expect("can be asked");
        assert_eq!(barrier(lab), None, "control: nobody does");
        let mut watch = lab.wait(lab.kernel.watch()).expect("the kernel tells");
        let enough = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..enough }).expect("less is always allowed");
        let removed = lab.try_reconcile(Scope::Shortcut, &all);
        let unseen = barrier(lab);
        setrlimit(Resource::Nofile, enough).expect("as much as before is allowed");
        let removed: Vec<_> = removed.expect("that is seen").changes.iter().map(ToString::to_string).collect();
        assert_eq!(removed, ["leave questions for names to the server", "remove the shortcut"]);
        assert!(matches!(unseen, Some(Barrier::Judged { .. })), "{unseen:?}");
        // Of addresses that come and go with the links it is told as well.
        let judges = async { while watch.next().await.expect("the kernel tells") != Notice::Judges {} };
        lab.wait(async { tokio::time::timeout(Duration::from_secs(60), judges).await }).expect("soon");
        let back = ["answer questions for names at the ports", "install the shortcut for 2 ports"];
        assert_eq!(lab.reconcile(Scope::Shortcut, &all), back);
        assert_eq!(barrier(lab), None);
    });
}
