//! What DNS can be asked by whoever looks after the host: what a container is answered, and what was asked.

use std::{convert::Infallible, sync::Arc};

use api::{DnsAnswer, DnsLogEntry, DnsLogQuery, DnsOrigin, DnsQuery, DnsRecord, Reference};
use axum::body::{Body, Bytes};
use dns::{LogReader, Origin, Viewer};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use crate::{daemon::Daemon, failure::Failure};

impl Daemon {
    /// What DNS answers, exactly as it answers the viewer.
    pub(crate) async fn query_dns(&self, query: DnsQuery) -> Result<DnsAnswer, Failure> {
        let kind = query.kind.parse().map_err(|error: dns::ParseRecordTypeError| Failure::malformed(&error))?;
        let viewer = match &query.viewer {
            Some(reference) => self.viewer(reference)?,
            None => Viewer::Host,
        };
        let looked_up = self.dns.look_up(viewer, &query.name, kind).await;
        let (reply, origin) = match looked_up {
            Ok(found) => found,
            Err(error @ dns::DnsError::Name(_)) => return Err(Failure::malformed(&error)),
            Err(source) => {
                return Err(Failure::Dns {
                    doing: format!("look up `{}`", query.name.escape_debug()),
                    source: source.into(),
                });
            }
        };
        let records = |records: Vec<dns::RecordText>| {
            let record = |record: dns::RecordText| DnsRecord {
                name: record.name,
                ttl: record.ttl,
                kind: record.kind.to_string(),
                data: record.data,
            };
            records.into_iter().map(record).collect()
        };
        let (origin, upstream) = told(origin);
        Ok(DnsAnswer {
            code: reply.code.to_owned(),
            origin,
            upstream,
            authoritative: reply.authoritative,
            reason: reply.reason,
            answers: records(reply.answers),
            authorities: records(reply.authorities),
            additionals: records(reply.additionals),
        })
    }

    /// The container as DNS sees it: its first address, asking the gateway that its `resolv.conf` names first.
    fn viewer(&self, reference: &Reference) -> Result<Viewer, Failure> {
        let world = self.world();
        let record = world.container_by_reference(reference.as_str())?;
        let name = record.container.name.to_string();
        if !record.is_live() {
            return Err(Failure::NotRunning { name });
        }
        let attached = world.attached(record).into_iter();
        let asked = attached.flat_map(|record| &record.container.endpoints).find_map(|endpoint| {
            let network = world.network(&endpoint.network)?;
            let address = endpoint.addresses().next()?;
            Some(Viewer::Container { address, gateway: network.subnet_with(address)?.gateway() })
        });
        asked.ok_or(Failure::NoDns { name })
    }

    /// The query log as a body of one JSON object per line.
    pub(crate) fn dns_log(&self, query: DnsLogQuery) -> Body {
        let (lines, receiver) = mpsc::channel(64);
        // What the kernel answers nobody sees.
        let withheld = query.follow.then(|| self.kernel.names().withhold());
        let log = self.dns.query_log();
        tokio::spawn(async move {
            send(log, query, lines).await;
            drop(withheld);
        });
        Body::from_stream(ReceiverStream::new(receiver).map(Ok::<_, Infallible>))
    }
}

/// Sends what is remembered, and what comes until the client goes away.
async fn send(mut log: LogReader, query: DnsLogQuery, lines: mpsc::Sender<Bytes>) {
    while let Some(entry) = log.recent() {
        if lines.send(line(&entry)).await.is_err() {
            return;
        }
    }
    if !query.follow {
        return;
    }
    loop {
        let entry = tokio::select! {
            entry = log.next() => entry,
            () = lines.closed() => return,
        };
        let Some(entry) = entry else { return };
        if lines.send(line(&entry)).await.is_err() {
            return;
        }
    }
}

fn line(entry: &Arc<dns::LogEntry>) -> Bytes {
    let (origin, upstream) = told(entry.origin);
    let entry = DnsLogEntry {
        time: entry.time.try_into().unwrap_or(jiff::Timestamp::UNIX_EPOCH),
        client: entry.client,
        container: entry.container.clone(),
        transport: entry.transport.to_string().to_ascii_lowercase(),
        name: entry.name.clone(),
        kind: entry.kind.to_string(),
        code: entry.code.to_owned(),
        answers: entry.answers,
        origin,
        upstream,
        waited_us: entry.waited.as_micros().try_into().unwrap_or(u64::MAX),
    };
    let mut text = serde_json::to_vec(&entry).expect("texts and numbers are JSON");
    text.push(b'\n');
    text.into()
}

fn told(origin: Origin) -> (DnsOrigin, Option<std::net::SocketAddr>) {
    match origin {
        Origin::Zone => (DnsOrigin::Zone, None),
        Origin::Cache => (DnsOrigin::Cache, None),
        Origin::Upstream(upstream) => (DnsOrigin::Upstream, Some(upstream)),
        Origin::Failure => (DnsOrigin::Failure, None),
    }
}
