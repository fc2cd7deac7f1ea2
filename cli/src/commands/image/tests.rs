use model::Digest;

use super::*;
use crate::commands::samples;

#[test]
fn images_are_listed_in_columns() {
    let image = |name: &str, size, created_at: &str| Image {
        name: name.parse().expect("literal"),
        digest: Digest::sha256([0x5a; 32]),
        size,
        created_at: created_at.parse().expect("literal"),
    };
    let images =
        [image("busybox:1.36", 2_190_000, "2026-11-20T09:00:00Z"), image("team/app", 812, "2026-10-20T09:00:00Z")];
    insta::assert_snapshot!("images", render(&images, samples::now()));
}
