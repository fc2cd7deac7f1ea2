use ipnet::IpNet;

use super::*;
use crate::{Attachment, Domain};

/// `api` on web; `db` on back; `proxy` on both, with two addresses on back; two containers with alias `pool` on web.
pub(crate) fn snapshot() -> Snapshot {
    let mut snapshot = Snapshot::new(Domain::default());
    for (network, subnet) in [("web", "10.1.0.0/24"), ("back", "10.1.1.0/26"), ("dev", "172.20.0.0/16")] {
        let subnet: IpNet = subnet.parse().expect("a subnet");
        snapshot = snapshot.with_network(&network.parse().expect("a name"), &[subnet]).expect("no overlap");
    }
    for (network, container, address, aliases) in [
        ("web", "api", [10, 1, 0, 2], &["pool"][..]),
        ("web", "proxy", [10, 1, 0, 3], &["pool"]),
        ("back", "proxy", [10, 1, 1, 3], &[]),
        ("back", "proxy", [10, 1, 1, 4], &[]),
        ("back", "db", [10, 1, 1, 5], &["pool"]),
        ("dev", "shop", [172, 20, 0, 2], &[]),
    ] {
        snapshot = snapshot
            .with_attachment(Attachment {
                network: network.parse().expect("a name"),
                container: container.parse().expect("a name"),
                address: address.into(),
                aliases: aliases.iter().map(|alias| alias.parse().expect("a name")).collect(),
            })
            .expect("it fits");
    }
    snapshot
}

pub(crate) fn asker(source: &str, listener: &str) -> Asker {
    Asker { source: source.parse().expect("an address"), listener: listener.parse().expect("an address") }
}

const API: &str = "10.1.0.2";
const PROXY: &str = "10.1.0.3";
const DB: &str = "10.1.1.5";
const SHOP: &str = "172.20.0.2";

#[test]
fn the_view_follows_the_source() {
    let snapshot = snapshot();
    for (source, listener, expected) in [
        (API, "10.1.0.1", "web"),
        (API, "10.1.1.1", "web"),
        (DB, "10.1.0.1", "back"),
        (PROXY, "10.1.0.1", "back web"),
        ("10.1.1.4", "10.1.1.1", "back web"),
        ("10.1.0.1", "10.1.0.1", "web"),
        ("10.1.0.1", "10.1.1.1", "unassigned"),
        ("10.1.0.9", "10.1.0.1", "unassigned"),
        ("192.0.2.1", "10.1.0.1", "stranger"),
        ("127.0.0.1", "10.1.0.1", "stranger"),
        ("192.0.2.1", "192.0.2.1", "stranger"),
        ("2001:db8::1", "2001:db8::1", "stranger"),
    ] {
        let view = match View::of(&snapshot, asker(source, listener)) {
            View::Networks(networks) => networks.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" "),
            View::Unassigned => "unassigned".to_owned(),
            View::Stranger => "stranger".to_owned(),
        };
        assert_eq!(view, expected, "{source} asks {listener}");
    }
}

fn decided(client: &str, name: &str, kind: &str) -> String {
    let snapshot = snapshot();
    let view = View::of(&snapshot, asker(client, "10.1.0.1"));
    let labels: Vec<_> = name.split('.').filter(|label| !label.is_empty()).map(str::as_bytes).collect();
    let kind = match kind.strip_prefix("TYPE") {
        Some(number) => RecordType::from(number.parse::<u16>().expect("a number")),
        None => kind.parse().expect("a record type"),
    };
    match decide(&snapshot, &view, Question { labels: &labels, kind }) {
        Decision::Addresses(addresses) => addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        Decision::Pointer(name) => name.to_string(),
        Decision::StartOfAuthority { zone } => format!("soa {zone}"),
        Decision::Minimal => "minimal".to_owned(),
        Decision::NoData { zone } => format!("nodata {zone}"),
        Decision::NoSuchName { zone } => format!("nxdomain {zone}"),
        Decision::Refuse => "refuse".to_owned(),
        Decision::Forward => "forward".to_owned(),
    }
}

#[test]
fn names_are_answered_to_those_who_share_a_network() {
    for (client, name, kind, expected) in [
        // Every form of a name.
        (API, "api", "A", "10.1.0.2"),
        (API, "api.web", "A", "10.1.0.2"),
        (API, "api.web.fabric.internal", "A", "10.1.0.2"),
        (API, "proxy", "A", "10.1.0.3"),
        (API, "pool", "A", "10.1.0.2 10.1.0.3"),
        (API, "pool.web", "A", "10.1.0.2 10.1.0.3"),
        // A client of two networks sees both, and can choose.
        (PROXY, "pool", "A", "10.1.1.5 10.1.0.2 10.1.0.3"),
        (PROXY, "pool.back", "A", "10.1.1.5"),
        (PROXY, "proxy", "A", "10.1.1.3 10.1.1.4 10.1.0.3"),
        (PROXY, "proxy.back", "A", "10.1.1.3 10.1.1.4"),
        // Other networks do not exist.
        (API, "db", "A", "nxdomain 0"),
        (API, "db.back", "A", "forward"),
        (API, "db.back.fabric.internal", "A", "nxdomain 2"),
        (API, "back.fabric.internal", "A", "nxdomain 2"),
        (DB, "api", "A", "nxdomain 0"),
        (DB, "pool", "A", "10.1.1.5"),
        // No record of the type is not the absence of the name.
        (API, "api", "AAAA", "nodata 0"),
        (API, "api.web", "AAAA", "nodata 1"),
        (API, "api.web.fabric.internal", "AAAA", "nodata 2"),
        (API, "api", "MX", "nodata 0"),
        (API, "api", "HTTPS", "nodata 0"),
        (API, "api", "TYPE65280", "nodata 0"),
        (API, "api", "SOA", "nodata 0"),
        (API, "api", "ANY", "minimal"),
        // Unknown names of ours stay here.
        (API, "nobody", "A", "nxdomain 0"),
        (API, "nobody", "AAAA", "nxdomain 0"),
        (API, "nobody", "ANY", "nxdomain 0"),
        (API, "nobody.web", "A", "nxdomain 1"),
        (API, "nobody.web.fabric.internal", "A", "nxdomain 2"),
        (API, "www.api.web.fabric.internal", "A", "nxdomain 2"),
        (API, "api.fabric.internal", "A", "nxdomain 2"),
        // The inner nodes of the tree.
        (API, "web", "A", "nodata 0"),
        (API, "web.fabric.internal", "A", "nodata 2"),
        (API, "web.fabric.internal", "ANY", "minimal"),
        (API, "fabric.internal", "A", "nodata 2"),
        (API, "fabric.internal", "NS", "nodata 2"),
        (API, "fabric.internal", "SOA", "soa 2"),
        // A visible network hides a public domain of its name, one level deep, and only from its clients.
        (SHOP, "shop.dev", "A", "172.20.0.2"),
        (SHOP, "web.dev", "A", "nxdomain 1"),
        (SHOP, "www.web.dev", "A", "forward"),
        (API, "web.dev", "A", "forward"),
        // Everything else is an upstream's.
        (API, ".", "NS", "forward"),
        (API, "example.com", "A", "forward"),
        (API, "internal", "NS", "forward"),
        (API, "com", "DS", "forward"),
        (API, "com", "DNSKEY", "forward"),
        (API, "com", "A", "nxdomain 0"),
        (API, "example.internal", "A", "forward"),
        (API, "fabric.internal.example.com", "A", "forward"),
        (API, "notfabric.internal", "A", "forward"),
        // Nobody transfers zones or asks for what is no data.
        (API, "web", "AXFR", "refuse"),
        (API, "example.com", "AXFR", "refuse"),
        (API, "fabric.internal", "TYPE251", "refuse"),
        (API, "api", "TYPE41", "refuse"),
        (API, "api", "TYPE254", "refuse"),
        // An address of ours without a container.
        ("10.1.0.77", "api", "A", "refuse"),
        ("10.1.0.77", "example.com", "A", "refuse"),
        // The host through the gateway.
        ("10.1.0.1", "api", "A", "10.1.0.2"),
        ("10.1.0.1", "db", "A", "nxdomain 0"),
    ] {
        assert_eq!(decided(client, name, kind), expected, "{client} asks for {name} {kind}");
    }
}

#[test]
fn addresses_are_named_to_those_who_share_their_network() {
    for (client, name, kind, expected) in [
        (API, "2.0.1.10.in-addr.arpa", "PTR", "api.web.fabric.internal."),
        (API, "3.0.1.10.in-addr.arpa", "PTR", "proxy.web.fabric.internal."),
        (API, "2.0.1.10.in-addr.arpa", "A", "nodata 5"),
        (API, "2.0.1.10.in-addr.arpa", "ANY", "minimal"),
        (API, "1.0.1.10.in-addr.arpa", "PTR", "nxdomain 5"),
        (API, "9.0.1.10.in-addr.arpa", "PTR", "nxdomain 5"),
        (API, "5.1.1.10.in-addr.arpa", "PTR", "nxdomain 5"),
        (PROXY, "5.1.1.10.in-addr.arpa", "PTR", "db.back.fabric.internal."),
        (API, "2.0.20.172.in-addr.arpa", "PTR", "nxdomain 4"),
        (API, "200.1.1.10.in-addr.arpa", "PTR", "forward"),
        (API, "1.2.0.192.in-addr.arpa", "PTR", "forward"),
        (API, "02.0.1.10.in-addr.arpa", "PTR", "forward"),
        (API, "+2.0.1.10.in-addr.arpa", "PTR", "forward"),
        (API, "256.0.1.10.in-addr.arpa", "PTR", "forward"),
        (API, "x.2.0.1.10.in-addr.arpa", "PTR", "forward"),
        (API, "0.1.10.in-addr.arpa", "SOA", "forward"),
        (API, "1.0.0.127.in-addr.arpa", "PTR", "forward"),
    ] {
        assert_eq!(decided(client, name, kind), expected, "{client} asks for {name} {kind}");
    }
}

#[test]
fn octets_that_are_no_text_are_no_name() {
    let snapshot = snapshot();
    let view = View::of(&snapshot, asker(API, "10.1.0.1"));
    let labels: [&[u8]; 1] = [b"\xff\x00"];
    let question = Question { labels: &labels, kind: RecordType::A };
    assert_eq!(decide(&snapshot, &view, question), Decision::NoSuchName { zone: 0 });
}
