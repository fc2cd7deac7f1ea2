//! Whose network namespace a container lives in.

use serde::{Deserialize, Serialize};

use crate::{ContainerId, NamespaceName};

/// Whose network namespace a container lives in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub enum NetworkMode {
    /// Its own, with an endpoint on each of its networks; where it is on none, with the loopback interface alone.
    Own {
        /// The namespace.
        namespace: NamespaceName,
    },
    /// That of another container, with all that is in it.
    Joined {
        /// The namespace.
        namespace: NamespaceName,
        /// Whose it is. It may be gone: the namespace stays as long as anybody lives in it.
        container: ContainerId,
    },
    /// The host's: the one that the daemon runs in.
    Host,
}

impl NetworkMode {
    /// The pinned namespace it lives in; none in the host's.
    pub fn namespace(&self) -> Option<&NamespaceName> {
        match self {
            Self::Own { namespace } | Self::Joined { namespace, .. } => Some(namespace),
            Self::Host => None,
        }
    }
}

/// What is stored of it, among the fields of the container.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    namespace: Option<NamespaceName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    joined: Option<ContainerId>,
}

impl From<NetworkMode> for Stored {
    fn from(mode: NetworkMode) -> Self {
        match mode {
            NetworkMode::Own { namespace } => Self { namespace: Some(namespace), joined: None },
            NetworkMode::Joined { namespace, container } => {
                Self { namespace: Some(namespace), joined: Some(container) }
            }
            NetworkMode::Host => Self { namespace: None, joined: None },
        }
    }
}

impl TryFrom<Stored> for NetworkMode {
    type Error = &'static str;

    fn try_from(stored: Stored) -> Result<Self, Self::Error> {
        match (stored.namespace, stored.joined) {
            (Some(namespace), None) => Ok(Self::Own { namespace }),
            (Some(namespace), Some(container)) => Ok(Self::Joined { namespace, container }),
            (None, None) => Ok(Self::Host),
            (None, Some(_)) => Err("a container that joined another has no `namespace`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_stored_and_read_again() {
        let namespace: NamespaceName = "ns-1".parse().expect("literal");
        let container = ContainerId::from_bytes([1; 16]);
        for (mode, text) in [
            (NetworkMode::Own { namespace: namespace.clone() }, r#"{"namespace":"ns-1"}"#.to_owned()),
            (
                NetworkMode::Joined { namespace, container: container.clone() },
                format!(r#"{{"namespace":"ns-1","joined":"{container}"}}"#),
            ),
            (NetworkMode::Host, "{}".to_owned()),
        ] {
            assert_eq!(serde_json::to_string(&mode).expect("plain fields"), text);
            assert_eq!(serde_json::from_str::<NetworkMode>(&text).expect("what was written"), mode);
        }
        let alone = format!(r#"{{"joined":"{container}"}}"#);
        assert!(serde_json::from_str::<NetworkMode>(&alone).is_err());
    }
}
