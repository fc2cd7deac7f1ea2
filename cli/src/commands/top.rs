//! `fabric top`.

use api::{Client, Process};

use crate::{arguments::TopArguments, failure::Failure, output::Output, table::table};

pub(super) async fn top(client: &Client, output: Output, arguments: TopArguments) -> Result<(), Failure> {
    let processes = client.processes(&arguments.container).await?;
    output.print(&processes, || render(&processes))
}

fn render(processes: &[Process]) -> String {
    table(
        ["PID", "HOST PID", "UID", "TIME", "COMMAND"],
        processes.iter().map(|process| {
            [
                process.pid.to_string(),
                process.host_pid.to_string(),
                process.uid.to_string(),
                time(process.processor_time_ms),
                process.command.clone(),
            ]
        }),
    )
}

/// Minutes, seconds and hundredths.
fn time(milliseconds: u64) -> String {
    format!("{}:{:02}.{:02}", milliseconds / 60_000, milliseconds / 1000 % 60, milliseconds / 10 % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_a_table() {
        let process = |pid, processor_time_ms, command: &str| Process {
            pid,
            host_pid: 4711,
            uid: 33,
            processor_time_ms,
            command: command.to_owned(),
        };
        assert_eq!(
            render(&[process(1, 75_430, "httpd -f"), process(12, 0, "sh -c a\nb")]),
            "PID   HOST PID   UID   TIME      COMMAND\n\
             1     4711       33    1:15.43   httpd -f\n\
             12    4711       33    0:00.00   sh -c a\\nb\n"
        );
    }
}
