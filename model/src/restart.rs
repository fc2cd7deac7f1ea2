//! Whether a container that has ended is started again, and when.

use std::{fmt, num::NonZeroU32, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// Whether a container whose first process has ended is started again without being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// When it ended with another exit code than 0.
    OnFailure {
        /// So many times in all since a person started it; none means without end.
        most: Option<NonZeroU32>,
    },
    /// Whenever it has ended, unless a person stopped it; one that was stopped is started at the next boot of the host.
    Always,
    /// Whenever it has ended, unless a person stopped it.
    UnlessStopped,
}

impl RestartPolicy {
    /// Whether a container that ended by itself with `exit_code`, and was started again `count` times so far, is to be
    /// started once more.
    pub fn wants(&self, exit_code: i32, count: u32) -> bool {
        match self {
            Self::No => false,
            Self::OnFailure { most } => exit_code != 0 && most.is_none_or(|most| count < most.get()),
            Self::Always | Self::UnlessStopped => true,
        }
    }

    /// How long a container that ends at once is left alone before it is started again: it has been started again
    /// `in_a_row` times without having run for [`RestartPolicy::SETTLED`].
    pub fn pause(in_a_row: u32) -> Duration {
        const FIRST: Duration = Duration::from_millis(100);
        const LONGEST: Duration = Duration::from_secs(60);
        // The tenth doubling is beyond the longest already.
        (FIRST * 2_u32.pow(in_a_row.min(10))).min(LONGEST)
    }

    /// A container that ran for so long did not fail at its start.
    pub const SETTLED: Duration = Duration::from_secs(10);
}

/// Why a text is not a restart policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a restart policy: expected no, on-failure, on-failure:COUNT, always or unless-stopped", .0.escape_debug())]
pub struct ParseRestartPolicyError(String);

impl FromStr for RestartPolicy {
    type Err = ParseRestartPolicyError;

    fn from_str(text: &str) -> Result<Self, ParseRestartPolicyError> {
        let error = || ParseRestartPolicyError(text.chars().take(80).collect());
        Ok(match text.split_once(':') {
            None => match text {
                "no" => Self::No,
                "on-failure" => Self::OnFailure { most: None },
                "always" => Self::Always,
                "unless-stopped" => Self::UnlessStopped,
                _ => return Err(error()),
            },
            // A sign is a number to the standard library, and a typing error to a person.
            Some(("on-failure", most)) if most.bytes().all(|byte| byte.is_ascii_digit()) => {
                Self::OnFailure { most: Some(most.parse().map_err(|_| error())?) }
            }
            Some(_) => return Err(error()),
        })
    }
}

impl fmt::Display for RestartPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::No => f.pad("no"),
            Self::OnFailure { most: None } => f.pad("on-failure"),
            Self::OnFailure { most: Some(most) } => write!(f, "on-failure:{most}"),
            Self::Always => f.pad("always"),
            Self::UnlessStopped => f.pad("unless-stopped"),
        }
    }
}

impl TryFrom<String> for RestartPolicy {
    type Error = ParseRestartPolicyError;

    fn try_from(text: String) -> Result<Self, ParseRestartPolicyError> {
        text.parse()
    }
}

impl From<RestartPolicy> for String {
    fn from(policy: RestartPolicy) -> String {
        policy.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_as_they_are_written_and_nothing_else_is() {
        for text in ["no", "on-failure", "on-failure:3", "always", "unless-stopped"] {
            assert_eq!(text.parse().map(|policy: RestartPolicy| policy.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "yes", "Always", "on-failure:", "on-failure:0", "on-failure:+1", "on-failure:-1", "always:3"] {
            let error = text.parse::<RestartPolicy>().expect_err(text);
            assert!(error.to_string().starts_with(&format!("`{text}` is not a restart policy")), "{error}");
        }
        assert!("on-failure:4294967296".parse::<RestartPolicy>().is_err());
    }

    #[test]
    fn a_policy_wants_what_it_says() {
        for (policy, exit_code, count, expected) in [
            ("no", 1, 0, false),
            ("on-failure", 0, 0, false),
            ("on-failure", 1, 1_000_000, true),
            ("on-failure:2", 137, 1, true),
            ("on-failure:2", 137, 2, false),
            ("always", 0, 5, true),
            ("unless-stopped", 0, 5, true),
        ] {
            let parsed: RestartPolicy = policy.parse().expect("literal");
            assert_eq!(parsed.wants(exit_code, count), expected, "{policy} after {exit_code}, {count} times");
        }
    }

    #[test]
    fn pauses_double_up_to_a_minute() {
        let pauses: Vec<u128> = (0..12).map(|in_a_row| RestartPolicy::pause(in_a_row).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000]);
        assert_eq!(RestartPolicy::pause(u32::MAX), Duration::from_secs(60));
    }
}
