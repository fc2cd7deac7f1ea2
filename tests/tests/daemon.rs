//! How the daemon is started, and who may talk to it.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use tests::Host;

#[test]
fn the_socket_is_for_root_and_the_group_fabric() {
    let host = Host::new();
    let socket = std::fs::metadata(host.run_dir().join("netd.sock")).expect("the daemon made it");
    assert!(socket.file_type().is_socket());
    assert_eq!((socket.uid(), socket.permissions().mode() & 0o777), (0, 0o660));
    let groups = std::fs::read_to_string("/etc/group").expect("every system has it");
    let fabric = groups.lines().find_map(|line| line.strip_prefix("fabric:")?.split(':').nth(1)?.parse().ok());
    assert_eq!(socket.gid(), fabric.unwrap_or(0));
}

#[test]
fn a_second_daemon_on_the_same_directories_is_refused() {
    let host = Host::new();
    let status = host.netd_command().status().expect("nsenter runs");
    assert_eq!(status.code(), Some(1));
    assert!(host.log_tail().contains("in use"), "{}", host.log_tail());
    host.assert_healthy();
}

#[test]
fn a_bad_configuration_is_refused_by_line() {
    let host = Host::stopped("domain = 'fabric.internal'\nupstream = []");
    let status = host.netd_command().status().expect("nsenter runs");
    assert_eq!(status.code(), Some(1));
    let log = host.log_tail();
    assert!(log.contains("netd.toml") && log.contains("line 2") && log.contains("upstream"), "{log}");
}
