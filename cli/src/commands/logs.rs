//! `fabric logs`.

use api::{Client, LogLine, LogsQuery};
use model::Stream;

use crate::{arguments::LogsArguments, failure::Failure, output::Output};

pub(super) async fn logs(client: &Client, output: Output, arguments: LogsArguments) -> Result<(), Failure> {
    let query = LogsQuery {
        follow: arguments.follow,
        since: arguments.since.map(|since| since.0),
        until: arguments.until.map(|until| until.0),
        tail: arguments.tail,
    };
    let mut lines = client.logs(&arguments.container, query).await?;
    let mut dated = Dated::default();
    while let Some(line) = lines.next().await? {
        let text = if arguments.timestamps { &dated.text(&line) } else { &line.log };
        output.stream(&line, line.stream, text)?;
    }
    Ok(())
}

/// Lines with their time. A line that came in pieces has the time of the first.
#[derive(Default)]
struct Dated {
    /// The streams whose last line goes on.
    open: Vec<Stream>,
}

impl Dated {
    fn text(&mut self, line: &LogLine) -> String {
        let goes_on = self.open.contains(&line.stream);
        self.open.retain(|stream| *stream != line.stream);
        if !line.log.ends_with('\n') {
            self.open.push(line.stream);
        }
        if goes_on { line.log.clone() } else { format!("{:.9} {}", line.time, line.log) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_a_time_and_pieces_of_one_line_have_one() {
        let mut dated = Dated::default();
        let texts = [
            (Stream::Stdout, "one\n", "2026-11-20T08:00:00.120000000Z one\n"),
            (Stream::Stdout, "half ", "2026-11-20T08:00:00.120000000Z half "),
            (Stream::Stderr, "other\n", "2026-11-20T08:00:00.120000000Z other\n"),
            (Stream::Stdout, "a line\n", "a line\n"),
            (Stream::Stdout, "two\n", "2026-11-20T08:00:00.120000000Z two\n"),
        ];
        for (stream, log, expected) in texts {
            let time = "2026-11-20T08:00:00.12Z".parse().expect("literal");
            assert_eq!(dated.text(&LogLine { time, stream, log: log.to_owned() }), expected);
        }
    }
}
