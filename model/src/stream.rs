//! How standard streams, signals and the exit code of an attached process cross a socket.
//!
//! A frame is one octet of kind, the payload's length as a big-endian `u32`, and the payload. Both directions
//! of an attached run, an `attach` and an `exec` speak it, so that whoever carries the bytes need not understand them.

/// One of a process's standard streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

/// How many characters a terminal shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters per line.
    pub columns: u16,
}

/// One message on an attached connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Client to process: octets for its standard input.
    Stdin(Vec<u8>),
    /// Client to process: its standard input ends here.
    StdinEnd,
    /// Client to process: a signal, by its Linux number.
    Signal(u8),
    /// Client to process: how large the client's terminal is now.
    Resize(TerminalSize),
    /// Process to client: octets of one of its output streams.
    Output(Stream, Vec<u8>),
    /// Process to client, last: its exit code, or 128 and the number of the signal that ended it.
    Exit(u8),
    /// Process to client, last: why it could not be started, and the exit code that stands for that (126, 127, 125).
    Failed {
        /// The exit code for the client to end with.
        code: u8,
        /// What failed, for a person.
        message: String,
    },
}

/// Why octets are not a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeFrameError {
    /// The first octet names no kind.
    #[error("unknown frame kind {0}")]
    Kind(u8),
    /// The payload would be larger than any frame may be.
    #[error("frame of {0} octets is larger than {max}", max = Frame::MAX_PAYLOAD)]
    TooLarge(u32),
    /// The payload does not fit its kind.
    #[error("frame of kind {0} has a malformed payload")]
    Payload(u8),
}

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STDIN_END: u8 = 3;
const SIGNAL: u8 = 4;
const EXIT: u8 = 5;
const FAILED: u8 = 6;
const RESIZE: u8 = 7;

impl Frame {
    /// The largest payload of a frame, in octets.
    pub const MAX_PAYLOAD: u32 = 1 << 16;
    /// The length of a frame's header, in octets.
    pub const HEADER: usize = 5;

    /// The frame's octets. Payloads of more than [`Frame::MAX_PAYLOAD`] octets are the caller's to split.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, payload): (u8, &[u8]) = match self {
            Self::Stdin(bytes) => (STDIN, bytes),
            Self::StdinEnd => (STDIN_END, &[]),
            Self::Signal(number) => (SIGNAL, &[*number]),
            Self::Output(Stream::Stdout, bytes) => (STDOUT, bytes),
            Self::Output(Stream::Stderr, bytes) => (STDERR, bytes),
            Self::Exit(code) => (EXIT, &[*code]),
            Self::Resize(TerminalSize { rows, columns }) => {
                (RESIZE, &[rows.to_be_bytes(), columns.to_be_bytes()].concat())
            }
            Self::Failed { code, message } => (FAILED, &[&[*code], message.as_bytes()].concat()),
        };
        debug_assert!(payload.len() <= Self::MAX_PAYLOAD as usize, "the caller splits large payloads");
        let mut bytes = Vec::with_capacity(Self::HEADER + payload.len());
        bytes.push(kind);
        bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }

    fn decode(kind: u8, payload: &[u8]) -> Result<Self, DecodeFrameError> {
        match (kind, payload) {
            (STDIN, bytes) => Ok(Self::Stdin(bytes.to_vec())),
            (STDOUT, bytes) => Ok(Self::Output(Stream::Stdout, bytes.to_vec())),
            (STDERR, bytes) => Ok(Self::Output(Stream::Stderr, bytes.to_vec())),
            (STDIN_END, []) => Ok(Self::StdinEnd),
            (SIGNAL, [number]) => Ok(Self::Signal(*number)),
            (EXIT, [code]) => Ok(Self::Exit(*code)),
            (FAILED, [code, message @ ..]) => {
                Ok(Self::Failed { code: *code, message: String::from_utf8_lossy(message).into_owned() })
            }
            (RESIZE, [a, b, c, d]) => Ok(Self::Resize(TerminalSize {
                rows: u16::from_be_bytes([*a, *b]),
                columns: u16::from_be_bytes([*c, *d]),
            })),
            (STDIN_END | SIGNAL | EXIT | FAILED | RESIZE, _) => Err(DecodeFrameError::Payload(kind)),
            _ => Err(DecodeFrameError::Kind(kind)),
        }
    }
}

/// Turns octets, in whatever pieces they arrive, into frames.
#[derive(Debug, Default)]
pub struct FrameDecoder {
    buffer: Vec<u8>,
}

impl FrameDecoder {
    /// Adds octets as they were received.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, if it has arrived.
    ///
    /// # Errors
    /// [`DecodeFrameError`] when the peer does not speak this protocol; the connection is then of no more use.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, DecodeFrameError> {
        let Some((header, rest)) = self.buffer.split_at_checked(Frame::HEADER) else {
            return Ok(None);
        };
        let kind = header[0];
        if kind > RESIZE {
            return Err(DecodeFrameError::Kind(kind));
        }
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
        if length > Frame::MAX_PAYLOAD {
            return Err(DecodeFrameError::TooLarge(length));
        }
        let Some(payload) = rest.get(..length as usize) else {
            return Ok(None);
        };
        let frame = Frame::decode(kind, payload)?;
        self.buffer.drain(..Frame::HEADER + length as usize);
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames() -> impl Strategy<Value = Frame> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..2000);
        prop_oneof![
            bytes().prop_map(Frame::Stdin),
            Just(Frame::StdinEnd),
            any::<u8>().prop_map(Frame::Signal),
            bytes().prop_map(|bytes| Frame::Output(Stream::Stdout, bytes)),
            bytes().prop_map(|bytes| Frame::Output(Stream::Stderr, bytes)),
            any::<u8>().prop_map(Frame::Exit),
            (any::<u16>(), any::<u16>()).prop_map(|(rows, columns)| Frame::Resize(TerminalSize { rows, columns })),
            (any::<u8>(), ".{0,40}").prop_map(|(code, message)| Frame::Failed { code, message }),
        ]
    }

    proptest! {
        #[test]
        fn frames_survive_any_split(frames in prop::collection::vec(frames(), 0..8), piece in 1_usize..700) {
            let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
            let mut decoder = FrameDecoder::default();
            let mut seen = Vec::new();
            for chunk in bytes.chunks(piece) {
                decoder.push(chunk);
                while let Some(frame) = decoder.next_frame().expect("own frames decode") {
                    seen.push(frame);
                }
            }
            prop_assert_eq!(seen, frames);
        }

        #[test]
        fn arbitrary_octets_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut decoder = FrameDecoder::default();
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next_frame() {}
        }
    }

    #[test]
    fn a_hostile_length_is_refused_before_it_is_waited_for() {
        let mut decoder = FrameDecoder::default();
        decoder.push(&[STDIN, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(decoder.next_frame(), Err(DecodeFrameError::TooLarge(u32::MAX)));
    }
}
