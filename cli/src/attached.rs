//! An attached process: its standard streams are this process's, and so are the signals it gets.

use std::io;

use api::{Client, FrameReader, FrameStream, FrameWriter, KillQuery, Reference, Signal};
use model::{Frame, Stream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};

use crate::{failure::Failure, signals::Signals};

/// How many frames may wait in one direction.
const PENDING: usize = 4;

/// What becomes of this process's standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// It goes to the attached process.
    PassedOn,
    /// It is left alone; the attached process has none.
    LeftAlone,
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

/// Carries streams and signals until the attached process has ended; returns its exit code.
///
/// The daemon is not in the way: whoever holds the other end of the stream is the process's own keeper.
pub(crate) async fn pump(
    stream: FrameStream,
    input: Input,
    signals: &mut Signals,
    process: Process,
) -> Result<u8, Failure> {
    let (mut reader, writer) = stream.split();
    let (to_process, outgoing) = mpsc::channel(PENDING);
    let sending = tokio::spawn(send(writer, outgoing));
    let typing = match input {
        Input::PassedOn => Some(tokio::spawn(pass_input_on(to_process.clone()))),
        Input::LeftAlone => None,
    };
    let (to_terminal, written) = mpsc::channel(PENDING);
    let mut writing = tokio::spawn(write(written));

    let way = SignalWay { to_process, input, process };
    let ended = carry(&mut reader, &way, to_terminal, signals).await;
    sending.abort();
    if let Some(typing) = typing {
        typing.abort();
    }
    if matches!(ended, Ended::OutputClosed) {
        return Err(joined(writing.await).err().unwrap_or_else(|| way.process.lost()));
    }
    // The last output may still wait for a reader; a signal then has nobody else to go to.
    tokio::select! {
        result = &mut writing => joined(result)?,
        number = signals.next() => return Ok(128 + number),
    }
    match ended {
        Ended::Exit(code) => Ok(code),
        Ended::Failed(failure) => Err(failure),
        Ended::OutputClosed => unreachable!("returned above"),
    }
}

/// Why nothing more is carried.
enum Ended {
    Exit(u8),
    Failed(Failure),
    OutputClosed,
}

async fn carry(
    reader: &mut FrameReader,
    way: &SignalWay,
    to_terminal: mpsc::Sender<(Stream, Vec<u8>)>,
    signals: &mut Signals,
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
            number = signals.next() => {
                tokio::spawn(way.clone().send(number));
            }
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
                    Ok(Some(Frame::Stdin(_) | Frame::StdinEnd | Frame::Signal(_))) => {}
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
    async fn send(self, number: u8) {
        // A frame would wait behind input that the process does not read, perhaps for ever.
        if self.input == Input::PassedOn
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

async fn pass_input_on(to_process: mpsc::Sender<Frame>) {
    let mut stdin = tokio::io::stdin();
    let mut buffer = vec![0; Frame::MAX_PAYLOAD as usize];
    loop {
        // Input that cannot be read has ended.
        let length = stdin.read(&mut buffer).await.unwrap_or(0);
        let frame = if length == 0 { Frame::StdinEnd } else { Frame::Stdin(buffer[..length].to_vec()) };
        if to_process.send(frame).await.is_err() || length == 0 {
            return;
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
