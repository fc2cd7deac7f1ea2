use model::{Driver, MacAddress, NetworkId, Subnet};

use super::*;

fn net(text: &str) -> IpNet {
    text.parse().expect("literal")
}

fn network(name: &str, range: &str, range6: &str) -> Network {
    Network {
        id: NetworkId::from_bytes([1; 8]),
        name: name.parse().expect("literal"),
        driver: Driver::Bridge,
        parent: None,
        vlan: None,
        subnets: vec![
            Subnet::new(net(range), None).expect("literal"),
            Subnet::new(net(range6), None).expect("literal"),
        ],
        reserved: Vec::new(),
        reach: model::Reach::Nat,
        icc: Default::default(),
        default_route: Default::default(),
        routes: Vec::new(),
        gateway_mac: "02:00:00:00:00:01".parse::<MacAddress>().expect("literal"),
        mtu: 1500,
        mtu_source: model::MtuSource::Fixed,
        name_servers: Vec::new(),
        labels: Default::default(),
        created_at: "2026-01-01T00:00:00Z".parse().expect("literal"),
    }
}

fn host(range: &str, interface: &str) -> HostRange {
    HostRange { range: net(range), interface: interface.parse().expect("literal") }
}

#[test]
fn an_overlap_names_what_is_in_the_way() {
    let networks = [network("web", "10.1.0.0/24", "fd00:1::/64"), network("db", "10.2.0.0/16", "fd00:2::/48")];
    let hosts = [
        host("0.0.0.0/0", "eth0"),
        host("128.0.0.0/1", "tun0"),
        host("10.8.0.0/16", "tun0"),
        host("192.168.1.7/24", "eth0"),
        host("10.1.0.0/24", "fb-web"),
        host("::/0", "eth0"),
        host("2000::/3", "tun0"),
        host("fd00:8::7/64", "eth0"),
    ];
    for (range, expected) in [
        ("10.3.0.0/24", None),
        ("fd00:3::/64", None),
        ("2001:db8::/64", None),
        ("fd00:1::/64", Some("fd00:1::/64 overlaps network web (fd00:1::/64)")),
        ("fd00:2:0:9::/64", Some("fd00:2:0:9::/64 overlaps network db (fd00:2::/48)")),
        ("fd00:8::/48", Some("fd00:8::/48 overlaps the host's fd00:8::7/64 on interface eth0")),
        ("172.20.0.0/16", None),
        ("10.1.0.0/24", Some("10.1.0.0/24 overlaps network web (10.1.0.0/24)")),
        ("10.1.0.128/25", Some("10.1.0.128/25 overlaps network web (10.1.0.0/24)")),
        ("10.2.7.0/24", Some("10.2.7.0/24 overlaps network db (10.2.0.0/16)")),
        ("10.0.0.0/8", Some("10.0.0.0/8 overlaps network web (10.1.0.0/24)")),
        ("10.8.4.0/24", Some("10.8.4.0/24 overlaps the host's 10.8.0.0/16 on interface tun0")),
        ("192.168.0.0/16", Some("192.168.0.0/16 overlaps the host's 192.168.1.7/24 on interface eth0")),
        ("192.168.1.128/25", Some("192.168.1.128/25 overlaps the host's 192.168.1.7/24 on interface eth0")),
    ] {
        let found = overlap(net(range), &networks, &hosts).err().map(|error| error.to_string());
        assert_eq!(found.as_deref(), expected, "{range}");
    }
}
