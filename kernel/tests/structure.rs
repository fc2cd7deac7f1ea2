//! The table that the kernel gets is the one in `fabric.nft`, which a network engineer can read.

mod lab;

use lab::{attachment, network, sh, state};

/// The table as text, and each rule as the instructions that the kernel runs.
fn listing() -> String {
    let text = sh("nft list table inet fabric");
    let debug = sh("nft --debug=netlink list table inet fabric");
    // The rest of the debug output is in no order, or in the text already.
    let instructions: Vec<_> = debug.lines().filter(|line| line.starts_with("  [ ")).collect();
    assert!(instructions.len() > 50, "{debug}");
    format!("{text}{}", instructions.join("\n"))
}

#[test]
fn the_table_is_as_written() {
    let expected = include_str!("fabric.nft").replace("BRIDGE", network(1).bridge().as_str());
    lab::run(|lab| {
        lab.settle(&state(&[
            attachment(12, &["8080:80", "9000-9099:9000-9099"]),
            attachment(13, &["192.0.2.1:53:5353/udp"]),
        ]));
        sh("nft flush map inet fabric marker");
        let installed = listing();
        std::fs::write("/run/fabric.nft", &expected).expect("there is room");
        sh("nft delete table inet fabric; nft -f /run/fabric.nft");
        assert_eq!(installed, listing());
    });
}
