//! What happened, in the order in which it happened.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use model::Labels;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One thing that happened; `GET /v1/events` sends one JSON object per line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its place in the order: one more than that of the event before it, also over restarts of the daemon.
    pub sequence: u64,
    /// When it happened, by the host's clock.
    pub time: Timestamp,
    /// What it happened to.
    pub kind: EventKind,
    /// What happened.
    pub action: EventAction,
    /// The identifier of what it happened to; an image's is its digest.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Of a container: its image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Of a container: the networks it is on, or the one that it was connected to or disconnected from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// Of a container that exited: its exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// What a person attached to it.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub labels: Labels,
}

/// Which events `GET /v1/events` sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EventsQuery {
    /// From this moment on, as far as the daemon remembers; absent means all it remembers.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// Whether to go on sending what happens from now on; between the two nothing is missing.
    #[serde(default)]
    pub follow: bool,
}

/// Declares an enumeration of words, one and the same on the wire, in filters and in tables.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $noun:literal, $error:ident, {
        $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word itself.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        #[doc = concat!("Why a text is not ", $noun, ".")]
        #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
        #[error("`{}` is not {}: expected {}", .0.escape_debug(), $noun, [$($word),+].join(", "))]
        pub struct $error(String);

        impl FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, $error> {
                let found = Self::ALL.iter().find(|word| word.as_str() == text);
                found.copied().ok_or_else(|| $error(text.chars().take(80).collect()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

words! {
    /// What something happened to.
    EventKind, "a kind of event", ParseEventKindError, {
        /// A container.
        Container = "container",
        /// A network.
        Network = "network",
        /// An image.
        Image = "image",
    }
}

words! {
    /// What happened.
    EventAction, "what an event can be", ParseEventActionError, {
        /// It came to be.
        Create = "create",
        /// Its program was executed.
        Start = "start",
        /// Its restart policy starts it again.
        Restart = "restart",
        /// Its first process ended.
        Exit = "exit",
        /// A network's settings changed.
        Update = "update",
        /// A container was connected to a network.
        Connect = "connect",
        /// A container was disconnected from a network.
        Disconnect = "disconnect",
        /// It has another name from now on.
        Rename = "rename",
        /// Nothing of it is left.
        Remove = "remove",
        /// An image was imported.
        Import = "import",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_on_the_wire_is_the_word_that_is_shown() {
        for kind in EventKind::ALL {
            assert_eq!(serde_json::to_value(kind).expect("a word"), kind.as_str());
            assert_eq!(kind.as_str().parse(), Ok(*kind));
        }
        for action in EventAction::ALL {
            assert_eq!(serde_json::to_value(action).expect("a word"), action.as_str());
            assert_eq!(action.as_str().parse(), Ok(*action));
        }
        let error = "explode".parse::<EventAction>().expect_err("no such action");
        assert_eq!(
            error.to_string(),
            "`explode` is not what an event can be: expected create, start, restart, exit, update, connect, \
             disconnect, rename, remove, import"
        );
    }
}
