use proptest::prelude::*;

use super::*;

#[test]
fn publishes_read_as_people_write_them() {
    for (text, shown) in [
        ("80", "80/tcp"),
        ("80/udp", "80/udp"),
        ("8080:80", "8080:80/tcp"),
        ("8080:80/tcp", "8080:80/tcp"),
        ("53:53/udp", "53:53/udp"),
        ("3868:3868/sctp", "3868:3868/sctp"),
        ("127.0.0.1:8080:80", "127.0.0.1:8080:80/tcp"),
        ("127.0.0.1::80", "127.0.0.1::80/tcp"),
        ("0.0.0.0:8080:80", "0.0.0.0:8080:80/tcp"),
        ("[::]:8080:80", "[::]:8080:80/tcp"),
        ("[2001:db8::1]:8080:80", "[2001:db8::1]:8080:80/tcp"),
        ("[2001:DB8:0::1]::80/udp", "[2001:db8::1]::80/udp"),
        ("8000-8009:9000-9009", "8000-8009:9000-9009/tcp"),
        ("8000-8000:80", "8000:80/tcp"),
        ("8000-8009", "8000-8009/tcp"),
        ("1-65535:1-65535/udp", "1-65535:1-65535/udp"),
        ("[2001:db8::1]:8000-8001:80-81/sctp", "[2001:db8::1]:8000-8001:80-81/sctp"),
    ] {
        let parsed = text.parse::<PublishRequest>().map(|publish| publish.to_string());
        assert_eq!(parsed.as_deref(), Ok(shown), "{text:?}");
    }
}

#[test]
fn what_publishes_nothing_is_explained() {
    let mut explained = String::new();
    for text in [
        "",
        ":",
        "::",
        ":80",
        "80:",
        "0:80",
        "80:0",
        "0",
        "65536:80",
        "80:65536",
        "99999999999999999999:80",
        "+1:80",
        "-1:80",
        " 80:80",
        "80 :80",
        "8０:80",
        "a:b",
        "http:80",
        "80:80/icmp",
        "80:80/",
        "80:80/TCP",
        "80:80/tcp/udp",
        "/tcp",
        "1:2:3:4",
        "300.0.0.1:80:80",
        "10.0.0.1:80",
        "localhost:80:80",
        "224.0.0.1:80:80",
        "255.255.255.255:80:80",
        "::1:80:80",
        "2001:db8::1:80:80",
        "[::1]:80:80",
        "[::1:80:80",
        "[]:80:80",
        "[fe80::1]:80:80",
        "[fe80::1%eth0]:80:80",
        "[ff02::1]:80:80",
        "[::ffff:10.0.0.1]:80:80",
        "[2001:db8::1]",
        "[2001:db8::1]80:80",
        "[2001:db8::1]:80",
        "[2001:db8::1]:1:2:3",
        "[10.0.0.1:80:80",
        "8000-:80-81",
        "-8000:80",
        "8001-8000:80-81",
        "8000-8009:80",
        "8000:80-89",
        "8000-8009:80-88",
        "1-2-3:1-3",
        "0-5:0-5",
        "65530-65536:1-7",
        "80\n:80",
        "80:80\0",
    ] {
        let error = text.parse::<PublishRequest>().expect_err(text).to_string();
        let reason = error.split_once(": ").and_then(|(_, rest)| rest.split_once("; expected")).expect("a reason").0;
        explained.push_str(&format!("{:<28} {reason}\n", text.escape_debug().to_string()));
    }
    insta::assert_snapshot!(explained);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_and_read_again_the_same(text in "[0-9a-f:.\\[\\]/-]{0,30}|\\PC{0,20}") {
        if let Ok(publish) = text.parse::<PublishRequest>() {
            prop_assert_eq!(publish.to_string().parse(), Ok(publish));
        }
    }
}

#[test]
fn an_address_collides_with_every_address() {
    let parse = |text: &str| text.parse::<Publish>().expect("literal");
    for (a, b, collide) in [
        ("80:1", "80:2", true),
        ("80:1", "127.0.0.1:80:2", true),
        ("80:1", "[2001:db8::1]:80:2", true),
        ("0.0.0.0:80:1", "127.0.0.1:80:2", true),
        ("0.0.0.0:80:1", "[::]:80:2", false),
        ("[::]:80:1", "[2001:db8::1]:80:2", true),
        ("10.0.0.1:80:1", "127.0.0.1:80:2", false),
        ("80:1", "80:1/udp", false),
        ("80:1", "81:1", false),
        ("80-89:80-89", "85:1", true),
        ("80-89:80-89", "89-99:1-11", true),
        ("80-89:80-89", "90-99:1-10", false),
    ] {
        assert_eq!(parse(a).collides(&parse(b)), collide, "{a} {b}");
        assert_eq!(parse(b).collides(&parse(a)), collide, "{b} {a}");
    }
}

#[test]
fn each_host_port_leads_to_the_port_at_its_place() {
    let publish: Publish = "8000-8009:80-89".parse().expect("literal");
    for (container, host) in [(79, None), (80, Some(8000)), (89, Some(8009)), (90, None)] {
        let port = NonZeroU16::new(container).expect("literal");
        assert_eq!(publish.host_port_of(port).map(NonZeroU16::get), host, "{container}");
    }
}

#[test]
fn the_hosts_loopback_reaches_what_is_published_to_it() {
    for (text, reaches) in [
        ("80:80", true),
        ("0.0.0.0:80:80", true),
        ("127.0.0.9:80:80", true),
        ("10.0.0.1:80:80", false),
        ("[::]:80:80", false),
    ] {
        assert_eq!(text.parse::<Publish>().expect("literal").reaches_from_loopback(), reaches, "{text}");
    }
}
