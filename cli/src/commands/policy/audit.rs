//! `fabric policy audit`: what would be dropped if the rules that audit denied.

use std::collections::BTreeMap;

use api::{Client, Flow, FlowsQuery, Policy, RuleCounter};
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    arguments::AuditArguments,
    commands::flows::{asked, who},
    failure::Failure,
    output::Output,
    table::{NOTHING, table},
};

/// What a rule that audits has seen.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Audited {
    policy: String,
    rule: String,
    /// How many packets that opened connections, or tried to, since the rule is in force.
    packets: u64,
    /// Who they were of, as far as the rule logs them and `netd` remembers them.
    flows: Vec<Pair>,
}

/// Who asked whom for one thing.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Pair {
    from: String,
    to: String,
    packets: u64,
    last: Timestamp,
}

pub(super) async fn audit(client: &Client, output: Output, arguments: AuditArguments) -> Result<(), Failure> {
    let mut policies = Vec::new();
    for name in &arguments.policies {
        policies.push(client.policy(name).await?);
    }
    if arguments.policies.is_empty() {
        policies = client.policies().await?;
    }
    let mut flows = Vec::new();
    let mut told = client.flows(FlowsQuery::default()).await?;
    while let Some(flow) = told.next().await? {
        flows.push(flow);
    }
    let audited = audited(&policies, &flows);
    output.print(&audited, || render(&audited))
}

fn audited(policies: &[Policy], flows: &[Flow]) -> Vec<Audited> {
    let mut by_rule: BTreeMap<(&str, &str), Vec<&Flow>> = BTreeMap::new();
    for flow in flows.iter().filter(|flow| flow.verdict == "audit") {
        by_rule.entry((&flow.policy, &flow.rule)).or_default().push(flow);
    }
    let of_rule = |policy: &Policy, RuleCounter { rule, packets, .. }: &RuleCounter| {
        let mut pairs: BTreeMap<(String, String), (u64, Timestamp)> = BTreeMap::new();
        for flow in by_rule.get(&(policy.name.as_str(), rule.as_str())).into_iter().flatten() {
            let pair = (who(&flow.source), format!("{}{}", who(&flow.destination), asked(flow)));
            let (packets, last) = pairs.entry(pair).or_insert((0, flow.time));
            *packets += 1;
            *last = flow.time.max(*last);
        }
        let flows = pairs.into_iter().map(|((from, to), (packets, last))| Pair { from, to, packets, last }).collect();
        Audited { policy: policy.name.clone(), rule: rule.clone(), packets: *packets, flows }
    };
    let counters = policies.iter().flat_map(|policy| policy.counters.iter().map(move |counter| (policy, counter)));
    counters
        .filter(|(_, counter)| counter.action == "audit")
        .map(|(policy, counter)| of_rule(policy, counter))
        .collect()
}

/// A line for each rule, and below it one for each pair that is known.
fn render(audited: &[Audited]) -> String {
    let nothing = || NOTHING.to_owned();
    let of_rule = |Audited { policy, rule, packets, flows }: &Audited| {
        let all = [policy.clone(), rule.clone(), "all".to_owned(), nothing(), packets.to_string(), nothing()];
        let pair = |Pair { from, to, packets, last }: &Pair| {
            let last = format!("{last:.3}");
            [policy.clone(), rule.clone(), from.clone(), to.clone(), packets.to_string(), last]
        };
        [all].into_iter().chain(flows.iter().map(pair)).collect::<Vec<_>>()
    };
    table(["POLICY", "RULE", "FROM", "TO", "PACKETS", "LAST"], audited.iter().flat_map(of_rule))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_would_have_been_denied_stands_below_how_many() {
        let policy: Policy = serde_json::from_value(json!({
            "name": "shop", "kind": "Policy", "networks": ["web"], "pending": [], "endpoints": 1, "place": "shop.yaml:1:1",
            "warnings": [],
            "counters": [
                {"rule": "ingress rule 1", "action": "audit", "packets": 9, "octets": 540},
                {"rule": "ingress rule 2", "action": "allow", "packets": 4, "octets": 240},
            ],
        }))
        .expect("the literal is a policy");
        let flow = |verdict: &str, rule: u8, port: u16, second: u8| -> Flow {
            serde_json::from_value(json!({
                "sequence": 1, "time": format!("2026-11-22T08:00:0{second}Z"), "verdict": verdict, "policy": "shop",
                "rule": format!("ingress rule {rule}"), "place": "shop.yaml:7:3", "protocol": "tcp",
                "source": {"address": "203.0.113.7", "port": 40000},
                "destination": {"address": "10.208.0.2", "port": port, "container": "server", "network": "web"},
            }))
            .expect("the literal is a flow")
        };
        let flows =
            [flow("audit", 1, 80, 1), flow("audit", 1, 80, 3), flow("audit", 1, 81, 2), flow("allow", 2, 80, 4)];
        insta::assert_snapshot!(render(&audited(&[policy], &flows)), @r"
        POLICY   RULE             FROM          TO                  PACKETS   LAST
        shop     ingress rule 1   all           -                   9         -
        shop     ingress rule 1   203.0.113.7   web/server:80/tcp   2         2026-11-22T08:00:03.000Z
        shop     ingress rule 1   203.0.113.7   web/server:81/tcp   1         2026-11-22T08:00:02.000Z
        ");
    }
}
