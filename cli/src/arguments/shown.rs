//! What each command shows, for those who ask for a part of it.

use super::{Command, DnsCommand, ImageCommand, NetworkCommand, PolicyCommand};
use crate::template::Shown;

impl Command {
    /// Whether what it shows is a graph.
    pub(crate) fn is_graph(&self) -> bool {
        matches!(self, Self::Policy(PolicyCommand::Matrix(_)))
    }

    /// What it shows one of, where `--format` counts.
    pub(crate) fn shown(&self) -> Option<Shown> {
        let answer = match self {
            Self::Run(_)
            | Self::Create(_)
            | Self::Start(_)
            | Self::Ps(_)
            | Self::Inspect(_)
            | Self::Stop(_)
            | Self::Restart(_)
            | Self::Rename(_) => "Container",
            Self::Kill(_) | Self::Rm(_) => return Some(Shown::text()),
            Self::Wait(_) => return Some(Shown::object(&[("container", None), ("exit_code", None)])),
            Self::Port(_) => {
                let keys = ["protocol", "host_address", "host_port", "container_port", "count"];
                return Some(Shown::object(&keys.map(|key| (key, None))));
            }
            Self::Version => return Some(Shown::object(&[("client", Some("Version")), ("server", Some("Version"))])),
            Self::Logs(_) => "LogLine",
            Self::Top(_) => "Process",
            Self::Prune(_) | Self::Container(_) => "Pruned",
            Self::Events(_) => "Event",
            Self::Flows(_) => "Flow",
            Self::Status => "Status",
            Self::Doctor(_) => "Doctor",
            Self::Network(command) => match command {
                NetworkCommand::Create(_)
                | NetworkCommand::Ls(_)
                | NetworkCommand::Inspect(_)
                | NetworkCommand::Update(_) => "Network",
                NetworkCommand::Connect(_) | NetworkCommand::Disconnect(_) => "Container",
                NetworkCommand::Rm(_) => return Some(Shown::text()),
                NetworkCommand::Prune(_) => "PrunedNetworks",
            },
            Self::Image(command) => match command {
                ImageCommand::Import(_) | ImageCommand::Ls(_) => "Image",
                ImageCommand::Rm(_) => return Some(Shown::text()),
            },
            Self::Dns(command) => match command {
                DnsCommand::Query(_) => "DnsAnswer",
                DnsCommand::Log(_) => "DnsLogEntry",
            },
            Self::Policy(command) => return Some(command.shown()),
            Self::Attach(_) | Self::Exec(_) | Self::Completion { .. } | Self::Man { .. } => return None,
        };
        Some(Shown::answer(answer))
    }
}

impl PolicyCommand {
    fn shown(&self) -> Shown {
        let end = Shown::object(&["verdict", "reason", "policy", "place", "change", "audits"].map(|key| (key, None)));
        let explanation = Shown::object(&["from", "to", "asks", "verdict"].map(|key| (key, None)))
            .with("egress", end.clone())
            .with("ingress", end);
        match self {
            Self::Apply(_) | Self::Diff(_) | Self::Rollback(_) => Shown::answer("PolicyChanges"),
            Self::History(_) => Shown::answer("PolicyRevision"),
            Self::Ls(_) | Self::Inspect(_) => Shown::answer("Policy"),
            Self::Rm(_) => Shown::text(),
            Self::Audit(_) => Shown::object(&["policy", "rule", "packets"].map(|key| (key, None)))
                .with("flows", Shown::object(&["from", "to", "packets", "last"].map(|key| (key, None))).list()),
            Self::Explain(_) => explanation,
            Self::Matrix(_) => {
                Shown::object(&["from", "to", "from_alike", "to_alike", "passes"].map(|key| (key, None)))
            }
            Self::Test(_) => Shown::object(&["place", "expected", "holds"].map(|key| (key, None)))
                .with("explanations", explanation.list()),
        }
    }
}
