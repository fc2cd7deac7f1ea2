//! A host: a network namespace with a `netd` of its own in it.

mod daemon;
mod reboot;
mod retire;

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{Lan, Namespace, Outcome, binaries, busybox_tar, eventually, leftovers, snapshot, within};

/// How long a full pool is waited for. A daemon that cannot fill it is counted as it is.
const POOL_PATIENCE: Duration = Duration::from_secs(10);

/// A host with its own network namespace, directories and daemon.
///
/// Dropping it removes every container and network, ends the daemon, and fails the test if anything is left.
#[derive(Debug)]
pub struct Host {
    directory: TempDir,
    namespace: Namespace,
    netd: Mutex<Option<Child>>,
    lans: Mutex<Vec<Arc<Lan>>>,
    ids: Mutex<BTreeSet<String>>,
}

/// A running container with one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// Its identifier.
    pub id: String,
    /// Its first process.
    pub pid: i64,
    /// Its address.
    pub ipv4: Ipv4Addr,
}

impl Attached {
    /// The namespace it lives in.
    pub fn namespace(&self) -> Namespace {
        Namespace::of_process(self.pid)
    }
}

impl Host {
    /// A host whose daemon runs and has the image `busybox`.
    pub fn new() -> Self {
        Self::with_config("")
    }

    /// The same, with a configuration file in TOML.
    pub fn with_config(config: &str) -> Self {
        let host = Self::stopped(config);
        host.start();
        host.import_busybox();
        host
    }

    /// A host without a running daemon, and without an image.
    pub fn stopped(config: &str) -> Self {
        // Built first: a test that cannot be run makes nothing.
        let _ = (binaries::netd(), binaries::fabric());
        let directory = TempDir::with_prefix("fabric-test-").expect("a temporary directory");
        fs::write(directory.path().join("netd.toml"), config).expect("the directory is ours");
        let namespace = Namespace::pinned(directory.path().join("host"));
        Self { directory, namespace, netd: Mutex::default(), lans: Mutex::default(), ids: Mutex::default() }
    }

    /// Puts the image `busybox` into the store.
    pub fn import_busybox(&self) {
        self.ok(&["image", "import", &busybox_tar().to_string_lossy(), "busybox"]);
    }

    /// The host's own network namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// A path in the host's temporary directory, for a test's own files.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Where the daemon keeps what must survive a boot.
    pub fn data_dir(&self) -> PathBuf {
        self.path("data")
    }

    /// Where the daemon keeps what must not.
    pub fn run_dir(&self) -> PathBuf {
        self.path("run")
    }

    /// A `fabric` command that talks to the host's daemon.
    pub fn fabric_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binaries::fabric());
        command.args(arguments).env("FABRIC_SOCKET", self.run_dir().join("netd.sock"));
        command.stdin(Stdio::null()).env_remove("RUST_BACKTRACE").env("NO_COLOR", "1");
        command
    }

    /// Runs `fabric` to its end.
    pub fn fabric(&self, arguments: &[&str]) -> Outcome {
        let output = self.fabric_command(arguments).output().expect("fabric runs");
        self.learn_ids();
        Outcome::new(format!("fabric {}", arguments.join(" ")), &output)
    }

    /// Runs `fabric` with this on its standard input; returns what it wrote as it is, and its exit code.
    pub fn fabric_with_input(&self, arguments: &[&str], input: &[u8]) -> (Vec<u8>, i32) {
        let mut command = self.fabric_command(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("fabric runs");
        let mut stdin = child.stdin.take().expect("it is piped");
        let output = std::thread::scope(|scope| {
            scope.spawn(move || {
                // A program need not read all of its input.
                let _ = stdin.write_all(input);
            });
            child.wait_with_output().expect("it is our child")
        });
        self.learn_ids();
        (output.stdout, output.status.code().unwrap_or(-1))
    }

    /// Runs `fabric`, which must succeed, and returns its standard output.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> String {
        self.fabric(arguments).success()
    }

    /// Runs `fabric … --format json`, which must succeed, and returns what it printed.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let text = self.ok(&[arguments, &["--format", "json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error} in:\n{text}"))
    }

    /// Runs a container called `name` on `network` in the background.
    #[track_caller]
    pub fn run(&self, name: &str, network: &str, options: &[&str], command: &[&str]) -> Attached {
        let start = ["run", "-d", "--name", name, "--network", network];
        self.ok(&[&start, options, &["busybox"], command].concat());
        self.attached(name)
    }

    /// The running container called `name`.
    #[track_caller]
    pub fn attached(&self, name: &str) -> Attached {
        let container = self.json(&["inspect", name]);
        assert_eq!(container["state"], "running", "{container:#}");
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("a text in {container:#}")).to_owned();
        let (id, pid) = (text(&container["id"]), container["pid"].as_i64().expect("a running container has a process"));
        self.ids.lock().expect("no holder panics").extend(leftovers::cgroup_parent(pid, &id));
        Attached { id, pid, ipv4: text(&container["endpoints"][0]["ipv4"]).parse().expect("an address") }
    }

    /// The addresses of a container on its first network, which has both families.
    #[track_caller]
    pub fn addresses(&self, name: &str) -> [IpAddr; 2] {
        let shown = self.json(&["inspect", name]);
        let address = |field: &str| shown["endpoints"][0][field].as_str().expect("both families").parse();
        ["ipv4", "ipv6"].map(|field| address(field).expect("an address"))
    }

    /// A new neighbour on a cable to the host; the first one is the host's way out.
    pub fn lan(&self) -> Arc<Lan> {
        let mut lans = self.lans.lock().expect("no holder panics");
        let path = self.path(&format!("lan{}", lans.len()));
        let lan = Arc::new(Lan::connect(&self.namespace, path, lans.len()));
        lans.push(Arc::clone(&lan));
        lan
    }

    /// Links, addresses, routes and permanent neighbours of both families, and the firewall of the host, as text.
    ///
    /// Without the veth pairs that wait for an endpoint, which [`Host::holdings`] counts: the names of the next ones
    /// differ. Looked at once no endpoint that is gone awaits the removal of its interface, which is out of use at once
    /// and removed in the background.
    pub fn kernel_state(&self) -> String {
        eventually("the interfaces of removed endpoints are gone", || {
            let links = self.namespace.run(&["ip", "-o", "link", "show"]);
            let mut ports = links.lines().filter(|link| link.contains(": fe-") && !leftovers::is_spare(link));
            ports.all(|port| port.contains(",UP")).then_some(())
        });
        snapshot::kernel_state(&self.namespace)
    }

    /// The same of the namespace of each container that runs, under its name.
    pub fn kernel_state_inside(&self) -> String {
        let containers = self.json(&["ps"]);
        let name = |container: &Value| container["name"].as_str().expect("a container has a name").to_owned();
        let names: BTreeSet<String> = containers.as_array().expect("a list").iter().map(name).collect();
        let state = |name: String| {
            let pid = self.json(&["inspect", &name])["pid"].as_i64().expect("a running container has a process");
            format!("# {name}\n{}", snapshot::kernel_state(&Namespace::of_process(pid)))
        };
        names.into_iter().map(state).collect()
    }

    /// The name of the first interface of Fabric's that is up and has this prefix, `fb-` or `fe-`.
    #[track_caller]
    pub fn interface(&self, prefix: &str) -> String {
        let links = self.namespace.run(&["ip", "-o", "link", "show", "up"]);
        let name = links.lines().filter_map(|line| line.split(": ").nth(1)).find(|name| name.starts_with(prefix));
        name.unwrap_or_else(|| panic!("no {prefix}* in:\n{links}")).split('@').next().expect("a name").to_owned()
    }

    /// The host's ends of veth pairs that wait for an endpoint.
    pub fn spare_interfaces(&self) -> Vec<String> {
        leftovers::spares(&self.namespace)
    }

    /// `fabric doctor` finds everything as it should be.
    #[track_caller]
    pub fn assert_healthy(&self) {
        let outcome = self.fabric(&["doctor"]);
        assert_eq!(outcome.code, 0, "{outcome}\n{}", self.log_tail());
    }

    /// What the daemon holds on the machine that is neither link nor rule: mounts, processes and control groups,
    /// counted by kind. Two equal counts mean that nothing came and nothing went.
    ///
    /// Counted once the counts stay the same: the pool of namespaces is filled in the background, some time after one
    /// was taken from it.
    pub fn holdings(&self) -> Vec<String> {
        self.learn_ids();
        // A daemon that stands still while it fills the pool must not look like one that has filled it.
        if self.netd().is_some() {
            let is_full = || leftovers::is_pool_full(&self.namespace, &self.run_dir(), self.namespace_pool());
            let _ = within(POOL_PATIENCE, || is_full().then_some(()));
        }
        let count = || leftovers::holdings(self.directory.path(), &self.namespace, &self.run_dir(), &self.known_ids());
        let (mut last, mut same) = (count(), 0);
        eventually("the counts stay the same", || {
            thread::sleep(Duration::from_millis(100));
            let now = count();
            same = if now == last { same + 1 } else { 0 };
            last = now;
            (same == 3).then(|| last.clone())
        })
    }

    /// How many namespaces the daemon keeps ready, as its configuration has it.
    fn namespace_pool(&self) -> usize {
        const DEFAULT: usize = 4;
        let config = fs::read_to_string(self.path("netd.toml")).unwrap_or_default();
        let value = config.lines().find_map(|line| line.strip_prefix("namespace_pool = ")?.trim().parse().ok());
        value.unwrap_or(DEFAULT)
    }

    /// Remembers the containers there are, so that control groups can be told from those of other hosts.
    fn learn_ids(&self) {
        let entries = fs::read_dir(self.data_dir().join("containers")).into_iter().flatten().map_while(Result::ok);
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        self.ids.lock().expect("no holder panics").extend(names);
    }

    fn known_ids(&self) -> Vec<String> {
        self.ids.lock().expect("no holder panics").iter().cloned().collect()
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}
