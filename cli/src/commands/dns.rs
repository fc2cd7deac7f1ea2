//! `fabric dns`.

use std::process::ExitCode;

use api::{Client, DnsAnswer, DnsLogEntry, DnsLogQuery, DnsQuery, DnsRecord};

use crate::{
    arguments::{DnsCommand, DnsLogArguments, DnsQueryArguments},
    failure::Failure,
    output::Output,
    table::table,
};

pub(super) async fn dns(client: &Client, output: Output, command: DnsCommand) -> Result<ExitCode, Failure> {
    match command {
        DnsCommand::Query(arguments) => query(client, output, arguments).await,
        DnsCommand::Log(arguments) => log(client, output, arguments).await.map(|()| ExitCode::SUCCESS),
    }
}

/// Shows the answer, which is a failure unless its code says that the name is there.
async fn query(client: &Client, output: Output, arguments: DnsQueryArguments) -> Result<ExitCode, Failure> {
    let query = DnsQuery { name: arguments.name, kind: arguments.kind, viewer: arguments.viewer };
    let answer = client.query_dns(&query).await?;
    output.print(&answer, || render(&answer))?;
    if answer.code == "REFUSED" && query.viewer.is_none() {
        Failure::warn("other names than those of containers are looked up for containers only: --as CONTAINER");
    }
    Ok(if answer.code == "NOERROR" { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn log(client: &Client, output: Output, arguments: DnsLogArguments) -> Result<(), Failure> {
    let mut entries = client.dns_log(DnsLogQuery { follow: arguments.follow }).await?;
    while let Some(entry) = entries.next().await? {
        output.stream(&entry, model::Stream::Stdout, &render_entry(&entry))?;
    }
    Ok(())
}

/// The code and where it came from, then the records with the section they stand in.
fn render(answer: &DnsAnswer) -> String {
    let from = answer.upstream.map_or_else(|| answer.origin.as_str().to_owned(), |upstream| upstream.to_string());
    let mut text = format!("{} from {from}", answer.code);
    if let Some(reason) = &answer.reason {
        text.push_str(&format!(": {}", reason.escape_debug()));
    }
    text.push('\n');
    let sections =
        [("answer", &answer.answers), ("authority", &answer.authorities), ("additional", &answer.additionals)];
    let rows = sections.into_iter().flat_map(|(section, records)| {
        records.iter().map(move |DnsRecord { name, ttl, kind, data }| {
            [section.to_owned(), name.clone(), ttl.to_string(), kind.clone(), data.clone()]
        })
    });
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&table(["SECTION", "NAME", "TTL", "TYPE", "DATA"], rows));
    }
    text
}

/// One query on one line: when, who, what, and what was answered from where.
fn render_entry(entry: &DnsLogEntry) -> String {
    let who = entry.container.as_ref().map_or("host", |container| container.as_str());
    let from = entry.upstream.map_or_else(|| entry.origin.as_str().to_owned(), |upstream| upstream.to_string());
    let mut text = format!(
        "{:.3} {who} ({}, {}) {} {}: {} ({}) from {from}",
        entry.time, entry.client, entry.transport, entry.name, entry.kind, entry.code, entry.answers
    );
    if entry.waited_us > 0 {
        text.push_str(&format!(" in {}.{} ms", entry.waited_us / 1000, entry.waited_us % 1000 / 100));
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_is_told_with_where_it_came_from() {
        let answer: DnsAnswer = serde_json::from_value(json!({
            "code": "NOERROR", "origin": "zone", "upstream": null, "authoritative": true, "reason": null,
            "answers": [
                {"name": "_http._tcp.api", "ttl": 5, "type": "SRV", "data": "0 1 80 api.web.fabric.internal"},
            ],
            "authorities": [],
            "additionals": [
                {"name": "api.web.fabric.internal", "ttl": 5, "type": "A", "data": "10.208.0.2"},
            ],
        }))
        .expect("the literal is an answer");
        insta::assert_snapshot!(render(&answer), @r"
        NOERROR from zone

        SECTION      NAME                      TTL   TYPE   DATA
        answer       _http._tcp.api            5     SRV    0 1 80 api.web.fabric.internal
        additional   api.web.fabric.internal   5     A      10.208.0.2
        ");
        let nobody: DnsAnswer = serde_json::from_value(json!({
            "code": "SERVFAIL", "origin": "failure", "upstream": null, "authoritative": false,
            "reason": "no upstream DNS server answered\u{1b}[31m", "answers": [], "authorities": [], "additionals": [],
        }))
        .expect("the literal is an answer");
        assert_eq!(render(&nobody), "SERVFAIL from failure: no upstream DNS server answered\\u{1b}[31m\n");
    }

    #[test]
    fn a_query_is_one_line() {
        let mut entry = json!({
            "time": "2026-11-20T08:00:00.123456Z", "client": "10.208.0.3", "container": "shop", "transport": "udp",
            "name": "www.example.com", "type": "A", "code": "NOERROR", "answers": 2, "origin": "upstream",
            "upstream": "192.0.2.53:53", "waited_us": 12_345,
        });
        let rendered = |entry: &serde_json::Value| {
            render_entry(&serde_json::from_value(entry.clone()).expect("the literal is an entry"))
        };
        assert_eq!(
            rendered(&entry),
            "2026-11-20T08:00:00.123Z shop (10.208.0.3, udp) www.example.com A: NOERROR (2) from 192.0.2.53:53 in 12.3 ms\n"
        );
        entry["container"] = json!(null);
        entry["origin"] = json!("zone");
        entry["upstream"] = json!(null);
        entry["waited_us"] = json!(0);
        assert_eq!(
            rendered(&entry),
            "2026-11-20T08:00:00.123Z host (10.208.0.3, udp) www.example.com A: NOERROR (2) from zone\n"
        );
    }
}
