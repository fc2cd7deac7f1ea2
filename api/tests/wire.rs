//! The JSON forms: what is written is read back, and what a request may not say is refused.

mod daemon;

use api::{
    Check, CheckResult, Container, ContainerCreate, Doctor, ExecCreate, KillQuery, LogLine, LogsQuery, Mtu,
    NetworkCreate, Problem, Reference, Signal, StopQuery, WaitQuery,
};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn refusal<T: DeserializeOwned>(value: Value) -> String {
    serde_json::from_value::<T>(value).err().expect("it must be refused").to_string()
}

fn minimal(extra: Value) -> Value {
    let mut value = json!({"image": "busybox"});
    value.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    value
}

#[test]
fn a_container_is_written_as_documented() {
    let container = daemon::container();
    let value = serde_json::to_value(&container).expect("wire types serialize");
    let documented = [
        "id",
        "name",
        "image",
        "state",
        "exit_code",
        "pid",
        "created_at",
        "labels",
        "endpoints",
        "hostname",
        "command",
        "publishes",
        "exposed",
        "port_names",
        "resolver",
        "network_mode",
        "started_at",
        "finished_at",
        "user",
        "confinement",
        "terminal",
        "open_stdin",
        "restart_policy",
        "restart_count",
        "auto_remove",
        "init",
        "log",
    ];
    let mut keys: Vec<_> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    let mut expected = documented.to_vec();
    keys.sort_unstable();
    expected.sort_unstable();
    assert_eq!(keys, expected);
    let mut endpoint: Vec<_> = value["endpoints"][0].as_object().expect("an object").keys().collect();
    endpoint.sort_unstable();
    assert_eq!(
        endpoint,
        [
            "aliases",
            "default_routes",
            "gateway",
            "gateway6",
            "gateway_priority",
            "id",
            "interface",
            "ipv4",
            "ipv6",
            "mac",
            "network"
        ]
    );
    assert_eq!(value["publishes"], json!(["8080:80/tcp"]));
    assert_eq!(serde_json::from_value::<Container>(value).expect("reads its own form"), container);
}

#[test]
fn answers_may_gain_fields() {
    let mut value = serde_json::to_value(daemon::container()).expect("wire types serialize");
    value["from_the_future"] = json!(1);
    assert!(serde_json::from_value::<Container>(value).is_ok());
}

#[test]
fn requests_refuse_what_they_do_not_know() {
    for refused in [
        refusal::<ContainerCreate>(minimal(json!({"netwrok": "web"}))),
        refusal::<NetworkCreate>(json!({"name": "web", "subnet": "10.1.0.0/24"})),
        refusal::<ExecCreate>(json!({"command": ["sh"], "tty": true})),
        refusal::<StopQuery>(json!({"timeout": 1})),
        refusal::<LogsQuery>(json!({"lines": 1})),
        refusal::<WaitQuery>(json!({"for": "exited"})),
    ] {
        assert!(refused.starts_with("unknown field"), "{refused}");
    }
}

#[test]
fn requests_are_parsed_at_the_edge() {
    for (extra, reason) in [
        (json!({"name": "Web"}), "container name `Web` is not valid"),
        (json!({"networks": [{"network": "a b"}]}), "network name `a b` is not valid"),
        (json!({"publish": ["80:"]}), "does not publish a port"),
        (json!({"env": ["=x"]}), "not an environment variable"),
        (json!({"env": ["A=\u{0}"]}), "not an environment variable"),
        (json!({"labels": {"a b": ""}}), "its key may hold only"),
        (json!({"labels": {"a=b": "c"}}), "must not hold `=`"),
        (json!({"labels": {"a": "line\nbreak"}}), "control characters"),
        (json!({"command": ["a\u{0}b"]}), "NUL"),
        (json!({"entrypoint": ["a\u{0}b"]}), "NUL"),
        (json!({"working_directory": "etc"}), "not an absolute path"),
        (json!({"working_directory": "/a\u{0}b"}), "NUL"),
        (json!({"hostname": "-a"}), "host name"),
        (json!({"confinement": {"binds": ["data:/data"]}}), "no named volumes"),
        (json!({"confinement": {"sysctls": ["kernel.panic=1"]}}), "change the host"),
        (json!({"confinement": {"add_capabilities": ["ALL"]}}), "name those"),
        (json!({"confinement": {"privileged": true}}), "unknown field"),
    ] {
        let refused = refusal::<ContainerCreate>(minimal(extra.clone()));
        assert!(refused.contains(reason), "{extra}: {refused}");
    }
    assert!(refusal::<NetworkCreate>(json!({"name": "web", "mtu": 67})).contains("68 to 65535"));
    assert!(refusal::<NetworkCreate>(json!({"name": "web", "driver": "magic"})).contains("magic"));
}

#[test]
fn a_container_needs_no_more_than_an_image() {
    let parsed: ContainerCreate = serde_json::from_value(minimal(json!({}))).expect("an image is enough");
    assert_eq!(parsed, ContainerCreate::new("busybox".parse().expect("literal")));
    let value = serde_json::to_value(&parsed).expect("wire types serialize");
    assert_eq!(serde_json::from_value::<ContainerCreate>(value).expect("reads its own form"), parsed);
}

#[test]
fn what_is_wrong_with_a_subnet_is_told_with_its_network() {
    let value = json!({"name": "web", "subnets": ["10.1.0.7/24"]});
    let request: NetworkCreate = serde_json::from_value(value).expect("well formed");
    let problem = Problem::from_error(&request.plan().expect_err("host bits"));
    assert_eq!(problem.error, "network `web` cannot have the subnet 10.1.0.7/24");
    assert_eq!(problem.causes, ["10.1.0.7/24 is not a network address; did you mean 10.1.0.0/24?"]);
}

#[test]
fn signals_have_names_and_numbers() {
    for (text, number, shown) in
        [("TERM", 15, "TERM"), ("sigkill", 9, "KILL"), ("1", 1, "HUP"), ("SIGUSR2", 12, "USR2"), ("64", 64, "64")]
    {
        let signal: Signal = text.parse().expect("a signal");
        assert_eq!((signal.number(), signal.to_string().as_str()), (number, shown));
    }
    for text in ["", "0", "65", "SIG", "SIGSIGTERM", "-9", "TERM ", "999999999999"] {
        assert!(text.parse::<Signal>().is_err(), "{text:?}");
    }
    assert_eq!(serde_json::from_value::<KillQuery>(json!({})).expect("all optional").signal, Signal::kill());
}

#[test]
fn references_name_every_container_and_escape_no_path() {
    for text in ["api", "ab", &"ab".repeat(16), "0123-"] {
        assert!(text.parse::<Reference>().is_ok(), "{text:?}");
    }
    for text in ["", "../x", "a/b", "A", "a b", "a%2f", "é", &"a".repeat(64)] {
        assert!(text.parse::<Reference>().is_err(), "{text:?}");
    }
}

#[test]
fn health_is_the_absence_of_problems() {
    let check = |result| Check {
        name: "bridge".to_owned(),
        result,
        message: String::new(),
        hint: None,
        differences: Vec::new(),
    };
    for (results, healthy) in [
        (vec![], true),
        (vec![CheckResult::Ok, CheckResult::Warning], true),
        (vec![CheckResult::Ok, CheckResult::Problem], false),
    ] {
        assert_eq!(Doctor::new(results.into_iter().map(check).collect()).healthy, healthy);
    }
}

#[test]
fn a_log_line_is_what_the_log_file_holds() {
    let value = json!({"time": "2026-11-20T08:00:00Z", "stream": "stderr", "log": "x\n"});
    let line: LogLine = serde_json::from_value(value.clone()).expect("documented form");
    assert_eq!(serde_json::to_value(&line).expect("wire types serialize"), value);
}

proptest! {
    #[test]
    fn any_text_becomes_one_path_segment(text in "\\PC{0,40}") {
        let path = api::route::fill(api::route::IMAGE, &text);
        let segment = path.strip_prefix("/v1/images/").expect("the pattern's beginning");
        prop_assert!(segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)));
    }

    #[test]
    fn an_mtu_is_what_ethernet_can_have(octets: u32) {
        prop_assert_eq!(Mtu::try_from(octets).is_ok(), (68..=65_535).contains(&octets));
    }
}
