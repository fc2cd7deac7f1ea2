//! Firewalls of others on the host: whether they let Fabric's traffic pass.
//!
//! In nftables a packet passes if every base chain of its hook lets it; what Fabric's own table accepts, another may
//! still drop. Nothing is done about that, because it is the owner's will; but it is told.

use std::{
    fmt,
    process::{Command, Stdio},
};

use model::data_path;
use serde_json::Value;

use crate::{KernelError, element::TABLE, structure::NFT};

/// A base chain of another table that, as far as can be seen, lets nothing of a kind pass.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Obstacle {
    /// The table's family and name.
    pub table: String,
    /// The chain.
    pub chain: String,
    /// What does not pass.
    pub keeps_out: Traffic,
    /// The command that lets it pass, in the words of the firewall that the table is of.
    pub remedy: String,
}

/// A kind of traffic that a firewall of the host is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Traffic {
    /// Forwarded to containers: what is published.
    IntoNetworks,
    /// Forwarded from containers.
    OutOfNetworks,
    /// From containers to the DNS of their gateway.
    Names,
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IntoNetworks => "what is published to containers",
            Self::OutOfNetworks => "what containers send to the outside",
            Self::Names => "what containers ask DNS",
        })
    }
}

/// Looks at the whole ruleset of the calling thread's namespace.
pub(crate) fn obstacles() -> Result<Vec<Obstacle>, KernelError> {
    let failed = |source| KernelError::System { action: "list the rules of all tables".into(), source };
    let list = |program| Command::new(program).args(["-j", "list", "ruleset"]).stdin(Stdio::null()).output();
    let output = NFT.into_iter().map(list).find(Result::is_ok).ok_or(KernelError::NoNft)?.map_err(failed)?;
    let ruleset = serde_json::from_slice(&output.stdout).map_err(|error| failed(error.into()))?;
    Ok(among(&ruleset))
}

/// The obstacles in a ruleset as `nft -j` lists it.
///
/// A chain is one if its policy or its last rule drops all, and no rule of its table that accepts or leads elsewhere
/// names the interfaces of Fabric, or asks for translated connections. What other rules let pass, by address for
/// example, is not worked out.
fn among(ruleset: &Value) -> Vec<Obstacle> {
    let objects = ruleset["nftables"].as_array().map_or(&[][..], Vec::as_slice);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut found = Vec::new();
    for chain in objects.iter().map(|object| &object["chain"]) {
        let (family, table, name) = (text(&chain["family"]), text(&chain["table"]), text(&chain["name"]));
        let kinds: &[Traffic] = match chain["hook"].as_str() {
            Some("forward") => &[Traffic::IntoNetworks, Traffic::OutOfNetworks],
            Some("input") => &[Traffic::Names],
            _ => continue,
        };
        let judges = chain["type"] == "filter" && ["ip", "ip6", "inet"].contains(&family.as_str());
        if !judges || (family == "inet" && [TABLE, data_path::TABLE].contains(&table.as_str())) {
            continue;
        }
        let of_table = |rule: &&Value| rule["family"] == chain["family"] && rule["table"] == chain["table"];
        let rules: Vec<&Value> = objects.iter().map(|object| &object["rule"]).filter(of_table).collect();
        let last = rules.iter().rfind(|rule| rule["chain"] == chain["name"]);
        if chain["policy"] != "drop" && !last.is_some_and(|rule| drops_all(rule)) {
            continue;
        }
        for kind in kinds.iter().copied() {
            if !rules.iter().any(|rule| lets_pass(rule, kind)) {
                let table = format!("{family} {table}");
                let remedy = remedy(&table, &name, &rules, kind);
                found.push(Obstacle { table, chain: name.clone(), keeps_out: kind, remedy });
            }
        }
    }
    found.sort();
    found
}

fn statements(rule: &Value) -> &[Value] {
    rule["expr"].as_array().map_or(&[], Vec::as_slice)
}

fn drops(statement: &Value) -> bool {
    let is_target = statement["xt"]["type"] == "target" && statement["xt"]["name"] == "REJECT";
    is_target || statement.get("drop").is_some() || statement.get("reject").is_some()
}

/// Whether the rule drops whatever comes to it.
fn drops_all(rule: &Value) -> bool {
    let aside = |statement: &Value| ["counter", "log", "limit"].iter().any(|key| statement.get(key).is_some());
    let statements = statements(rule);
    statements.last().is_some_and(drops) && statements.iter().all(|one| aside(one) || drops(one))
}

fn lets_pass(rule: &Value, kind: Traffic) -> bool {
    let interface = if kind == Traffic::IntoNetworks { "oifname" } else { "iifname" };
    let names_us = |statement: &Value| {
        let right = statement["match"]["right"].to_string();
        statement["match"]["left"]["meta"]["key"] == interface && right.contains("\"fb-")
    };
    let asks_for_translated = |statement: &Value| {
        statement["match"]["left"]["ct"]["key"] == "status" && statement["match"]["right"].to_string().contains("dnat")
    };
    let statements = statements(rule);
    let goes_on = ["accept", "jump", "goto"].iter().any(|key| statements.iter().any(|one| one.get(key).is_some()));
    goes_on && statements.iter().any(|one| names_us(one) || (kind == Traffic::IntoNetworks && asks_for_translated(one)))
}

/// What the owner of the table would type.
fn remedy(table: &str, chain: &str, rules: &[&Value], kind: Traffic) -> String {
    let is_ufw = rules.iter().any(|rule| rule["chain"].as_str().is_some_and(|chain| chain.starts_with("ufw-")));
    match (table, kind) {
        ("inet firewalld", _) => {
            "firewall-cmd --permanent --zone=trusted --add-interface=fb-+ && firewall-cmd --reload".to_owned()
        }
        (_, Traffic::IntoNetworks) if is_ufw => "ufw route allow out on fb-+".to_owned(),
        (_, Traffic::OutOfNetworks) if is_ufw => "ufw route allow in on fb-+".to_owned(),
        (_, Traffic::Names) if is_ufw => "ufw allow in on fb-+ to any port 53".to_owned(),
        (_, Traffic::IntoNetworks) => format!("nft insert rule {table} {chain} oifname '\"fb-*\"' accept"),
        (_, Traffic::OutOfNetworks) => format!("nft insert rule {table} {chain} iifname '\"fb-*\"' accept"),
        (_, Traffic::Names) => {
            format!(
                "nft insert rule {table} {chain} iifname '\"fb-*\"' meta l4proto '{{ tcp, udp }}' th dport 53 accept"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn chain(table: &str, name: &str, hook: &str, policy: &str) -> Value {
        json!({ "chain": { "family": "inet", "table": table, "name": name, "type": "filter", "hook": hook,
            "prio": 0, "policy": policy } })
    }

    fn rule(table: &str, chain: &str, expr: &Value) -> Value {
        json!({ "rule": { "family": "inet", "table": table, "chain": chain, "expr": expr } })
    }

    fn interface(key: &str, right: &Value) -> Value {
        json!({ "match": { "op": "==", "left": { "meta": { "key": key } }, "right": right } })
    }

    fn shown(objects: &[Value]) -> Vec<String> {
        let found = among(&json!({ "nftables": objects }));
        found.iter().map(|one| format!("{} {}: {}", one.table, one.chain, one.keeps_out)).collect()
    }

    #[test]
    fn a_chain_that_drops_all_is_an_obstacle_unless_it_names_fabrics_interfaces() {
        let (into, out, names) = (
            "inet f forward: what is published to containers",
            "inet f forward: what containers send to the outside",
            "inet f input: what containers ask DNS",
        );
        let closed = chain("f", "forward", "forward", "drop");
        let open = chain("f", "forward", "forward", "accept");
        let accept = |condition: Value| rule("f", "forward", &json!([condition, { "accept": null }]));
        let reject = rule("f", "forward", &json!([{ "counter": {} }, { "reject": {} }]));
        let of_some = rule("f", "forward", &json!([interface("iifname", &json!("eth1")), { "drop": null }]));
        let translated = json!({ "match": { "op": "in", "left": { "ct": { "key": "status" } }, "right": "dnat" } });
        let set = json!({ "set": ["eth1", "fb-*"] });
        for (objects, expected) in [
            (vec![], vec![]),
            (vec![open.clone()], vec![]),
            (vec![open.clone(), of_some], vec![]),
            (vec![closed.clone()], vec![into, out]),
            (vec![open, reject.clone()], vec![into, out]),
            (vec![closed.clone(), accept(interface("oifname", &json!("fb-*")))], vec![out]),
            (vec![closed.clone(), accept(interface("iifname", &set))], vec![into]),
            (vec![closed.clone(), accept(interface("iifname", &json!("eth0")))], vec![into, out]),
            (vec![closed.clone(), accept(translated)], vec![out]),
            (vec![chain("f", "input", "input", "drop")], vec![names]),
            (vec![chain("fabric", "forward", "forward", "drop")], vec![]),
        ] {
            assert_eq!(shown(&objects), expected, "{objects:?}");
        }
    }
}
