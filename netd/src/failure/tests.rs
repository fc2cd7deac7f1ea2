use std::fmt::Debug;

use image::{ImageError, Limit, Mismatch};
use ipam::{IpamError, Occupant};
use model::{ContainerId, Digest, MacvlanMode, Protocol};
use runtime::{FailureKind, RuntimeError};
use rustix::io::Errno;

use super::*;

fn parsed<T: std::str::FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().expect("literal")
}

/// One failure of each kind, by its name: a kind that is missing here does not compile.
macro_rules! every {
    ($($kind:ident { $($field:ident: $value:expr),* $(,)? })*; $($wrapping:ident($inner:expr))*; $($alone:ident)*) => {
        fn every() -> Vec<(&'static str, Failure)> {
            let name = |failure: &Failure| match failure {
                $(Failure::$kind { .. } => stringify!($kind),)*
                $(Failure::$wrapping(..) => stringify!($wrapping),)*
                $(Failure::$alone => stringify!($alone),)*
            };
            let failures = [
                $(Failure::$kind { $($field: $value),* },)*
                $(Failure::$wrapping($inner),)*
                $(Failure::$alone,)*
            ];
            failures.into_iter().map(|failure| (name(&failure), failure)).collect()
        }
    };
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

fn exhausted() -> Box<IpamError> {
    Box::new(IpamError::Exhausted { ranges: vec![parsed("10.9.1.0/24")], used: 253, capacity: 253 })
}

fn overlap() -> Box<IpamError> {
    let (range, interface) = (parsed("10.9.0.0/16"), parsed("eth0"));
    Box::new(IpamError::Overlap { range: parsed("10.9.1.0/24"), with: Occupant::Host { range, interface } })
}

fn publish() -> Publish {
    parsed("8080:80")
}

fn requested() -> PublishRequest {
    parsed("8080:80")
}

fn port() -> NonZeroU16 {
    NonZeroU16::new(8080).expect("it is not zero")
}

fn address() -> IpAddr {
    parsed("10.9.1.2")
}

fn mac() -> MacAddress {
    parsed("02:00:00:00:00:01")
}

fn listener() -> kernel::Listener {
    let address = parsed("0.0.0.0");
    kernel::Listener { protocol: Protocol::Tcp, address, port: 8080, both_families: false, inode: 1 }
}

fn macvlan() -> SubInterfaceKind {
    SubInterfaceKind::Macvlan { mode: MacvlanMode::Bridge }
}

fn stranger() -> Box<dns::DnsError> {
    Box::new(dns::DnsError::Stranger(address()))
}

fn conflict() -> Box<store::CommitError> {
    Box::new(store::CommitError::Conflict { key: parsed("networks/0123") })
}

every! {
    Unknown { noun: Noun::Image, name: "bussybox".into(), nearest: None, purpose: Purpose::Find }
    Ambiguous { noun: Noun::Container, reference: "4c".into() }
    NameTaken { noun: Noun::Network, name: "web".into() }
    NetworkInUse { network: parsed("web"), containers: vec!["api".into()] }
    HalfMade { network: parsed("web"), containers: vec!["api".into()], source: Failure::NoUpgrade.into() }
    ImageInUse { name: parsed("busybox"), containers: vec!["api".into()] }
    ImageWithNames { reference: parsed("0a1b"), names: vec!["busybox:1".into(), "busybox:latest".into()] }
    AddressesHeld { network: parsed("web"), held: vec![(address(), "api".into())] }
    Range { network: parsed("web"), range: parsed("10.9.1.0/24"), source: overlap() }
    NoRange { network: parsed("web"), source: overlap() }
    Address { network: parsed("web"), source: exhausted() }
    AddressTaken { network: parsed("web"), address: address(), holder: "api".into() }
    AddressRefused { network: parsed("web"), address: address(), source: exhausted() }
    MacTaken { network: parsed("web"), mac: mac(), holder: "the gateway".into() }
    AlreadyConnected { container: parsed("api"), network: parsed("web") }
    InterfaceTaken { container: parsed("api"), interface: parsed("lan0"), network: parsed("web"), holder: parsed("back") }
    NotConnected { container: parsed("api"), network: parsed("web") }
    StillLeaving { container: parsed("api"), network: parsed("web") }
    PortTaken { publish: publish(), port: port(), holder: "api".into(), made: false }
    PortInUse { publish: publish(), listener: listener(), holder: None, setting: None, made: false }
    AddressNotHere { publish: requested(), address: address() }
    AddressUnusable { publish: requested(), source: io::ErrorKind::AddrNotAvailable.into() }
    PublishLeadsNowhere { publish: publish() }
    PublishInternal { publish: publish(), networks: vec![parsed("web")] }
    NoPortFree { publish: requested() }
    NoParent { network: parsed("lan"), parent: parsed("eth9"), known: vec!["eth0".into()] }
    VlanNumber { network: parsed("lan"), parent: parsed("eth0.4095") }
    NoVlanLink { network: parsed("lan"), parent: parsed("eth9.10"), link: parsed("eth9"), known: vec!["eth0".into()] }
    VlanElsewhere { network: parsed("lan"), parent: parsed("eth0.10"), interface: parsed("blue") }
    NoVlans { network: parsed("lan"), parent: parsed("eth0.10") }
    ParentMtu { network: parsed("lan"), parent: parsed("eth0"), asked: 9000, mtu: 1500 }
    LoopbackParent { network: parsed("lan"), parent: parsed("lo"), known: Vec::new() }
    ParentHeld { network: parsed("lan"), parent: parsed("eth0"), asked: macvlan(), holder: parsed("old"), theirs: macvlan() }
    NoFacility { network: parsed("lan"), driver: Driver::Macvlan }
    MacOfParent { network: parsed("lan"), parent: parsed("eth0"), mac: mac() }
    ParentTaken { network: parsed("lan"), parent: parsed("eth0"), holder: parsed("api") }
    PublishOnLan { publish: publish(), network: parsed("lan") }
    JoinsASharer { sharer: parsed("side"), joined: parsed("api"), elsewhere: Elsewhere::Host }
    JoinedNotRunning { sharer: "side".into(), joined: "api".into() }
    JoinedGone { sharer: "side".into(), joined: "api".into() }
    NoDns { name: "api".into() }
    NoCommand { name: "api".into(), image: parsed("busybox") }
    TooLittleMemory { asked: ByteSize::from_octets(1) }
    HostPath { path: "/data".into(), source: io::ErrorKind::PermissionDenied.into() }
    StillRunning { name: "api".into() }
    Restarting { name: "api".into() }
    NotRunning { name: "api".into() }
    HostEnds { name: "api".into() }
    NotStarted { name: "api".into() }
    AlreadyRunning { name: "api".into() }
    EndsOnce { name: "api".into() }
    StoppedMeanwhile { name: "api".into() }
    ImageGone { name: "api".into(), image: parsed("busybox") }
    BeingRemoved { name: "api".into() }
    PolicyDocuments { errors: policy::parse("a.yaml", policy::Syntax::Yaml, "kind: Pod", None).expect_err("no policy") }
    Policies { source: Box::new(contradiction()) }
    PolicyNames { name: "closed".into(), kinds: ["Policy", "Stance"] }
    NetworkBeyondReach {
        network: parsed("lan"), driver: model::Driver::Macvlan, policies: vec![("closed".into(), "a.yaml:1:1".into())],
    }
    UnknownRevision { asked: 7, known: Some((1, 3)) }
    Malformed { reason: "unknown field".into() }
    NoRoute { path: "/v9".into() }
    NoMethod { method: "PUT".into(), path: "/v1/status".into() }
    Runtime { doing: "start", name: "api".into(), source: RuntimeError::NotRunning { id: id() }.into() }
    Kernel { doing: "attach container `api`".into(), source: kernel::KernelError::Stopped.into() }
    Dns { doing: "answer DNS".into(), source: stranger() }
    Commit { doing: "create network `web`".into(), source: conflict() }
    Record { source: record().into() }
    File { doing: "write", path: "/var/lib/fabric/x".into(), source: not_found() };
    ContainerRequest(api::ContainerCreateError::TracedInit)
    NetworkRequest(api::NetworkCreateError::ReservedName { name: parsed("host") })
    NetworkUpdate(api::NetworkUpdateError::NoSubnetLeft(parsed("web")))
    Image(ImageError::Empty);
    NoUpgrade
}

fn record() -> crate::record::RecordError {
    let source = serde_json::from_str::<u8>("").expect_err("no number");
    crate::record::RecordError::Parse { key: "revisions/1".into(), source }
}

fn contradiction() -> policy::PoliciesError {
    let text = "{apiVersion: fabric/v1, kind: Stance, metadata: {name: NAME}, networks: [web]}";
    let parse = |name: &str| policy::parse(name, policy::Syntax::Yaml, &text.replace("NAME", name), None);
    let documents = ["a", "b"].into_iter().flat_map(|name| parse(name).expect("valid"));
    policy::Policies::new(documents).expect_err("a network has one stance")
}

fn id() -> ContainerId {
    ContainerId::from_bytes([1; 16])
}

/// The failures of images and of the runtime, of which each kind is hinted at by itself.
fn of_images_and_containers() -> Vec<Failure> {
    let (object, reason) = (|| "the manifest".to_owned(), || "it ends early".to_owned());
    let digest = Digest::sha256([0; 32]);
    let images = [
        ImageError::NotTar { begins: "words".into() },
        ImageError::Compression { format: "xz", command: "xz --decompress" },
        ImageError::Malformed { archive: object(), entry: "`a`".into(), reason: reason() },
        ImageError::Hostile { archive: object(), entry: "`../a`".into(), reason: "leads out" },
        ImageError::Limit { object: object(), limit: Limit::Layers(127) },
        ImageError::Mismatch { object: object(), mismatch: Mismatch::Size { expected: 1, found: 2 } },
        ImageError::Missing { object: object() },
        ImageError::Document { object: object(), reason: reason() },
        ImageError::Several { names: vec!["a".into(), "b".into()] },
        ImageError::Platform { wanted: "linux/amd64".into(), found: vec!["linux/s390x".into()] },
        ImageError::NotFound { name: parsed("busybox") },
        ImageError::InUse { name: parsed("busybox"), digest },
        ImageError::Read { object: object(), source: not_found() },
        ImageError::Full { directory: "/var/lib/fabric".into(), source: io::ErrorKind::StorageFull.into() },
        ImageError::Storage { action: "write", path: "/x".into(), source: io::ErrorKind::StorageFull.into() },
        ImageError::Storage { action: "write", path: "/x".into(), source: io::ErrorKind::ReadOnlyFilesystem.into() },
        ImageError::Storage { action: "read", path: "/x".into(), source: io::Error::other("disk on fire") },
        ImageError::Damaged { path: "/x".into(), reason: reason() },
    ];
    let (step, path) = ("start it", PathBuf::from("/run/fabric/x"));
    let kinds = [
        FailureKind::ProgramNotFound,
        FailureKind::ProgramNotExecutable,
        FailureKind::UnknownUser,
        FailureKind::NotRunning,
        FailureKind::Other,
    ];
    let failed = |kind| runtime::Failure { kind, step: step.into(), causes: Vec::new() };
    let containers = [
        RuntimeError::Zygote { step, source: not_found() },
        RuntimeError::ZygoteGone { id: id(), source: not_found() },
        RuntimeError::ShimGone { id: id(), step },
        RuntimeError::OutOfMemory { id: id(), limit: ByteSize::from_octets(1) },
        RuntimeError::ShimSilent { id: id(), step },
        RuntimeError::Unreachable { id: id(), path: path.clone() },
        RuntimeError::Shim { id: id(), step, source: not_found() },
        RuntimeError::Path { step, path, source: io::ErrorKind::PermissionDenied.into() },
    ];
    let of_kinds = kinds.map(|kind| RuntimeError::Container { id: id(), failure: failed(kind), source: None });
    let runtime = containers.into_iter().chain(of_kinds);
    let runtime = runtime.map(|source| Failure::Runtime { doing: "start", name: "api".into(), source: source.into() });
    images.into_iter().map(Failure::Image).chain(runtime).collect()
}

#[test]
fn every_failure_is_answered_with_its_error_and_what_to_do() {
    let others = of_images_and_containers().into_iter().map(|failure| ("image or runtime", failure));
    for (kind, failure) in every().into_iter().chain(others) {
        let problem = failure.problem();
        // `api` holds that these say themselves what its hints leave out.
        let Some(hint) = problem.hint.as_deref() else {
            assert!(["NetworkRequest", "NetworkUpdate"].contains(&kind), "{kind}: {failure}");
            continue;
        };
        let says = |what: &str| format!("{kind}: {what}: {failure}\nhint: {hint}");
        assert!(hint.len() > 10, "{}", says("it says what to do"));
        assert!(!hint.ends_with('.') && !hint.starts_with(char::is_uppercase), "{}", says("as others do"));
        assert!(hint.chars().all(|character| !character.is_control()), "{}", says("in a line"));
        assert!(!failure.to_string().contains(hint), "{}", says("and not what the error says"));
        assert_eq!(hint.matches('`').count() % 2, 0, "{}", says("each command is whole"));
    }
}

#[test]
fn who_starts_a_container_is_not_told_of_options_that_start_lacks() {
    let taken = || Failure::PortTaken { publish: publish(), port: port(), holder: "api".into(), made: false };
    let in_use = |setting| {
        let (publish, listener) = (publish(), listener());
        Failure::PortInUse { publish, listener, holder: None, setting, made: false }
    };
    let hint = |failure: Failure| failure.hint().expect("there is one");
    for failure in [taken(), in_use(None), in_use(Some("dns_host_listener"))] {
        assert!(hint(failure).contains("`-p 80/tcp`"), "when it is made");
    }
    for failure in [taken(), in_use(None), in_use(Some("dns_host_listener"))] {
        let hint = hint(failure.of_made());
        assert!(!hint.contains("-p") && hint.contains("make the container anew"), "{hint}");
    }
    let own = hint(in_use(Some("dns_host_listener")));
    assert!(own.contains("`dns_host_listener` of netd.toml") && !own.contains("stop"), "{own}");
}

#[test]
fn a_hint_fits_its_cause() {
    let hints: Vec<_> = of_images_and_containers().iter().filter_map(Failure::hint).collect();
    for expected in
        ["xz --decompress", "linux/amd64", "df /x", "findmnt -T /x", "dmesg", "--memory", "--user", "chmod +x"]
    {
        assert_eq!(hints.iter().filter(|hint| hint.contains(expected)).count(), 1, "{expected}: {hints:#?}");
    }
}

#[test]
fn what_is_to_be_done_about_open_files_does_not_depend_on_what_wanted_them() {
    let refused = |number: Errno| io::Error::from_raw_os_error(number.raw_os_error());
    let of_file = |source| Failure::File { doing: "write", path: "/x".into(), source };
    let of_kernel = |source| {
        let source = Box::new(kernel::KernelError::System { action: "open a socket".into(), source });
        let change = model::Change::RemoveNamespace(parsed("x"));
        let source = kernel::KernelError::Changes(vec![kernel::Failure { change, source }]).into();
        Failure::Kernel { doing: "attach container `api`".into(), source }
    };
    let of_image = |source| ImageError::Storage { action: "write", path: "/x".into(), source }.into();
    let failures: [&dyn Fn(io::Error) -> Failure; 3] = [&of_file, &of_kernel, &of_image];
    for failure in failures {
        for (number, expected) in [(Errno::MFILE, "LimitNOFILE="), (Errno::NFILE, "fs.file-max")] {
            let failure = failure(refused(number));
            let hint = failure.hint().unwrap_or_default();
            assert!(hint.contains(expected), "{failure}: {hint}");
        }
        let failure = failure(refused(Errno::IO));
        assert!(!failure.hint().unwrap_or_default().contains("files"), "{failure}: another reason");
    }
}

#[test]
fn what_a_client_sent_is_repeated_without_controls_and_in_part() {
    let error = |text: &str| Failure::malformed(&io::Error::other(text.to_owned())).to_string();
    assert_eq!(error("unknown field `\u{1b}[2J`"), "the request is not valid: unknown field `\\u{1b}[2J`");
    let long = error(&"é".repeat(1 << 20));
    assert!(long.ends_with("é…") && long.chars().count() < 500, "{}", long.chars().count());
}
