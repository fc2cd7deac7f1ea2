//! A person at a terminal.

use std::{
    fs::File,
    io::{Read, Write},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use rustix::{
    fs::{Mode, OFlags},
    process::Pid,
    pty::OpenptFlags,
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};

use crate::{PATIENCE, within};

/// A command on a terminal of its own, and what the screen has shown.
#[derive(Debug)]
pub struct Terminal {
    seat: File,
    child: Child,
    screen: Arc<Mutex<Screen>>,
    modes_before: LocalModes,
}

#[derive(Debug, Default)]
struct Screen {
    shown: String,
    /// How much of it was expected already.
    read: usize,
}

impl Terminal {
    /// Runs `command` on a new terminal of 100 columns and 40 rows, which controls it.
    pub fn start(command: &Command) -> Self {
        let seat = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a pty");
        rustix::pty::grantpt(&seat).and_then(|()| rustix::pty::unlockpt(&seat)).expect("ours");
        let name = rustix::pty::ptsname(&seat, Vec::new()).expect("it has a name");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let terminal = File::from(rustix::fs::open(name, flags, Mode::empty()).expect("ours"));
        let seat = File::from(seat);
        resize(&seat, 40, 100);
        let modes_before = tcgetattr(&seat).expect("a terminal").local_modes;
        // It becomes the command.
        let mut session = Command::new("setsid");
        session.arg("--ctty").arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => session.env(name, value),
                None => session.env_remove(name),
            };
        }
        let end = || Stdio::from(terminal.try_clone().expect("a descriptor"));
        let child = session.stdin(end()).stdout(end()).stderr(end()).spawn().expect("util-linux is installed");
        let screen = Arc::<Mutex<Screen>>::default();
        let (shown, mut reader) = (screen.clone(), seat.try_clone().expect("a descriptor"));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Ends with the last program on the terminal.
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                shown.lock().expect("no holder panics").shown.push_str(&text);
            }
        });
        Self { seat, child, screen, modes_before }
    }

    /// The command's process.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Types.
    pub fn keys(&mut self, keys: &str) {
        self.seat.write_all(keys.as_bytes()).expect("somebody reads");
    }

    /// Waits until the screen shows `text`, after what was expected before.
    #[track_caller]
    pub fn expect(&self, text: &str) {
        let found = within(PATIENCE, || {
            let mut screen = self.screen.lock().expect("no holder panics");
            let place = screen.shown[screen.read..].find(text)?;
            screen.read += place + text.len();
            Some(())
        });
        assert!(found.is_some(), "`{text}` is not shown:\n{}", self.shown());
    }

    /// Everything that was shown.
    pub fn shown(&self) -> String {
        self.screen.lock().expect("no holder panics").shown.clone()
    }

    /// Makes the terminal this large.
    pub fn resize(&self, rows: u16, columns: u16) {
        resize(&self.seat, rows, columns);
    }

    /// Whether the terminal passes keys on as they are.
    pub fn is_raw(&self) -> bool {
        !tcgetattr(&self.seat).expect("a terminal").local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO)
    }

    /// Waits until the terminal passes keys on as they are.
    #[track_caller]
    pub fn wait_until_raw(&self) {
        let raw = within(PATIENCE, || self.is_raw().then_some(()));
        assert!(raw.is_some(), "the terminal is not raw:\n{}", self.shown());
    }

    /// Waits for the command's end; the terminal must then be as it was. Returns the exit code, or 128 and the signal.
    #[track_caller]
    pub fn end(mut self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        let ended = within(PATIENCE, || self.child.try_wait().expect("it is our child"));
        let Some(status) = ended else {
            let _ = self.child.kill();
            let _ = self.child.wait();
            panic!("it did not end:\n{}", self.shown());
        };
        assert_eq!(tcgetattr(&self.seat).expect("a terminal").local_modes, self.modes_before, "modes of the terminal");
        status.code().unwrap_or_else(|| 128 + status.signal().expect("a code or a signal"))
    }
}

fn resize(seat: &File, rows: u16, columns: u16) {
    tcsetwinsize(seat, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).expect("a terminal");
}
