//! What DNS by UDP would cost if there were nothing to look up.

use std::{
    io::{IoSlice, IoSliceMut},
    net::{SocketAddr, UdpSocket},
    os::fd::{AsFd, AsRawFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::Duration,
};

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};

use super::Absence;
use crate::{enter::enter, place::Place};

/// Datagrams in one call, as many as `netd` takes.
const BATCH: usize = 32;
const LENGTH: usize = 512;

/// A thread that sends queries back as responses: one recvmmsg(2), one sendmmsg(2).
pub(super) struct Echo {
    ended: Arc<AtomicBool>,
    /// Its number in the machine's PID namespace.
    number: u32,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    pub(super) fn start(host: &Place, address: SocketAddr) -> Result<Self, Absence> {
        let socket = enter(host.pid(), || UdpSocket::bind(address).map_err(|error| error.to_string()))?;
        // Now and then it looks whether it is to end.
        socket.set_read_timeout(Some(Duration::from_millis(100))).map_err(|error| error.to_string())?;
        let ended = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ended);
        let (tell, number) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let _ = tell.send(rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs());
            let mut buffer = vec![0; BATCH * LENGTH];
            while !end.load(Ordering::Relaxed) {
                // Nothing came, or a client has gone: neither matters.
                let _ = answer(&socket, &mut buffer);
            }
        });
        let number = number.recv().map_err(|_| "the thread ended")?;
        Ok(Self { ended, number, thread: Some(thread) })
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(socket: &UdpSocket, buffer: &mut [u8]) -> std::io::Result<()> {
    let mut slots: Vec<[IoSliceMut<'_>; 1]> =
        buffer.chunks_exact_mut(LENGTH).map(|piece| [IoSliceMut::new(piece)]).collect();
    let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
    let received = recvmmsg(socket.as_raw_fd(), &mut headers, slots.iter_mut(), MsgFlags::MSG_WAITFORONE, None)?;
    let mut replies: Vec<(SocketAddrAny, Vec<u8>)> = Vec::with_capacity(BATCH);
    for message in received {
        let client = message.address.as_ref().and_then(|address| address.as_sockaddr_in().copied());
        if let (Some(client), Some(octets)) = (client, message.iovs().next()) {
            let mut reply = octets.to_vec();
            // QR (RFC 1035 §4.1.1).
            if let Some(flags) = reply.get_mut(2) {
                *flags |= 0x80;
            }
            replies.push((SocketAddr::V4(client.into()).into(), reply));
        }
    }
    let mut ancillary: Vec<SendAncillaryBuffer<'_, '_, '_>> =
        replies.iter().map(|_| SendAncillaryBuffer::default()).collect();
    let slices: Vec<[IoSlice<'_>; 1]> = replies.iter().map(|(_, reply)| [IoSlice::new(reply)]).collect();
    let mut messages: Vec<MMsgHdr<'_>> = replies
        .iter()
        .zip(&slices)
        .zip(&mut ancillary)
        .map(|(((client, _), slice), ancillary)| MMsgHdr::new_with_addr(client, slice, ancillary))
        .collect();
    sendmmsg(socket.as_fd(), &mut messages, SendFlags::empty())?;
    Ok(())
}
