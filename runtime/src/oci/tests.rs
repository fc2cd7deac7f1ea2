use model::ContainerId;

use super::*;

fn container() -> ContainerSpec {
    ContainerSpec {
        id: ContainerId::from_bytes([7; 16]),
        hostname: "api".parse().expect("a host name"),
        command: Command {
            arguments: vec!["httpd".into(), "-f".into()],
            environment: vec!["PATH=/bin".parse().expect("a variable")],
            working_directory: "/srv".into(),
            user: Some("www".into()),
        },
        lower: vec!["/layers/2".into(), "/layers/1".into()],
        upper: "/c/upper".into(),
        work: "/c/work".into(),
        ephemeral: false,
        network_namespace: Some("/run/netns/x".into()),
        mounts: vec![BindMount { source: "/c/hosts".into(), destination: "/etc/hosts".into(), read_only: true }],
        open_stdin: false,
        confinement: Confinement::default(),
        terminal: false,
        init: false,
        log: Default::default(),
    }
}

fn surroundings(layout: Layout) -> Surroundings {
    Surroundings {
        layout,
        root: "/run/c/rootfs".into(),
        network_namespace: Some("/proc/self/fd/9".into()),
        cgroup: "fabric-1/07".into(),
        oom_score_adjustment: None,
        thermal: vec!["/sys/devices/system/cpu/cpu0/thermal_throttle".into()],
    }
}

fn www() -> Identity {
    Identity { uid: 33, gid: 34, groups: vec![8, 34], home: "/var/www".into() }
}

/// The specification as sorted lines, for sets have no order of their own.
fn text(value: &serde_json::Value, path: &str, lines: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| text(value, &format!("{path}.{name}"), lines));
        }
        serde_json::Value::Array(values) if path.contains("capabilities") => {
            let mut names: Vec<String> = values.iter().map(ToString::to_string).collect();
            names.sort();
            lines.push(format!("{path} {}", names.join(" ")));
        }
        serde_json::Value::Array(values) if values.iter().any(serde_json::Value::is_object) => {
            values.iter().enumerate().for_each(|(index, value)| text(value, &format!("{path}[{index}]"), lines));
        }
        value => lines.push(format!("{path} {value}")),
    }
}

#[test]
fn the_specification_is_docker_s() {
    let spec = specification(&container(), &surroundings(Layout::Unified), &www());
    let mut lines = Vec::new();
    text(&serde_json::to_value(&spec).expect("serialises"), "", &mut lines);
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn the_legacy_layout_mounts_no_cgroups() {
    let spec = specification(&container(), &surroundings(Layout::Legacy), &www());
    let mounts = spec.mounts().as_ref().expect("has mounts");
    assert!(mounts.iter().all(|mount| mount.typ().as_deref() != Some("cgroup")));
}

#[test]
fn home_is_the_user_s_unless_it_was_given() {
    let mut command = container().command;
    let home = |command: &Command| {
        let process = process(command, &www(), &Confinement::default());
        process.env().clone().expect("has an environment").into_iter().filter(|it| it.starts_with("HOME=")).collect()
    };
    let homes: Vec<String> = home(&command);
    assert_eq!(homes, ["HOME=/var/www"]);
    command.environment.push("HOME=/else".parse().expect("a variable"));
    let homes: Vec<String> = home(&command);
    assert_eq!(homes, ["HOME=/else"]);
}

#[test]
fn the_final_capabilities_are_the_bounding_set() {
    let process = process(&container().command, &www(), &Confinement::default());
    let capabilities = process.capabilities().as_ref().expect("has capabilities");
    let bounding = capabilities.bounding().as_ref().expect("has a bounding set");
    assert_eq!(bounding.len(), 14);
    assert!(!bounding.contains(&Capability::SysAdmin));
}

#[test]
fn confinement_is_specified_as_it_was_asked_for() {
    let mut container = container();
    container.confinement = Confinement {
        read_only: true,
        binds: vec!["/srv/data:/data/in/tmp:ro".parse().expect("literal"), "/x:/y".parse().expect("literal")],
        tmpfs: vec!["/data/in:size=1m,mode=700".parse().expect("literal")],
        add_capabilities: vec!["NET_ADMIN".parse().expect("literal")],
        drop_capabilities: vec!["ALL".parse().expect("literal")],
        ulimits: vec!["nofile=10:20".parse().expect("literal")],
        sysctls: vec!["net.core.somaxconn=9".parse().expect("literal")],
        ..Confinement::default()
    };
    let spec = specification(&container, &surroundings(Layout::Unified), &www());
    let mut before = Vec::new();
    let plain = specification(&self::container(), &surroundings(Layout::Unified), &www());
    text(&serde_json::to_value(&plain).expect("serialises"), "", &mut before);
    let mut lines = Vec::new();
    text(&serde_json::to_value(&spec).expect("serialises"), "", &mut lines);
    lines.retain(|line| !before.contains(line));
    insta::assert_snapshot!("confinement", lines.join("\n"));
}
