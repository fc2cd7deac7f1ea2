//! The schemas of what `model` reads and writes, for the OpenAPI document: `model` itself knows nothing of documents.

use serde_json::json;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

/// Declares a schema under the name of the type that it describes. Nobody makes a value of it.
macro_rules! schemas {
    ($($(#[$doc:meta])* $name:ident = $schema:tt;)+) => {
        $($(#[$doc])*
        pub(crate) enum $name {}

        impl ToSchema for $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                serde_json::from_value(json!($schema)).expect("a literal schema")
            }
        })+
    };
}

schemas! {
    /// `model`'s identifiers: 16 hexadecimal digits of networks and endpoints, 32 of containers.
    Identifier = {"type": "string", "pattern": "^([0-9a-f]{16}){1,2}$", "description": "Drawn once, never reused."};
    /// A container's or a network's name, or an alias.
    Name = {"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", "description": "A DNS label."};
    /// `model::Digest`.
    Sha256 = {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$", "description": "A digest of content."};
    /// `std::net::Ipv4Addr`.
    Ipv4 = {"type": "string", "format": "ipv4", "description": "An IPv4 address."};
    /// `std::net::Ipv6Addr`.
    Ipv6 = {"type": "string", "format": "ipv6", "description": "An IPv6 address."};
    /// `model::MacAddress`.
    Mac = {
        "type": "string",
        "pattern": "^([0-9a-f]{2}:){5}[0-9a-f]{2}$",
        "description": "A MAC address of one interface."
    };
    /// `model::ContainerIfName`.
    InterfaceName = {
        "type": "string",
        "pattern": "^[!-~]{1,15}$",
        "description": "A network interface's name, without `/`, `:`, `%` and `,`; none that the kernel keeps for itself, as `lo`."
    };
    /// `model::Driver`.
    Driver = {"type": "string", "enum": ["bridge", "ipvlan", "macvlan"], "description": "What makes a network."};
    /// `model::GatewayMode`.
    GatewayMode = {
        "type": "string",
        "enum": ["nat", "routed", "isolated"],
        "description": "How a network's gateway joins it to the rest of the world."
    };
    /// `model::MtuSource`.
    MtuSource = {
        "type": "string",
        "enum": ["fixed", "uplink"],
        "description": "Whether a person fixed an MTU, or it follows the uplink's, or the parent's."
    };
    /// `model::Parent`.
    Parent = {
        "type": "object",
        "properties": {
            "interface": {"type": "string", "description": "Its name on the host."},
            "mode": {
                "type": "string",
                "enum": ["bridge", "private", "vepa", "passthru", "l2", "l3", "l3s"],
                "description": "Of macvlan, what they are to each other; of ipvlan, what the host's kernel does with what they send."
            },
            "flag": {
                "type": "string",
                "enum": ["bridge", "private", "vepa"],
                "description": "Of ipvlan, what they are to each other."
            }
        },
        "required": ["interface", "mode"],
        "description": "The interface of the host that a network's endpoints sit on, and what they are to each other."
    };
    /// `model::Family`.
    Family = {"type": "string", "enum": ["ipv4", "ipv6"], "description": "A family of addresses."};
    /// `model::Stream`.
    Stream = {"type": "string", "enum": ["stdout", "stderr"], "description": "Where a line was written to."};
    /// `model::Subnet`.
    Subnet = {
        "type": "object",
        "description": "A range of addresses.",
        "required": ["range", "gateway"],
        "additionalProperties": false,
        "properties": {
            "range": {"type": "string", "description": "In CIDR notation."},
            "gateway": {"type": "string", "description": "The gateway's address."},
            "ip_range": {"type": "string", "description": "Where automatic addresses come from, if not from all of it."}
        }
    };
    /// `model::TerminalSize`.
    TerminalSize = {
        "type": "object",
        "description": "How many characters a terminal shows.",
        "required": ["rows", "columns"],
        "properties": {"rows": {"type": "integer", "minimum": 0}, "columns": {"type": "integer", "minimum": 0}}
    };
    /// `model::ResolverSettings`.
    ResolverSettings = {
        "type": "object",
        "description": "What a container's own resolver is told besides what its network and its host have.",
        "additionalProperties": false,
        "properties": {
            "servers": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Whom names that are not containers' are asked of: ADDRESS or ADDRESS:PORT."
            },
            "search": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Search domains in place of the host's; the root alone means none."
            },
            "options": {"type": "array", "items": {"type": "string"}, "description": "Options of resolv.conf(5)."},
            "hosts": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Lines of /etc/hosts, each NAME:ADDRESS or NAME:host-gateway."
            }
        }
    };
    /// `model::LogLimits`.
    LogLimits = {
        "type": "object",
        "description": "How much of a container's log is kept.",
        "additionalProperties": false,
        "properties": {
            "max_size": {"type": "string", "description": "How large each of its files becomes, such as 10m, the default."},
            "max_files": {"type": "integer", "minimum": 1, "maximum": 100, "description": "How many of them; 3 by default."}
        }
    };
    /// `model::Confinement`.
    Confinement = {
        "type": "object",
        "description": "What a container is given, and kept from, beside what every container is.",
        "additionalProperties": false,
        "properties": {
            "read_only": {"type": "boolean", "description": "Whether its root file system cannot be written to."},
            "binds": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Files and directories of the host that appear inside, each SOURCE:DESTINATION[:ro]."
            },
            "tmpfs": {"type": "array", "items": {"type": "string"}, "description": "File systems in memory."},
            "add_capabilities": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Capabilities besides the default ones."
            },
            "drop_capabilities": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Default capabilities it does not have, or ALL."
            },
            "memory": {"type": ["string", "null"], "description": "The most memory, such as 512m; null means no limit."},
            "processors": {"type": ["string", "null"], "description": "Processors, such as 1.5; null means all."},
            "processes": {"type": "string", "description": "How many processes it may have: a number or unlimited."},
            "ulimits": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Limits of each process, each NAME=SOFT[:HARD]."
            },
            "sysctls": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Kernel parameters of its namespaces, each NAME=VALUE."
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde::Serialize;
    use serde_json::Value;

    use super::*;

    /// The keys that a value is written with, and those that its schema knows.
    fn keys<T: PartialSchema>(value: impl Serialize) -> [BTreeSet<String>; 2] {
        let schema = serde_json::to_value(T::schema()).expect("schemas are JSON");
        let of = |value: &Value| value.as_object().expect("an object").keys().cloned().collect();
        [of(&serde_json::to_value(value).expect("models are JSON")), of(&schema["properties"])]
    }

    #[test]
    fn schemas_know_the_fields_that_the_model_writes() {
        let [written, known] = keys::<Confinement>(model::Confinement::default());
        assert_eq!(written, known);
        let [written, known] = keys::<ResolverSettings>(model::ResolverSettings::default());
        assert_eq!(written, known);
        let [written, known] = keys::<LogLimits>(model::LogLimits::default());
        assert_eq!(written, known);
        let [written, known] = keys::<TerminalSize>(model::TerminalSize { rows: 1, columns: 1 });
        assert_eq!(written, known);
        let range = "10.0.0.0/24".parse().expect("literal");
        let subnet = model::Subnet::new(range, None).and_then(|subnet| subnet.with_pool(Some(range)));
        let [written, known] = keys::<Subnet>(subnet.expect("literal"));
        assert_eq!(written, known);
    }
}
