//! Whoever is killed between two changes is completed by the next reconcile.

mod lab;

use std::{
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

use kernel::{Kernel, KernelError, Removal};
use lab::{HOST, Lab, PEER, Place, attachment, sh, state};
use model::{Scope, State};

/// Reconciles, and ends the kernel thread after so many changes. Whether that many changes came.
fn die_after(lab: &mut Lab, changes: usize, state: &State) -> bool {
    let (state, count) = (state.clone(), AtomicUsize::new(0));
    let after = move |_: &_| {
        if count.fetch_add(1, Ordering::Relaxed) + 1 == changes {
            std::panic::resume_unwind(Box::new("killed"));
        }
    };
    let result = lab.wait(lab.kernel.reconcile(Scope::Everything, Removal::Awaited, move || state, after));
    lab.kernel = Kernel::open(Path::new(lab::RUN), lab::LIMIT, model::Switch::On).expect("the kernel opens");
    match result {
        Err(KernelError::Stopped) => true,
        result => {
            result.expect("all changes apply");
            false
        }
    }
}

#[test]
fn a_death_after_any_change_leaks_nothing() {
    lab::run(|lab| {
        let full = state(&[attachment(12, &["8080:80"]), attachment(13, &[])]);
        let mut steps = 0;
        while die_after(lab, steps + 1, &full) {
            steps += 1;
            lab.settle(&full);
            lab.serve(Place::Container(12), 80);
            assert_eq!(lab.ask(Place::Lan, HOST, 8080), Some(PEER), "after {steps} changes");
            let mut removals = 0;
            // Killed again and again on the way back.
            while die_after(lab, removals + 1, &State::empty()) {
                removals += 1;
            }
            assert_eq!(lab.settle(&State::empty()), Vec::<String>::new());
            assert_eq!(sh("ip link show | grep -cE ' (fe-|fb-)' || true; ls /run/fabric/netns"), "0\n");
            assert_eq!(lab::conntrack("10.89.1.12"), 0, "flows are forgotten");
            // The next round starts as on a host that has just booted.
            sh("nft delete table inet fabric; echo 0 > /proc/sys/net/ipv4/ip_forward");
        }
        assert!(steps >= 15, "only {steps} steps");
    });
}
