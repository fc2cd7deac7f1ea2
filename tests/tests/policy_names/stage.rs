//! The scene of the tests: a container that a rule about names is for, a world, and a name server that says what a test
//! has it say.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use tests::{Answer, Attached, Host, Lan, NameServer, Namespace, RecordType, ask};

pub(crate) const SLEEP: [&str; 2] = ["sleep", "1000"];
/// What takes longer to come about is filtered.
pub(crate) const FILTERED: Duration = Duration::from_millis(700);
pub(crate) const ECHO: u16 = 7000;
pub(crate) const POLICY: &str = "\
apiVersion: fabric/v1
kind: Policy
metadata: {name: names}
networks: [web]
subject: {labels: {app: client}}
egress:
- {action: allow, to: [{entity: host}], ports: [53/udp, 53]}
- {action: allow, to: [{dns: [api.example.com, '*.cdn.example.com']}], ports: [7000]}
- {action: deny, order: 200, log: true}
";

/// A client that a rule about names is for, a neighbour that none is for, and a world: the LAN has every address of
/// 198.51.100.0/24 and 2001:db8:1::/64, and echoes at all of them.
pub(crate) struct Stage {
    pub(crate) host: Host,
    pub(crate) lan: Arc<Lan>,
    pub(crate) upstream: NameServer,
    pub(crate) client: Attached,
    pub(crate) other: Attached,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::of(|host| host.start())
    }

    pub(crate) fn of(start: impl FnOnce(&Host)) -> Self {
        let host = Host::stopped("upstreams = ['127.0.0.1:5353']");
        let lan = host.lan();
        lan.speak_ipv6(host.namespace());
        start(&host);
        host.import_busybox();
        let upstream = NameServer::start(host.namespace(), (Ipv4Addr::LOCALHOST, 5353).into());
        lan.namespace.run(&["ip", "route", "add", "local", "198.51.100.0/24", "dev", "lo"]);
        lan.namespace.run(&["ip", "-6", "route", "add", "local", "2001:db8:1::/64", "dev", "lo"]);
        echo(&lan.namespace);
        host.ok(&["network", "create", "web", "--ipv6"]);
        let client = host.run("client", "web", &["-l", "app=client"], &SLEEP);
        let other = host.run("other", "web", &[], &SLEEP);
        let stage = Self { host, lan, upstream, client, other };
        let open = stage.connects(&stage.client, world(1)) && stage.connects(&stage.client, world6(1));
        assert!(open, "control: without a policy everything is open");
        stage.apply(POLICY);
        stage
    }

    pub(crate) fn apply(&self, text: &str) {
        let file = self.host.path("policies.yaml");
        fs::write(&file, text).expect("the directory is ours");
        self.host.ok(&["policy", "apply", "-f", &file.to_string_lossy()]);
    }

    pub(crate) fn connects(&self, from: &Attached, to: IpAddr) -> bool {
        connect(&from.namespace(), to, FILTERED).is_some()
    }

    /// What a container is answered.
    pub(crate) fn ask(&self, from: &Attached, name: &str, kind: RecordType) -> Answer {
        ask(&from.namespace(), server(&from.namespace()), name, kind).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Has the client learn the one address of a name.
    #[track_caller]
    pub(crate) fn learn(&self, name: &str, address: IpAddr) {
        let kind = if address.is_ipv4() { RecordType::A } else { RecordType::Aaaa };
        let answer = self.ask(&self.client, name, kind);
        assert_eq!(answer.records.last(), Some(&address.to_string()), "{name}: {answer:?}\n{}", self.host.log_tail());
    }

    /// How many packets the last rule has denied, which a first segment that was lost would be.
    pub(crate) fn denied(&self) -> u64 {
        let shown = self.host.json(&["policy", "inspect", "names"]);
        shown["counters"][0]["packets"].as_u64().unwrap_or_else(|| panic!("it counts: {shown:#}"))
    }

    /// What is explained of a connection of the client's.
    pub(crate) fn verdict(&self, to: IpAddr) -> String {
        let to = SocketAddr::new(to, ECHO).to_string();
        let explained = self.host.json(&["policy", "explain", "client", &to]);
        explained[0]["verdict"].as_str().expect("a verdict").to_owned()
    }
}

pub(crate) fn world(last: u8) -> IpAddr {
    Ipv4Addr::new(198, 51, 100, last).into()
}

pub(crate) fn world6(last: u16) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, last).into()
}

/// The name server of a container: its gateway.
pub(crate) fn server(namespace: &Namespace) -> SocketAddr {
    let routes = namespace.run(&["ip", "-4", "route", "show", "default"]);
    let gateway: IpAddr = routes.split_whitespace().nth(2).expect("a gateway").parse().expect("an address");
    SocketAddr::new(gateway, 53)
}

pub(crate) fn connect(from: &Namespace, to: IpAddr, patience: Duration) -> Option<TcpStream> {
    from.enter(|| TcpStream::connect_timeout(&SocketAddr::new(to, ECHO), patience).ok())
}

/// Echoes at every address there.
pub(crate) fn echo(namespace: &Namespace) {
    let listener = namespace.enter(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, ECHO)).expect("free"));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
        }
    });
}
