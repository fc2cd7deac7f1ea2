//! Texts that people and programs write: values of options such as `--publish` and `--network`, names, and the queries
//! of requests. What is accepted is written as what reads as the same again; a refusal is short and printable.

#![no_main]

use std::{
    fmt::{Debug, Display},
    str::FromStr,
};

use axum::{extract::Query, http::Uri};
use libfuzzer_sys::{Corpus, fuzz_target};
use serde::{Serialize, de::DeserializeOwned};

fuzz_target!(|octets: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(octets) else { return Corpus::Reject };
    names(text);
    options(text);
    queries(text);
    resolver(text);
    Corpus::Keep
});

fn names(text: &str) {
    round::<model::ContainerId>(text);
    round::<model::ContainerIfName>(text);
    round::<model::ContainerName>(text);
    round::<model::Digest>(text);
    round::<model::EndpointId>(text);
    round::<model::Hostname>(text);
    round::<model::IfName>(text);
    round::<model::ImageName>(text);
    round::<model::MacAddress>(text);
    round::<model::NamespaceName>(text);
    round::<model::NetworkId>(text);
    round::<model::NetworkName>(text);
    round::<model::Vlan>(text);
    round::<api::Reference>(text);
    round::<dns::Domain>(text);
    round::<dns::RecordType>(text);
}

fn options(text: &str) {
    round::<model::Bind>(text);
    round::<model::ByteSize>(text);
    round::<model::Capability>(text);
    round::<model::ContainerPort>(text);
    round::<model::Driver>(text);
    round::<model::DroppedCapability>(text);
    round::<model::EnvironmentVariable>(text);
    round::<model::ExposedPort>(text);
    round::<model::ExtraHost>(text);
    round::<model::GatewayMode>(text);
    round::<model::IpvlanFlag>(text);
    round::<model::IpvlanMode>(text);
    round::<model::MacvlanMode>(text);
    round::<model::NameServer>(text);
    round::<model::NetworkRoute>(text);
    round::<model::ProcessLimit>(text);
    round::<model::Processors>(text);
    round::<model::Publish>(text);
    round::<model::PublishRequest>(text);
    round::<model::Reservation>(text);
    round::<model::ResolverOption>(text);
    round::<model::SearchDomain>(text);
    round::<model::Signal>(text);
    round::<model::Sysctl>(text);
    round::<model::Tmpfs>(text);
    round::<model::Ulimit>(text);
    round::<api::EndpointCreate>(text);
    round::<api::Mtu>(text);
    round::<api::MtuChoice>(text);
    round::<api::NetworkMode>(text);
    if let Ok(label) = check(text.parse::<model::Label>()) {
        let again = format!("{}={}", label.key, label.value).parse::<model::Label>();
        assert_eq!(again.as_ref(), Ok(&label), "{text:?}");
    }
}

fn queries(text: &str) {
    let Ok(uri) = format!("/?{text}").parse::<Uri>() else { return };
    query::<api::ContainersQuery>(&uri);
    query::<api::DisconnectQuery>(&uri);
    query::<api::DnsLogQuery>(&uri);
    query::<api::DnsQuery>(&uri);
    query::<api::EventsQuery>(&uri);
    query::<api::ImportQuery>(&uri);
    query::<api::KillQuery>(&uri);
    query::<api::LogsQuery>(&uri);
    query::<api::RemoveQuery>(&uri);
    query::<api::StartQuery>(&uri);
    query::<api::StopQuery>(&uri);
    query::<api::WaitQuery>(&uri);
}

/// The host's `resolv.conf`, which other programs write, and what containers are told of it.
fn resolver(text: &str) {
    let found = dns::HostResolver::parse(text);
    let servers = found.servers.iter().map(|server| format!("nameserver {}\n", server.ip()));
    let search = (!found.search.is_empty()).then(|| format!("search {}\n", found.search.join(" ")));
    let options = (!found.options.is_empty()).then(|| format!("options {}\n", found.options.join(" ")));
    let written: String = servers.chain(search).chain(options).collect();
    assert_eq!(dns::HostResolver::parse(&written), found, "{text:?}");
}

fn round<T: FromStr<Err: Display> + Display + PartialEq + Debug>(text: &str) {
    let Ok(value) = check(text.parse::<T>()) else { return };
    let written = value.to_string();
    match written.parse::<T>() {
        Ok(again) => assert_eq!(value, again, "{text:?} is written as {written:?}"),
        Err(error) => panic!("{text:?} is written as {written:?}: {error}"),
    }
}

/// Fails on a refusal that would flood or command a terminal.
fn check<T, E: Display>(parsed: Result<T, E>) -> Result<T, E> {
    if let Err(error) = &parsed {
        let error = error.to_string();
        assert!(!error.is_empty() && error.len() <= 4096 && !error.chars().any(char::is_control), "{error:?}");
    }
    parsed
}

fn query<T: Serialize + DeserializeOwned + PartialEq + Debug>(uri: &Uri) {
    let Ok(Query(value)) = Query::<T>::try_from_uri(uri) else { return };
    let text = serde_urlencoded::to_string(&value).expect("what was a query can be one again");
    let written: Uri = format!("/?{text}").parse().expect("it is encoded");
    match Query::<T>::try_from_uri(&written) {
        Ok(Query(again)) => assert_eq!(value, again, "{text}"),
        Err(error) => panic!("{text}: {}", error.body_text()),
    }
}
