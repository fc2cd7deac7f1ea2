//! Until when an address does not answer.

use std::{
    mem::MaybeUninit,
    net::{Ipv4Addr, SocketAddrV4},
    num::NonZero,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{AddressFamily, RecvFlags, SendFlags, SocketType, ipproto, recv, sendto, socket},
    thread::set_current_timer_slack,
};

use crate::{enter::enter, peer::Absence};

/// How long an address may be silent.
const PATIENCE: Duration = Duration::from_secs(5);

/// A socket that asks with ICMP echo requests (RFC 792) from the network namespace of a process.
pub(crate) struct Ping(OwnedFd);

impl Ping {
    pub(crate) fn from(process: u32) -> Result<Self, Absence> {
        let open = || socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP));
        enter(process, || open().map_err(|error| error.to_string())).map(Self)
    }

    /// Asks until there is an answer, and again whenever there was none for `pause`.
    pub(crate) fn until_answered(&self, address: Ipv4Addr, pause: Duration) -> Result<(), Absence> {
        // Woken when the pause is over, and not some 50 microseconds later.
        set_current_timer_slack(NonZero::new(1)).map_err(|error| error.to_string())?;
        let ask = || -> std::io::Result<bool> {
            let request = [8, 0, 0xf7, 0xff, 0, 0, 0, 0];
            let deadline = Instant::now() + PATIENCE;
            while Instant::now() < deadline {
                // Without a route yet there is nobody to ask.
                let _ = sendto(&self.0, &request, SendFlags::empty(), &SocketAddrV4::new(address, 0));
                let wait = Timespec::try_from(pause).expect("milliseconds are a time");
                while poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&wait))? > 0 {
                    let mut packet = [MaybeUninit::<u8>::uninit(); 128];
                    let ((packet, _), _) = recv(&self.0, &mut packet, RecvFlags::empty())?;
                    // Behind the IP header: an echo reply has type 0.
                    if packet.get(20) == Some(&0) && packet.get(12..16) == Some(&address.octets()) {
                        return Ok(true);
                    }
                }
            }
            Ok(false)
        };
        match ask() {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!("{address} does not answer")),
            Err(error) => Err(error.to_string()),
        }
    }
}
