//! Files of environment variables.

use std::path::Path;

use crate::{arguments::EnvironmentArgument, failure::Failure};

/// The variables in a file: one `NAME=VALUE` per line, taken as it stands, or a `NAME` to pass on. Empty lines and
/// those that begin with `#` say nothing.
pub(crate) fn read(path: &Path) -> Result<Vec<EnvironmentArgument>, Failure> {
    let text =
        std::fs::read_to_string(path).map_err(|source| Failure::EnvironmentFile { path: path.to_owned(), source })?;
    parse(&text).map_err(|(line, source)| Failure::EnvironmentLine { path: path.to_owned(), line, source })
}

/// The variables; the number of the line that holds none, and why.
fn parse(text: &str) -> Result<Vec<EnvironmentArgument>, (usize, model::ParseEnvironmentError)> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim_start()));
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| line.parse().map_err(|error| (number, error)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_line_by_line() {
        let variables = parse("# colours\n\nA=1 # no comment\n  B=\nPASSED_ON\n").expect("valid");
        let given = |text: &str| EnvironmentArgument::Given(text.parse().expect("literal"));
        let expected = [given("A=1 # no comment"), given("B="), EnvironmentArgument::PassedOn("PASSED_ON".into())];
        assert_eq!(variables, expected);
        assert_eq!(parse("A=1\n=2\n").expect_err("no name").0, 2);
    }
}
