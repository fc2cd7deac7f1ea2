use std::{net::SocketAddr, num::NonZeroU16, sync::Arc};

use model::Protocol;

use super::*;
use crate::{Domain, Forwarding, ZoneConfig};

pub(crate) fn zone(network: &str, subnets: &[&str]) -> ZoneConfig {
    ZoneConfig {
        network: network.parse().expect("a name"),
        subnets: subnets.iter().map(|subnet| subnet.parse().expect("a subnet")).collect(),
        forwarding: Forwarding::Host,
    }
}

/// An attachment with no alias and no service; the short identifier is made from the first address.
pub(crate) fn attachment(network: &str, container: &str, addresses: &[&str]) -> Attachment {
    let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().expect("an address")).collect();
    let short_id = match addresses[0] {
        IpAddr::V4(address) => format!("{:012x}", u32::from(address)),
        IpAddr::V6(address) => format!("{:012x}", u128::from(address) & 0xffff_ffff_ffff),
    };
    Attachment {
        network: network.parse().expect("a name"),
        container: container.parse().expect("a name"),
        short_id,
        addresses,
        aliases: Vec::new(),
        services: Vec::new(),
        upstreams: Arc::default(),
    }
}

pub(crate) fn service(port: u16, protocol: Protocol) -> Service {
    Service { port: NonZeroU16::new(port).expect("a port"), protocol }
}

/// `api` on web, with an IPv6 address; `db` on back; `proxy` on both, with two endpoints on back; two containers with
/// alias `pool` on web, that serve HTTP.
pub(crate) fn snapshot() -> Snapshot {
    let mut snapshot = Snapshot::new(Domain::default(), 5);
    for config in [
        zone("web", &["10.1.0.0/24", "fd00:1::/64"]),
        zone("back", &["10.1.1.0/26"]),
        zone("dev", &["172.20.0.0/16"]),
        zone("six", &["fd00:6::/64"]),
    ] {
        snapshot = snapshot.with_network(config).expect("no overlap");
    }
    let http = [service(80, Protocol::Tcp)];
    for (network, container, addresses, aliases, services) in [
        ("web", "api", &["10.1.0.2", "fd00:1::2"][..], &["pool"][..], &http[..]),
        ("web", "proxy", &["10.1.0.3"], &["pool"], &[service(80, Protocol::Tcp), service(53, Protocol::Udp)]),
        ("back", "proxy", &["10.1.1.3"], &[], &[]),
        ("back", "proxy", &["10.1.1.4"], &[], &[]),
        ("back", "db", &["10.1.1.5"], &["pool"], &[service(5432, Protocol::Tcp)]),
        ("dev", "shop", &["172.20.0.2"], &[], &[]),
        ("six", "only6", &["fd00:6::2"], &[], &[]),
    ] {
        snapshot = snapshot
            .with_attachment(Attachment {
                aliases: aliases.iter().map(|alias| alias.parse().expect("a name")).collect(),
                services: services.to_vec(),
                ..attachment(network, container, addresses)
            })
            .expect("it fits");
    }
    snapshot
}

pub(crate) fn asker(source: &str, gateway: &str) -> Asker {
    let listener = Listening::Gateway(gateway.parse().expect("an address"));
    Asker { source: source.parse().expect("an address"), listener }
}

pub(crate) fn host() -> Asker {
    Asker { source: [127, 0, 0, 1].into(), listener: Listening::Host }
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
        ("fd00:1::2", "fd00:1::1", "web"),
        ("fd00:1::1", "fd00:1::1", "web"),
        ("fd00:1::9", "fd00:1::1", "unassigned"),
        ("fd00:6::2", "fd00:6::1", "six"),
    ] {
        assert_eq!(seen(&snapshot, asker(source, listener)), expected, "{source} asks {listener}");
    }
    assert_eq!(seen(&snapshot, host()), "back dev six web");
    let forged = Asker { source: [10, 1, 0, 2].into(), ..host() };
    assert_eq!(seen(&snapshot, forged), "stranger", "only the host asks where the host is answered");
}

fn seen(snapshot: &Snapshot, asker: Asker) -> String {
    match View::of(snapshot, asker) {
        View::Unassigned => "unassigned".to_owned(),
        View::Stranger => "stranger".to_owned(),
        view => {
            let networks = view.networks().expect("it sees something");
            networks.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" ")
        }
    }
}

#[test]
fn other_names_go_to_who_was_configured_for_the_network_that_was_asked() {
    let upstreams = |text: &str| -> Arc<[SocketAddr]> { Arc::new([text.parse().expect("an address")]) };
    let forwarding = |snapshot: &Snapshot, network: &str, forwarding: Forwarding| {
        let network = network.parse().expect("a name");
        let config = snapshot.zone(&network).expect("it is there").clone();
        snapshot.with_network(ZoneConfig { forwarding, ..config }).expect("no overlap")
    };
    let routed = |snapshot: &Snapshot, asker: Asker| match View::of(snapshot, asker).route(snapshot, asker) {
        Route::Host => "host".to_owned(),
        Route::To(upstreams) => upstreams[0].to_string(),
        Route::Never => "never".to_owned(),
    };
    let plain = snapshot();
    let internal = forwarding(&plain, "back", Forwarding::Never);
    let own = forwarding(&plain, "back", Forwarding::To(upstreams("192.0.2.53:53")));
    let picky = Attachment { upstreams: upstreams("192.0.2.99:53"), ..attachment("back", "picky", &["10.1.1.9"]) };
    for (what, snapshot, asker, expected) in [
        ("plain", &plain, asker(DB, "10.1.1.1"), "host"),
        ("internal only", &internal, asker(DB, "10.1.1.1"), "never"),
        ("internal only, by another gateway", &internal, asker(DB, "10.1.0.1"), "never"),
        ("on another network too", &internal, asker(PROXY, "10.1.1.1"), "host"),
        ("the host on an internal gateway", &internal, asker("10.1.1.1", "10.1.1.1"), "never"),
        ("the network's own", &own, asker(DB, "10.1.1.1"), "192.0.2.53:53"),
        ("of the network that was asked", &own, asker(PROXY, "10.1.1.1"), "192.0.2.53:53"),
        ("of the other network", &own, asker(PROXY, "10.1.0.1"), "host"),
        (
            "the container's own",
            &own.with_attachment(picky.clone()).expect("it fits"),
            asker("10.1.1.9", "10.1.1.1"),
            "192.0.2.99:53",
        ),
        (
            "not out of an internal network",
            &internal.with_attachment(picky).expect("it fits"),
            asker("10.1.1.9", "10.1.1.1"),
            "never",
        ),
        ("nobody's", &plain, asker("10.1.0.77", "10.1.0.1"), "never"),
    ] {
        assert_eq!(routed(snapshot, asker), expected, "{what}");
    }
}

fn decided(client: &str, name: &str, kind: &str) -> String {
    decided_for(if client == "host" { host() } else { asker(client, "10.1.0.1") }, name, kind)
}

fn decided_for(asker: Asker, name: &str, kind: &str) -> String {
    let snapshot = snapshot();
    let view = View::of(&snapshot, asker);
    let labels: Vec<_> = name.split('.').filter(|label| !label.is_empty()).map(str::as_bytes).collect();
    let kind = kind.parse().expect("a record type");
    match decide(&snapshot, &view, Question { labels: &labels, kind }) {
        Decision::Addresses(addresses) => addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        Decision::Pointer(found) => format!("{}.{}", found.container, found.network),
        Decision::Services(found) => {
            let shown =
                found.iter().map(|(found, service)| format!("{}.{}:{}", found.container, found.network, service.port));
            shown.collect::<Vec<_>>().join(" ")
        }
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
        (API, "proxy", "AAAA", "nodata 0"),
        (API, "proxy.web", "AAAA", "nodata 1"),
        (API, "proxy.web.fabric.internal", "AAAA", "nodata 2"),
        (API, "api", "AAAA", "fd00:1::2"),
        (API, "api.web", "AAAA", "fd00:1::2"),
        (API, "pool", "AAAA", "fd00:1::2"),
        ("fd00:6::2", "only6", "AAAA", "fd00:6::2"),
        ("fd00:6::2", "only6", "A", "nodata 0"),
        // The short identifier is a name like the others.
        (API, "00000a010002", "A", "10.1.0.2"),
        (API, "00000a010002.web.fabric.internal", "A", "10.1.0.2"),
        (API, "00000a010105", "A", "nxdomain 0"),
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
        // The host by its own address.
        ("host", "api", "A", "10.1.0.2"),
        ("host", "db.back", "A", "10.1.1.5"),
        ("host", "pool", "A", "10.1.1.5 10.1.0.2 10.1.0.3"),
        ("host", "only6.six.fabric.internal", "AAAA", "fd00:6::2"),
        ("host", "5.1.1.10.in-addr.arpa", "PTR", "db.back"),
        ("host", "nobody", "A", "nxdomain 0"),
        ("host", "example.com", "A", "refuse"),
        ("host", "1.2.0.192.in-addr.arpa", "PTR", "refuse"),
    ] {
        assert_eq!(decided(client, name, kind), expected, "{client} asks for {name} {kind}");
    }
}

/// The reverse name of `fd00:SUBNET::HOST`.
fn v6(host: &str, subnet: &str) -> String {
    format!("{host}{}.{subnet}.0.0.0.0.0.d.f.ip6.arpa", ".0".repeat(23))
}

#[test]
fn services_are_found_by_port_and_by_registered_name() {
    for (client, name, kind, expected) in [
        (API, "_80._tcp.api", "SRV", "api.web:80"),
        (API, "_http._tcp.api", "SRV", "api.web:80"),
        (API, "_http._tcp.api.web", "SRV", "api.web:80"),
        (API, "_http._tcp.api.web.fabric.internal", "SRV", "api.web:80"),
        (API, "_http._tcp.00000a010002", "SRV", "api.web:80"),
        (API, "_http._tcp.pool", "SRV", "api.web:80 proxy.web:80"),
        (API, "_53._udp.proxy", "SRV", "proxy.web:53"),
        (API, "_domain._udp.pool", "SRV", "proxy.web:53"),
        (DB, "_postgresql._tcp.pool", "SRV", "db.back:5432"),
        ("host", "_postgresql._tcp.db.back.fabric.internal", "SRV", "db.back:5432"),
        // Only its records of that type.
        (API, "_http._tcp.api", "A", "nodata 0"),
        (API, "_http._tcp.api", "ANY", "minimal"),
        (API, "_tcp.api", "SRV", "nodata 0"),
        (API, "_tcp.api.web.fabric.internal", "SRV", "nodata 2"),
        (API, "api", "SRV", "nodata 0"),
        // What is not there.
        (API, "_81._tcp.api", "SRV", "nxdomain 0"),
        (API, "_http._udp.api", "SRV", "nxdomain 0"),
        (API, "_udp.api", "SRV", "nxdomain 0"),
        (API, "_http._tcp.nobody", "SRV", "nxdomain 0"),
        (API, "_5432._tcp.db", "SRV", "nxdomain 0"),
        (API, "_http._tcp.web", "SRV", "nxdomain 0"),
        (API, "_http._tcp.fabric.internal", "SRV", "nxdomain 2"),
        (API, "_x._80._tcp.api.web.fabric.internal", "SRV", "nxdomain 2"),
        // Others'.
        (API, "_ldap._tcp.corp.example", "SRV", "forward"),
        (API, "_dmarc.example.com", "TXT", "forward"),
        (API, "_5432._tcp.db.back", "SRV", "forward"),
    ] {
        assert_eq!(decided(client, name, kind), expected, "{client} asks for {name} {kind}");
    }
}

#[test]
fn addresses_are_named_to_those_who_share_their_network() {
    for (client, name, kind, expected) in [
        (API, "2.0.1.10.in-addr.arpa", "PTR", "api.web"),
        (API, "3.0.1.10.in-addr.arpa", "PTR", "proxy.web"),
        (API, "2.0.1.10.in-addr.arpa", "A", "nodata 5"),
        (API, "2.0.1.10.in-addr.arpa", "ANY", "minimal"),
        (API, "1.0.1.10.in-addr.arpa", "PTR", "nxdomain 5"),
        (API, "9.0.1.10.in-addr.arpa", "PTR", "nxdomain 5"),
        (API, "5.1.1.10.in-addr.arpa", "PTR", "nxdomain 5"),
        (PROXY, "5.1.1.10.in-addr.arpa", "PTR", "db.back"),
        (API, "2.0.20.172.in-addr.arpa", "PTR", "nxdomain 4"),
        (API, "200.1.1.10.in-addr.arpa", "PTR", "forward"),
        (API, "1.2.0.192.in-addr.arpa", "PTR", "forward"),
        (API, "02.0.1.10.in-addr.arpa", "PTR", "forward"),
        (API, "+2.0.1.10.in-addr.arpa", "PTR", "forward"),
        (API, "256.0.1.10.in-addr.arpa", "PTR", "forward"),
        (API, "x.2.0.1.10.in-addr.arpa", "PTR", "forward"),
        (API, "0.1.10.in-addr.arpa", "SOA", "forward"),
        (API, "1.0.0.127.in-addr.arpa", "PTR", "forward"),
        (API, &v6("2", "1"), "PTR", "api.web"),
        (API, &v6("9", "1"), "PTR", "nxdomain 18"),
        (API, &v6("2", "6"), "PTR", "nxdomain 18"),
        ("fd00:6::2", &v6("2", "6"), "PTR", "only6.six"),
        (API, &v6("2", "2"), "PTR", "forward"),
        (API, &v6("10", "1"), "PTR", "forward"),
        (API, &v6("g", "1"), "PTR", "forward"),
        (API, &v6("2.0", "1"), "PTR", "forward"),
        (API, "ip6.arpa", "NS", "forward"),
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
