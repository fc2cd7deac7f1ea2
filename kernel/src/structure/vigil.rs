//! Whether anybody else has changed the tables since they were found as they should be, or anything else that the
//! kernel tells of together with them.
//!
//! To look at every chain, rule and set costs an attach more than all else that it looks at. The kernel tells whoever
//! listens what each transaction changed, before the one that committed it learns of its success; so as long as nothing
//! was told, nothing has to be looked at again. What was lost counts as a change. Transactions of this process are
//! known by the port of the socket they come from, and whoever runs `nft` reads what was told of that. Of those of
//! other programs only what concerns these tables counts.

use netlink_sys::constants::NETLINK_NETFILTER;
use rustix::io::Errno;

use crate::{
    KernelError,
    netlink::{Message, Socket, messages},
    watch::{NFNLGRP_NFTABLES, subscribe, unwatchable},
};

/// Listens from the first time on that it is asked, in the namespace of the thread that asks.
pub(crate) struct Vigil {
    /// Whether a message of somebody else ends it.
    ends: fn(&Message<'_>) -> bool,
    told: Option<netlink_sys::Socket>,
    /// Whether the tables were as they should be when they were last looked at, and nothing was told since.
    undisturbed: bool,
}

/// What was told of the changes of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Told {
    Nothing,
    /// They may have changed anything: it was lost, or nobody listened.
    Unknown,
    OfOthers,
}

impl Vigil {
    /// One over what these messages tell of, unless they tell of Fabric's own transactions.
    pub(crate) fn over(ends: fn(&Message<'_>) -> bool) -> Self {
        Self { ends, told: None, undisturbed: false }
    }

    /// Whether the tables are still as they were found; `own` is the socket that Fabric's own transactions come from.
    pub(crate) fn holds(&mut self, own: &Socket) -> Result<bool, KernelError> {
        self.told(own, |_| false)?;
        Ok(self.undisturbed)
    }

    /// What was told since somebody asked last of what others have done, where `is_ours` says which other ports are
    /// Fabric's own. Whoever changed the tables by way of such a port says when they have been looked at.
    pub(crate) fn told(&mut self, own: &Socket, is_ours: impl Fn(u32) -> bool) -> Result<Told, KernelError> {
        let Some(socket) = &self.told else {
            self.told = Some(subscribe(NETLINK_NETFILTER, &[NFNLGRP_NFTABLES])?);
            return Ok(Told::Unknown);
        };
        // Everything is taken before anything is looked at: what is told from then on may not have been seen by that
        // look.
        let mut buffer = Vec::with_capacity(1 << 16);
        let ends =
            |message: Message<'_>| message.cause != own.port() && !is_ours(message.cause) && (self.ends)(&message);
        let mut told = Told::Nothing;
        loop {
            buffer.clear();
            match socket.recv(&mut buffer, 0) {
                Ok(_) if messages(&buffer).any(ends) => told = told.max(Told::OfOthers),
                Ok(_) => {}
                Err(error) => match error.raw_os_error().map(Errno::from_raw_os_error) {
                    Some(Errno::AGAIN) => break,
                    Some(Errno::INTR) => {}
                    // More was told than the socket holds.
                    Some(Errno::NOBUFS) => told = told.max(Told::Unknown),
                    _ => return Err(unwatchable(error)),
                },
            }
        }
        self.undisturbed &= told == Told::Nothing;
        Ok(told)
    }

    /// The tables were looked at after [`Vigil::holds`], and found as they should be.
    pub(crate) fn begin(&mut self) {
        self.undisturbed = true;
    }

    /// What the tables are is not known any more.
    pub(crate) fn end(&mut self) {
        self.undisturbed = false;
    }
}

#[cfg(test)]
mod tests {
    use std::{process::Command, thread};

    use model::{Element, Family};
    use rustix::thread::{UnshareFlags, unshare_unsafe};

    use super::*;
    use crate::{element, watch::concerns_rules};

    fn nft(commands: &str) {
        let done = Command::new("nft").arg(commands).status().expect("nft can be run");
        assert!(done.success(), "{commands}");
    }

    #[test]
    fn only_what_others_do_to_the_tables_ends_it() {
        let vigil = || {
            // SAFETY: this thread is new, and shares nothing with others that it would miss.
            #[expect(unsafe_code, reason = "unshare affects the whole thread")]
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("root may unshare");
            nft("add table inet fabric; add set inet fabric guarded { type nf_proto; }");
            let mut own = Socket::open(NETLINK_NETFILTER).expect("a socket");
            let mut vigil = Vigil::over(concerns_rules);
            assert!(!vigil.holds(&own).expect("it can listen"), "nobody has looked yet");
            assert!(!vigil.holds(&own).expect("it can listen"), "nor now");
            vigil.begin();
            let guard = [Element::ForwardingGuard(Family::Ipv4)].into();
            element::add(&mut own, &guard).expect("there is such a set");
            assert!(vigil.holds(&own).expect("it can listen"), "one's own elements are none of the rules");
            nft("add table inet mine; add chain inet mine input; add rule inet mine input drop");
            assert!(vigil.holds(&own).expect("it can listen"), "that is somebody else's table");
            for change in [
                "add chain inet fabric theirs",
                "add rule inet fabric theirs drop",
                "add element inet fabric guarded { ipv6 }",
                "add table inet fabric { flags dormant; }",
                "add table bridge fabric",
                "flush ruleset",
            ] {
                nft(change);
                assert!(!vigil.holds(&own).expect("it can listen"), "{change}");
                assert!(!vigil.holds(&own).expect("it can listen"), "until it has been looked at: {change}");
                vigil.begin();
                assert!(vigil.holds(&own).expect("it can listen"));
            }
            nft("add table inet mine; add set inet mine many { type mark; }");
            for _ in 0..20 {
                nft("add element inet mine many { 1 }; flush set inet mine many");
            }
            assert!(vigil.holds(&own).expect("it can listen"), "control: that much can be told");
            let many: Vec<String> = (1..400_000).map(|number| number.to_string()).collect();
            let file = std::env::temp_dir().join(format!("fabric-vigil-{}", std::process::id()));
            let many = format!("add element inet mine many {{ {} }}\n", many.join(", "));
            std::fs::write(&file, many).expect("there is room");
            let done = Command::new("nft").arg("-f").arg(&file).status().expect("nft can be run");
            std::fs::remove_file(&file).expect("it was just written");
            assert!(done.success());
            assert!(!vigil.holds(&own).expect("it can listen"), "what was lost may have been anything");
        };
        thread::spawn(vigil).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }
}
