//! An attached process: its standard streams are this process's, and so are the signals it gets.

use std::{io, pin::pin};

use api::{Client, FrameReader, FrameStream, FrameWriter, KillQuery, Reference, Signal};
use model::{Frame, Stream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    task::JoinHandle,
};

use crate::{
    detach::{DetachKeys, Watch},
    failure::Failure,
    signals::{CONTINUE, HANGUP, Signals, WINDOW_CHANGE},
    terminal::{self, RawMode},
};

/// How many frames may wait in one direction.
const PENDING: usize = 4;

/// What becomes of this process's standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// It is a terminal, whose keys go to the attached process's terminal, but for those that detach it.
    Typed(Option<DetachKeys>),
    /// It is left alone; the attached process has a terminal of this one's size.
    Watched,
    /// It goes to the attached process.
    PassedOn,
    /// It is left alone; the attached process has none.
    LeftAlone,
}

impl Input {
    /// For a process with a terminal, whose input is passed on if it is `interactive`. `otherwise` is how that fails
    /// where there are no keys to pass on.
    pub(crate) fn of_terminal(
        interactive: bool,
        keys: Option<DetachKeys>,
        otherwise: impl FnOnce() -> Failure,
    ) -> Result<Self, Failure> {
        match interactive {
            false => Ok(Self::Watched),
            true if terminal::is_there() => Ok(Self::Typed(keys)),
            true => Err(otherwise()),
        }
    }

    /// Whether the attached process has a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        matches!(self, Self::Typed(_) | Self::Watched)
    }
}

/// How an attachment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    /// The process ended, with this exit code.
    Exited(u8),
    /// The person left; the process goes on.
    Detached,
}

/// Which process is attached.
#[derive(Debug, Clone)]
pub(crate) enum Process {
    /// A container's first.
    Container {
        /// The container as a person knows it.
        name: String,
        /// The container.
        reference: Reference,
        /// Another way to it.
        client: Client,
    },
    /// Another one in a container.
    Exec {
        /// The container as a person knows it.
        container: String,
    },
}

impl Process {
    fn lost(&self) -> Failure {
        match self {
            Self::Container { name: container, .. } | Self::Exec { container } => Failure::Lost(container.clone()),
        }
    }
}

/// Carries streams and signals until the attached process has ended, or the person has left.
///
/// The daemon is not in the way: whoever holds the other end of the stream is the process's own keeper.
pub(crate) async fn pump(
    stream: FrameStream,
    input: Input,
    signals: &mut Signals,
    process: Process,
) -> Result<Finish, Failure> {
    // Restored wherever this function is left.
    let raw = matches!(input, Input::Typed(_)).then(RawMode::enter).transpose()?;
    let (mut reader, writer) = stream.split();
    let (to_process, outgoing) = mpsc::channel(PENDING);
    let sending = tokio::spawn(send(writer, outgoing));
    let typing = match &input {
        Input::PassedOn => Some(tokio::spawn(pass_input_on(to_process.clone()))),
        Input::LeftAlone | Input::Watched => None,
        Input::Typed(keys) => Some(tokio::spawn(pass_keys_on(to_process.clone(), keys.clone()))),
    };
    let (to_terminal, written) = mpsc::channel(PENDING);
    let mut writing = tokio::spawn(write(written));

    let way = SignalWay { to_process, input, process };
    let mut left = pin!(left(typing));
    let ended = tokio::select! {
        ended = carry(&mut reader, &way, to_terminal, signals, raw.as_ref()) => ended,
        () = &mut left => Ended::Detached,
    };
    sending.abort();
    if matches!(ended, Ended::Detached) {
        return Ok(Finish::Detached);
    }
    if matches!(ended, Ended::OutputClosed) {
        return Err(joined(writing.await).err().unwrap_or_else(|| way.process.lost()));
    }
    // The last output may still wait for a reader; a signal then has nobody else to go to.
    tokio::select! {
        result = &mut writing => joined(result)?,
        number = signals.next() => return Ok(Finish::Exited(128 + number)),
    }
    match ended {
        Ended::Exit(code) => Ok(Finish::Exited(code)),
        Ended::Failed(failure) => Err(failure),
        Ended::OutputClosed | Ended::Detached => unreachable!("returned above"),
    }
}

/// Why nothing more is carried.
enum Ended {
    Exit(u8),
    Failed(Failure),
    OutputClosed,
    Detached,
}

/// Waits until whoever types has left, which only happens at a terminal. The task ends with this.
async fn left(typing: Option<JoinHandle<Typed>>) {
    let mut typing = typing.map(Typing);
    if let Some(Typing(task)) = &mut typing
        && matches!(task.await, Ok(Typed::DetachKeys))
    {
        return;
    }
    std::future::pending().await
}

/// A task that ends with this.
struct Typing(JoinHandle<Typed>);

impl Drop for Typing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn carry(
    reader: &mut FrameReader,
    way: &SignalWay,
    to_terminal: mpsc::Sender<(Stream, Vec<u8>)>,
    signals: &mut Signals,
    raw: Option<&RawMode>,
) -> Ended {
    loop {
        // A frame is only read when there is room for it, so that a slow reader of the output slows the process down.
        let received = async {
            match to_terminal.reserve().await {
                Ok(room) => Some((room, reader.next().await)),
                Err(_) => None,
            }
        };
        tokio::select! {
            number = signals.next() => match number {
                WINDOW_CHANGE => way.resize().await,
                CONTINUE => {
                    // Of a terminal that is gone the end of its input tells.
                    let _ = raw.map(RawMode::renew);
                    way.resize().await;
                }
                // The terminal is closed: its owner has left.
                HANGUP if way.input.is_terminal() => return Ended::Detached,
                number => drop(tokio::spawn(way.clone().send(number))),
            },
            received = received => {
                let Some((room, frame)) = received else {
                    return Ended::OutputClosed;
                };
                match frame {
                    Ok(Some(Frame::Output(stream, bytes))) => room.send((stream, bytes)),
                    Ok(Some(Frame::Exit(code))) => return Ended::Exit(code),
                    Ok(Some(Frame::Failed { code, message })) => {
                        return Ended::Failed(Failure::NotStarted { code, message });
                    }
                    // What only this side may say is not worth the process's output.
                    Ok(Some(Frame::Stdin(_) | Frame::StdinEnd | Frame::Signal(_) | Frame::Resize(_))) => {}
                    Ok(None) => return Ended::Failed(way.process.lost()),
                    Err(error) => return Ended::Failed(error.into()),
                }
            }
        }
    }
}

/// How a signal gets to the attached process.
#[derive(Debug, Clone)]
struct SignalWay {
    to_process: mpsc::Sender<Frame>,
    input: Input,
    process: Process,
}

impl SignalWay {
    /// Tells the process's terminal how large this one is, if it has one.
    async fn resize(&self) {
        if self.input.is_terminal()
            && let Some(size) = terminal::size()
        {
            let _ = self.to_process.send(Frame::Resize(size)).await;
        }
    }

    async fn send(self, number: u8) {
        // A frame would wait behind input that the process does not read, perhaps for ever.
        if matches!(self.input, Input::PassedOn | Input::Typed(_))
            && let Process::Container { client, reference, .. } = &self.process
            && let Ok(signal) = number.to_string().parse::<Signal>()
            && client.kill_container(reference, KillQuery { signal }).await.is_ok()
        {
            return;
        }
        // The daemon is away, or was not needed. If the stream has ended, so has the process.
        let _ = self.to_process.send(Frame::Signal(number)).await;
    }
}

/// Sends frames until the other end takes no more. That is no failure: the process may have closed its input, and
/// the reader learns how it ended.
async fn send(mut writer: FrameWriter, mut frames: mpsc::Receiver<Frame>) {
    while let Some(frame) = frames.recv().await {
        if writer.send(&frame).await.is_err() {
            return;
        }
    }
}

/// How it came that nothing more is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Typed {
    End,
    DetachKeys,
}

/// Passes keys on until those that detach.
async fn pass_keys_on(to_process: mpsc::Sender<Frame>, keys: Option<DetachKeys>) -> Typed {
    let mut stdin = tokio::io::stdin();
    let mut watch = keys.map(Watch::new);
    let mut buffer = vec![0; 4096];
    loop {
        // A terminal that is closed ends, which is not the end of the other one.
        let length = stdin.read(&mut buffer).await.unwrap_or(0);
        let (passed, detached) = match &mut watch {
            Some(watch) => watch.pass(&buffer[..length]),
            None => (buffer[..length].to_vec(), false),
        };
        if !passed.is_empty() && to_process.send(Frame::Stdin(passed)).await.is_err() {
            return Typed::End;
        }
        if detached {
            return Typed::DetachKeys;
        }
        if length == 0 {
            return Typed::End;
        }
    }
}

async fn pass_input_on(to_process: mpsc::Sender<Frame>) -> Typed {
    let mut stdin = tokio::io::stdin();
    let mut buffer = vec![0; Frame::MAX_PAYLOAD as usize];
    loop {
        // Input that cannot be read has ended.
        let length = stdin.read(&mut buffer).await.unwrap_or(0);
        let frame = if length == 0 { Frame::StdinEnd } else { Frame::Stdin(buffer[..length].to_vec()) };
        if to_process.send(frame).await.is_err() || length == 0 {
            return Typed::End;
        }
    }
}

async fn write(mut output: mpsc::Receiver<(Stream, Vec<u8>)>) -> io::Result<()> {
    let (mut stdout, mut stderr) = (tokio::io::stdout(), tokio::io::stderr());
    while let Some((stream, bytes)) = output.recv().await {
        match stream {
            Stream::Stdout => {
                stdout.write_all(&bytes).await?;
                stdout.flush().await?;
            }
            Stream::Stderr => {
                stderr.write_all(&bytes).await?;
                stderr.flush().await?;
            }
        }
    }
    Ok(())
}

fn joined(result: Result<io::Result<()>, tokio::task::JoinError>) -> Result<(), Failure> {
    result.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(Failure::Output)
}
