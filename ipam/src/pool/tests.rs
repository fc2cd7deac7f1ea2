use proptest::prelude::*;

use super::*;

fn net(text: &str) -> IpNet {
    text.parse().expect("literal")
}

fn pool(range: &str, prefix: u8) -> Pool {
    Pool::new(net(range), prefix).expect("literal")
}

#[test]
fn pools_are_aligned_and_larger_than_their_subnets() {
    for (range, prefix, ok) in [
        ("10.0.0.0/8", 24, true),
        ("10.0.0.0/24", 24, true),
        ("10.0.0.0/24", 29, true),
        ("10.0.0.0/24", 30, false),
        ("10.0.0.0/24", 23, false),
        ("10.0.0.1/24", 24, false),
        ("fd00:1::/48", 64, true),
        ("fd00:1::/64", 64, true),
        ("fd00:1::/64", 65, false),
        // Nobody lives there, or in a part of it.
        ("127.0.0.0/8", 24, false),
        ("224.0.0.0/4", 24, false),
        ("0.0.0.0/0", 24, false),
        ("10.0.0.0/30", 30, false),
        ("10.0.0.1/32", 32, false),
        ("fd00::/65", 65, false),
        ("fe80::/16", 64, false),
    ] {
        assert_eq!(Pool::new(net(range), prefix).is_ok(), ok, "{range} in /{prefix}");
    }
}

#[test]
fn the_first_subnet_clear_of_everything_is_chosen() {
    let table: [(&[&str], &str); 11] = [
        (&[], "10.208.0.0/24"),
        (&["0.0.0.0/0"], "10.208.0.0/24"),
        // OpenVPN's redirect-gateway and its like.
        (&["0.0.0.0/1", "128.0.0.0/1", "0.0.0.0/5"], "10.208.0.0/24"),
        (&["10.208.0.0/24", "10.208.2.0/24"], "10.208.1.0/24"),
        (&["10.208.0.0/24", "10.208.1.7/32"], "10.208.2.0/24"),
        // An interface's address with its prefix, host bits set.
        (&["10.208.0.77/23"], "10.208.2.0/24"),
        // A company's VPN.
        (&["10.0.0.0/8"], "172.28.0.0/24"),
        (&["10.0.0.0/8", "10.208.0.0/24", "172.16.0.0/12"], "192.168.128.0/24"),
        (&["10.208.0.0/13"], "10.216.0.0/24"),
        (&["10.128.0.0/9"], "172.28.0.0/24"),
        (&["192.168.0.0/16", "172.17.0.0/16", "100.64.0.0/10"], "10.208.0.0/24"),
    ];
    for (taken, expected) in table {
        let taken: Vec<IpNet> = taken.iter().map(|text| net(text)).collect();
        assert_eq!(
            choose_subnet(&default_pools(), Family::Ipv4, &taken).expect("there is room"),
            net(expected),
            "{taken:?}"
        );
    }
}

#[test]
fn exhaustion_names_the_pools_and_what_is_in_them() {
    let pools = [pool("10.1.0.0/23", 24), pool("10.9.0.0/24", 24)];
    let taken = ["10.1.0.0/24", "10.1.1.0/25", "10.1.1.0/26", "10.9.0.3/32", "192.168.0.0/24", "0.0.0.0/0"].map(net);
    let error = choose_subnet(&pools, Family::Ipv4, &taken).expect_err("everything is taken");
    assert_eq!(
        error.to_string(),
        "no free subnet in 10.1.0.0/23 (in /24), 10.9.0.0/24 (in /24): \
         3 ranges in them are taken by networks or by the host"
    );
    assert!(error.hint().contains("name a free subnet"));
    assert_eq!(
        choose_subnet(&[], Family::Ipv4, &[]).expect_err("there are no pools").to_string(),
        "no free subnet in no pools: 0 ranges in them are taken by networks or by the host"
    );
}

#[test]
fn the_end_of_the_address_space_is_no_special_place() {
    // No pool is there.
    let pool = |range, prefix| Pool { range: net(range), prefix };
    let pools = [pool("255.255.255.0/24", 25)];
    assert_eq!(
        choose_subnet(&pools, Family::Ipv4, &[net("255.255.255.0/26")]).expect("room"),
        net("255.255.255.128/25")
    );
    assert!(choose_subnet(&pools, Family::Ipv4, &[net("255.255.255.0/26"), net("255.255.255.255/32")]).is_err());
    let pools = [pool("ffff:ffff:ffff:fffe::/63", 64)];
    let last = "ffff:ffff:ffff:ffff::/64";
    assert_eq!(choose_subnet(&pools, Family::Ipv6, &[net("ffff:ffff:ffff:fffe::/64")]).expect("room"), net(last));
    assert!(choose_subnet(&pools, Family::Ipv6, &[net("ffff:ffff:ffff:fffe::/64"), net(last)]).is_err());
}

#[test]
fn a_unique_local_subnet_is_drawn_until_it_is_free() {
    let mut draws = [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10], [11, 12, 13, 14, 15]].into_iter();
    let taken = ["fd01:203:405::/48", "fd06:708:90a:0::7/64", "::/0", "10.0.0.0/8"].map(net);
    let chosen = choose_unique_local(&taken, || draws.next().expect("one is free")).expect("one is free");
    assert_eq!(chosen, net("fd0b:c0d:e0f::/64"));
    let error = choose_unique_local(&[net("fd00::/8")], || [1; 5]).expect_err("all is routed").to_string();
    assert_eq!(error, "no free subnet in fd00::/8 (in /64): 1 ranges in them are taken by networks or by the host");
}

#[test]
fn families_do_not_mix() {
    let pools = [pool("fd00:1::/48", 64), pool("10.1.0.0/23", 24)];
    let taken = ["10.1.0.0/24", "fd00:1::7/64"].map(net);
    assert_eq!(choose_subnet(&pools, Family::Ipv4, &taken).expect("room"), net("10.1.1.0/24"));
    assert_eq!(choose_subnet(&pools, Family::Ipv6, &taken).expect("room"), net("fd00:1:0:1::/64"));
    let error = choose_subnet(&pools[..1], Family::Ipv4, &taken).expect_err("no such pool").to_string();
    assert!(error.starts_with("no free subnet in no pools"), "{error}");
}

proptest! {
    #[test]
    fn the_choice_is_the_first_that_overlaps_nothing(
        taken in prop::collection::vec((0_u32..1 << 13, 8_u8..=32), 0..40),
        prefix in 22_u8..=27,
    ) {
        let base = u32::from_be_bytes([10, 1, 0, 0]);
        // Host bits stay: they must not matter.
        let taken: Vec<IpNet> = taken
            .into_iter()
            .map(|(offset, length)| IpNet::V4(Ipv4Net::new((base + offset).into(), length.max(20)).expect("at most 32")))
            .collect();
        let pools = [pool("10.1.0.0/20", prefix), pool("10.1.16.0/21", prefix)];
        let expected = pools
            .iter()
            .flat_map(|pool| pool.range.subnets(prefix).expect("the pool is larger"))
            .find(|subnet| !taken.iter().any(|taken| overlaps(*subnet, *taken)));
        prop_assert_eq!(choose_subnet(&pools, Family::Ipv4, &taken).ok(), expected);
    }
}
