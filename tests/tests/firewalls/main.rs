//! The host's own firewall is asked, never bypassed: with plain nftables, ufw and firewalld, as `docs/firewalls.md`
//! says.
//!
//! ufw and firewalld are Debian's, unpacked by `scripts/install-dependencies` and laid over `/usr` and `/etc` in mount
//! namespaces of their own: they are not installed, and the machine's own firewall never hears of them.

mod reload;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    panic::resume_unwind,
    path::Path,
    process::{Child, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use tests::{Attached, Host, Lan, RecordType, ask_within, eventually, fetch, serve};

const FIREWALLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/firewalls");
/// Lays the firewalls over the machine's files, in the calling process's own mount namespace, with what they write kept
/// in the directory that is the first argument; then becomes the rest.
const OVER: &str = r#"
    set -e
    state=$1 firewalls=$2; shift 2
    for part in usr etc; do
        mkdir -p "$state/$part" "$state/$part.work"
        mount -t overlay overlay -o "lowerdir=$firewalls/$part:/$part,upperdir=$state/$part,workdir=$state/$part.work" "/$part"
    done
    mount -t tmpfs tmpfs /run
    exec "$@"
"#;

/// A host with a neighbour, a container that publishes and serves, and a firewall to come.
struct Site {
    host: Host,
    lan: Arc<Lan>,
    api: Attached,
    /// The neighbour's addresses, the host's towards it, and the container's, of both families.
    outside: [IpAddr; 2],
    on_lan: [IpAddr; 2],
    inside: [IpAddr; 2],
}

/// What gets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Passes {
    /// From the LAN to a published port.
    published: bool,
    /// From a container to the LAN.
    outgoing: bool,
    /// From a container to its network's DNS.
    names: bool,
    /// From the LAN, which has a route, to a port that is not published.
    unpublished: bool,
}

// Of both families.
const ALL: [Passes; 2] = [Passes { published: true, outgoing: true, names: true, unpublished: false }; 2];
const NONE: [Passes; 2] = [Passes { published: false, outgoing: false, names: false, unpublished: false }; 2];
const PUBLISHED: [Passes; 2] = [Passes { published: true, ..NONE[0] }; 2];
const NOT_PUBLISHED: [Passes; 2] = [Passes { published: false, ..ALL[0] }; 2];

impl Site {
    /// Fabric's table, but for which connections containers have had open lately.
    fn rules(&self) -> String {
        let text = self.host.namespace().run(&["nft", "--stateless", "list", "table", "inet", "fabric"]);
        let is_counted = |line: &str| line.contains("ct count over") && !line.trim_start().starts_with("add @");
        text.lines().filter(|line| !is_counted(line)).map(|line| format!("{line}\n")).collect()
    }

    fn new() -> Self {
        assert!(Path::new(FIREWALLS).join("complete").exists(), "run scripts/install-dependencies first");
        let host = Host::new();
        let lan = host.lan();
        let [lan6, host6] = lan.speak_ipv6(host.namespace());
        host.ok(&["network", "create", "web", "--ipv6"]);
        let publish = ["-p", "8080:80", "-p", "7000:7", "-p", "5300-5301:5300-5301/udp"];
        let api = host.run("api", "web", &publish, &["httpd", "-f", "-p", "80", "-h", "/etc"]);
        let namespace = api.namespace();
        eventually("the server listens", || fetch(&namespace, Ipv4Addr::LOCALHOST, 80, "hostname").ok());
        let (outside, on_lan) = ([lan.address.into(), lan6.into()], [lan.host_address.into(), host6.into()]);
        let inside = host.addresses("api");
        let site = Self { host, lan, api, outside, on_lan, inside };
        assert_eq!(site.passes(), ALL, "without a firewall");
        site
    }

    /// What gets through, of each family.
    fn passes(&self) -> [Passes; 2] {
        thread::scope(|scope| {
            let looks = [0, 1].map(|family| scope.spawn(move || self.passes_of(family)));
            looks.map(|look| look.join().unwrap_or_else(|panic| resume_unwind(panic)))
        })
    }

    fn passes_of(&self, family: usize) -> Passes {
        let (outside, inside) = (&self.lan.namespace, self.api.namespace());
        let (neighbour, on_lan) = (self.outside[family], self.on_lan[family]);
        let published = fetch(outside, on_lan, 8080, "hostname").is_ok();
        let server = serve(outside, neighbour, 9000);
        let outgoing = fetch(&inside, neighbour, 9000, "").is_ok();
        if !outgoing {
            // Nobody came, and the server waits for somebody.
            fetch(self.host.namespace(), neighbour, 9000, "").expect("the host itself reaches the LAN");
        }
        server.join().expect("it served");
        let subnets = &self.host.json(&["network", "inspect", "web"])["subnets"];
        let gateway: IpAddr = subnets[family]["gateway"].as_str().expect("it has one").parse().expect("an address");
        // Three times: what is dropped is so always, and a machine that stands still does not do so all the time.
        let ask = |_| ask_within(Duration::from_secs(2), &inside, (gateway, 53).into(), "api", RecordType::A).is_ok();
        let names = (0..3).any(ask);
        let unpublished = fetch(outside, self.inside[family], 80, "hostname").is_ok();
        // Nothing can be published on ::1.
        let own = if on_lan.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { on_lan };
        fetch(self.host.namespace(), own, 8080, "hostname").expect("the host itself reaches it always");
        Passes { published, outgoing, names, unpublished }
    }

    /// What the doctor says of other firewalls.
    fn diagnosis(&self) -> (String, String) {
        let doctor = self.host.json(&["doctor"]);
        let mut checks = doctor["checks"].as_array().expect("a list").iter();
        let check = checks.find(|check| check["name"] == "firewalls").expect("it is looked at");
        (check["result"].as_str().expect("a word").to_owned(), check.to_string())
    }

    /// The doctor warns, and names all of these.
    #[track_caller]
    fn assert_warns_of(&self, words: &[&str]) {
        let (result, text) = self.diagnosis();
        assert_eq!(result, "warning", "{text}");
        words.iter().for_each(|word| assert!(text.contains(word), "{word}: {text}"));
    }

    /// A command of a firewall, which must succeed.
    #[track_caller]
    fn run(&self, line: &[&str]) -> String {
        let output = self.command(line).output().expect("unshare runs");
        let shown = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
        assert!(output.status.success(), "{line:?}: {shown}");
        shown
    }

    fn command(&self, line: &[&str]) -> std::process::Command {
        let mut command = self.host.namespace().command("unshare");
        // Each program has what it writes for itself: one directory cannot lie over two mounts at once.
        let (state, bus) = (self.host.path(line[0]), format!("unix:path={}", self.bus().display()));
        command.args(["--mount", "--propagation", "private", "bash", "-c", OVER, "bash"]).arg(state).arg(FIREWALLS);
        command.args(line).env("DBUS_SYSTEM_BUS_ADDRESS", bus).stdin(Stdio::null());
        command
    }

    fn bus(&self) -> std::path::PathBuf {
        self.host.path("bus")
    }
}

#[test]
fn plain_nftables_is_asked() {
    let site = Site::new();
    let nft = |script: &str| site.host.namespace().run(&["nft", script]);
    nft("table inet filter {
        chain input { type filter hook input priority filter; policy drop;
            iifname lo accept
            ct state established,related accept
            meta l4proto ipv6-icmp accept
        }
        chain forward { type filter hook forward priority filter; policy drop;
            ct state established,related accept
        }
    }");
    assert_eq!(site.passes(), NONE, "a drop of any table is final");
    site.assert_warns_of(&["table inet filter, chain forward", "table inet filter, chain input", "nft insert rule"]);
    nft("add rule inet filter forward oifname \"fb-*\" accept");
    assert_eq!(site.passes(), PUBLISHED);
    nft("add rule inet filter forward iifname \"fb-*\" accept");
    nft("add rule inet filter input iifname \"fb-*\" meta l4proto { tcp, udp } th dport 53 accept");
    assert_eq!(site.passes(), ALL, "and what is not published stays closed by Fabric's own rules");
    assert_eq!(site.diagnosis().0, "ok");
    for (family, neighbour) in ["ip", "ip6"].iter().zip(site.outside) {
        nft(&format!("insert rule inet filter forward {family} saddr {neighbour} tcp dport 80 drop"));
    }
    let said = "who is kept out stays out; the rule sees the client and the container's port";
    assert_eq!(site.passes(), NOT_PUBLISHED, "{said}");
    nft("delete table inet filter");
}

#[test]
fn ufw_is_asked_and_reloads_without_harm() {
    let site = Site::new();
    site.run(&["ufw", "--force", "enable"]);
    assert_eq!(site.passes(), NONE, "ufw lets nothing be forwarded by default");
    let remedies = [
        "table ip filter, chain FORWARD",
        "drops what is published to containers",
        "ufw route allow out on fb-+",
        "ufw route allow in on fb-+",
        "ufw allow in on fb-+ to any port 53",
    ];
    site.assert_warns_of(&remedies);
    site.open_ufw();
    assert_eq!(site.passes(), ALL);
    assert_eq!(site.diagnosis().0, "ok");
    let rules = || site.rules();
    let before = rules();
    site.run(&["ufw", "reload"]);
    assert_eq!(rules(), before);
    assert_eq!(site.passes(), ALL, "after a reload");
    for neighbour in site.outside.map(|address| address.to_string()) {
        let deny = ["ufw", "route", "prepend", "deny", "proto", "tcp", "from", &neighbour, "to", "any", "port", "80"];
        site.run(&deny);
    }
    assert_eq!(site.passes(), NOT_PUBLISHED, "who is kept out stays out");
    site.disable_ufw();
}

/// A process that ends with the test, also with one that fails.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        // Already ended is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Site {
    /// Lets ufw pass what containers send and are sent.
    fn open_ufw(&self) {
        self.run(&["ufw", "route", "allow", "out", "on", "fb-+"]);
        self.run(&["ufw", "route", "allow", "in", "on", "fb-+"]);
        self.run(&["ufw", "allow", "in", "on", "fb-+", "to", "any", "port", "53"]);
    }

    fn disable_ufw(&self) {
        self.run(&["ufw", "disable"]);
        assert_eq!(self.passes(), ALL, "without ufw");
        for family in ["ip", "ip6"] {
            self.host.namespace().run(&["nft", "delete", "table", family, "filter"]);
        }
    }

    /// Starts firewalld and the bus that it is spoken to by.
    fn start_firewalld(&self) -> [Ends; 2] {
        let configuration = self.host.path("bus.conf");
        fs::write(
            &configuration,
            format!(
                "<busconfig><type>system</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>\
                 <policy context='default'><allow user='*'/><allow own='*'/><allow send_destination='*'/>\
                 <allow receive_sender='*'/></policy></busconfig>",
                self.bus().display()
            ),
        )
        .expect("the directory is ours");
        let start = |line: &[&str]| {
            let mut command = self.command(line);
            Ends(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("unshare runs"))
        };
        let file = format!("--config-file={}", configuration.display());
        let bus = start(&["dbus-daemon", &file, "--nofork", "--nopidfile"]);
        eventually("the bus is there", || self.bus().exists().then_some(()));
        let firewalld = start(&["firewalld", "--nofork", "--nopid"]);
        let is_up = || self.command(&["firewall-cmd", "--state"]).output().is_ok_and(|output| output.status.success());
        eventually("firewalld runs", || is_up().then_some(()));
        [firewalld, bus]
    }

    /// Lets firewalld pass what containers send and are sent, from its next reload on.
    fn open_firewalld(&self) {
        self.run(&["firewall-cmd", "--permanent", "--zone=trusted", "--add-interface=fb-+"]);
    }

    fn end_firewalld(&self, processes: [Ends; 2]) {
        drop(processes);
        let tables = self.host.namespace().run(&["nft", "list", "tables"]);
        for table in tables.lines().filter(|table| table.ends_with(" firewalld")) {
            self.host.namespace().run(&[&["nft", "delete"], &table.split(' ').collect::<Vec<_>>()[..]].concat());
        }
    }
}

#[test]
fn firewalld_is_asked_and_reloads_without_harm() {
    let site = Site::new();
    let processes = site.start_firewalld();
    // firewalld itself lets pass what was led elsewhere by DNAT, whoever did it.
    assert_eq!(site.passes(), PUBLISHED);
    site.assert_warns_of(&["table inet firewalld", "firewall-cmd --permanent --zone=trusted --add-interface=fb-+"]);
    site.open_firewalld();
    let rules = || site.rules();
    let before = rules();
    site.run(&["firewall-cmd", "--reload"]);
    assert_eq!(site.passes(), ALL);
    assert_eq!(site.diagnosis().0, "ok");
    site.run(&["firewall-cmd", "--reload"]);
    assert_eq!((site.passes(), rules()), (ALL, before), "after another reload");
    site.end_firewalld(processes);
}
