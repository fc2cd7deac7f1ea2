//! `fabric flows`.

use api::{Client, Flow, FlowEnd, FlowsQuery};

use crate::{arguments::FlowsArguments, failure::Failure, output::Output};

pub(super) async fn flows(client: &Client, output: Output, arguments: FlowsArguments) -> Result<(), Failure> {
    let mut flows = client.flows(FlowsQuery { follow: arguments.follow }).await?;
    while let Some(flow) = flows.next().await? {
        if arguments.include(&flow) {
            output.stream(&flow, model::Stream::Stdout, &render(&flow))?;
        }
    }
    Ok(())
}

/// One flow on one line: when, what became of it, who asked whom for what, and which rule says so.
fn render(flow: &Flow) -> String {
    let Flow { time, verdict, policy, rule, place, source, destination, .. } = flow;
    let (from, asked) = (end(source), asked(flow));
    format!("{time:.3} {verdict} {from} -> {}{asked} ({policy}, {rule}, {place})\n", who(destination))
}

/// What is asked for, after whom it is asked of.
pub(super) fn asked(Flow { destination, protocol, message, .. }: &Flow) -> String {
    match (destination.port, message) {
        (Some(port), _) => format!(":{port}/{protocol}"),
        (None, Some([kind, code])) => format!(" {protocol} {kind}/{code}"),
        (None, None) => format!(" {protocol}"),
    }
}

/// Who it is: a container with its network, otherwise an address.
pub(super) fn who(FlowEnd { address, container, network, port }: &FlowEnd) -> String {
    match container.as_ref().zip(network.as_ref()) {
        Some((container, network)) => format!("{network}/{container}"),
        None if address.is_ipv6() && port.is_some() => format!("[{address}]"),
        None => address.to_string(),
    }
}

fn end(end: &FlowEnd) -> String {
    let port = end.port.map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}{port}", who(end))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn flow() -> Flow {
        serde_json::from_value(json!({
            "sequence": 1, "time": "2026-11-22T08:00:00.123456Z", "verdict": "deny", "policy": "shop",
            "rule": "ingress rule 1", "place": "shop.yaml:7:3", "protocol": "tcp",
            "source": {"address": "10.208.0.3", "port": 40000, "container": "client", "network": "web"},
            "destination": {"address": "10.208.0.2", "port": 80, "container": "server", "network": "web"},
        }))
        .expect("the literal is a flow")
    }

    #[test]
    fn a_flow_is_one_line() {
        let mut flow = flow();
        assert_eq!(
            render(&flow),
            "2026-11-22T08:00:00.123Z deny web/client:40000 -> web/server:80/tcp (shop, ingress rule 1, shop.yaml:7:3)\n"
        );
        flow.source =
            FlowEnd { address: "fd00::9".parse().expect("literal"), port: None, container: None, network: None };
        flow.destination.port = None;
        flow.protocol = "icmpv6".to_owned();
        flow.message = Some([128, 0]);
        assert_eq!(
            render(&flow),
            "2026-11-22T08:00:00.123Z deny fd00::9 -> web/server icmpv6 128/0 (shop, ingress rule 1, shop.yaml:7:3)\n"
        );
    }
}
