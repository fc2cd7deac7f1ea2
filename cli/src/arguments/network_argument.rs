//! What `--network` takes: a network with options, or a mode.

use std::str::FromStr;

use api::{EndpointCreate, NetworkMode};

/// One `--network`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NetworkArgument {
    /// An endpoint on a network.
    Endpoint(EndpointCreate),
    /// Another kind of network than those that were made.
    Mode(NetworkMode),
}

/// Why a text is not what `--network` takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseNetworkArgumentError {
    #[error(transparent)]
    Endpoint(#[from] api::ParseEndpointError),
    #[error(transparent)]
    Container(#[from] api::ParseReferenceError),
    #[error("`container` is no network: expected container:NAME, the running container whose network to share")]
    NoContainer,
    #[error("`{0}` takes no options: it is no network, but the mode of that name")]
    Options(&'static str),
}

impl FromStr for NetworkArgument {
    type Err = ParseNetworkArgumentError;

    fn from_str(text: &str) -> Result<Self, ParseNetworkArgumentError> {
        let (word, rest) = text.split_once(':').map_or((text, None), |(word, rest)| (word, Some(rest)));
        match (word, rest) {
            ("none", None) => Ok(Self::Mode(NetworkMode::None)),
            ("none", Some(_)) => Err(ParseNetworkArgumentError::Options("none")),
            ("host", None) => Ok(Self::Mode(NetworkMode::Host)),
            ("host", Some(_)) => Err(ParseNetworkArgumentError::Options("host")),
            ("container", Some(reference)) => Ok(Self::Mode(NetworkMode::Container(reference.parse()?))),
            ("container", None) => Err(ParseNetworkArgumentError::NoContainer),
            _ => Ok(Self::Endpoint(text.parse()?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_told_from_networks() {
        for (text, mode) in [("none", "none"), ("host", "host"), ("container:db", "container:db")] {
            assert_eq!(text.parse(), Ok(NetworkArgument::Mode(mode.parse().expect("literal"))));
        }
        assert!(matches!("web:alias=host".parse(), Ok(NetworkArgument::Endpoint(_))));
        for (text, expected) in [
            ("container", "`container` is no network: expected container:NAME"),
            ("container:", "`` is no container's name or id"),
            ("host:ip=10.0.0.1", "`host` takes no options"),
            ("none:alias=a", "`none` takes no options"),
        ] {
            let error = text.parse::<NetworkArgument>().expect_err(text).to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
