//! Programs that answer DNS for a thousand names, each on a bridge of its own, asked over a veth pair as containers
//! ask.

use std::{fs, net::Ipv4Addr, path::PathBuf, process::Child, thread, time::Duration};

use super::{Absence, built, echo::Echo, find, finish};
use crate::place::{Place, end};

/// How many containers the names belong to.
pub(crate) const HOLDERS: usize = 10;
/// How many names each of them has.
pub(crate) const NAMES: usize = 100;

/// The name that a holder has at a place.
pub(crate) fn name(holder: usize, number: usize) -> String {
    format!("name-{holder}-{number}")
}

fn address(holder: usize) -> Ipv4Addr {
    let last = u8::try_from(holder).expect("there are few holders");
    Ipv4Addr::new(10, 97, 1, last)
}

/// What answers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Software {
    /// Podman's DNS server.
    Aardvark,
    Dnsmasq,
    /// With a thread for each processor.
    Unbound,
    /// Nothing is looked up: the query comes back, marked as a response.
    Echo,
}

/// A host that answers, and one that asks.
pub(crate) struct Resolver {
    /// Where questions come from.
    pub(crate) client: Place,
    /// Ended before its place is.
    server: Server,
    host: Place,
}

enum Server {
    Process(Child),
    /// A process that ends with its place.
    Daemon(u32),
    Thread(Echo),
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Self::Process(child) = self {
            end(child);
        }
    }
}

impl Resolver {
    /// Where it answers, on port 53.
    pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 97, 0, 1);
    const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 97, 0, 2);

    pub(crate) fn start(software: Software) -> Result<Self, Absence> {
        let host = Place::apart("")?;
        let client = host.neighbour(Self::SERVER, Self::CLIENT)?;
        let server = match software {
            Software::Aardvark => aardvark(&host)?,
            Software::Dnsmasq => dnsmasq(&host)?,
            Software::Unbound => unbound(&host)?,
            Software::Echo => Server::Thread(Echo::start(&host, (Self::SERVER, 53).into())?),
        };
        let resolver = Self { client, server, host };
        resolver.await_listener()?;
        Ok(resolver)
    }

    /// The process that answers, or the thread.
    pub(crate) fn number(&self) -> u32 {
        match &self.server {
            Server::Process(child) => child.id(),
            Server::Daemon(process) => *process,
            Server::Thread(echo) => echo.number(),
        }
    }

    fn await_listener(&self) -> Result<(), Absence> {
        for _ in 0..500 {
            if !self.host.sh("ss -ulnH sport = :53")?.is_empty() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(10));
        }
        let log = fs::read_to_string(self.host.log("server")).unwrap_or_default();
        Err(format!("it does not listen: {}", log.lines().last().unwrap_or_default()))
    }
}

fn write(host: &Place, file: &str, text: &str) -> Result<PathBuf, Absence> {
    let path = host.data().join(file);
    let directory = path.parent().expect("it lies in the place's directory");
    fs::create_dir_all(directory).and_then(|()| fs::write(&path, text)).map_err(|error| error.to_string())?;
    Ok(path)
}

/// One line for each name.
fn lines(line: impl Fn(String, Ipv4Addr) -> String) -> String {
    let names = (0..HOLDERS).flat_map(|holder| (0..NAMES).map(move |number| (name(holder, number), address(holder))));
    names.map(|(name, address)| line(name, address)).collect()
}

fn aardvark(host: &Place) -> Result<Server, Absence> {
    let program = built("aardvark-dns").ok_or("aardvark-dns 2.1 has not been built")?;
    let mut text = format!("{}\n{:064x} {}  client\n", Resolver::SERVER, HOLDERS, Resolver::CLIENT);
    for holder in 0..HOLDERS {
        let names: Vec<String> = (0..NAMES).map(|number| name(holder, number)).collect();
        text += &format!("{holder:064x} {}  {}\n", address(holder), names.join(","));
    }
    let file = write(host, "aardvark/bench", &text)?;
    let directory = file.parent().expect("it lies in a directory of its own");
    let mut command = host.command(program);
    command.arg("--config").arg(directory).args(["--port", "53", "--filter-search-domain", ".dns.podman", "run"]);
    // It leaves a daemon behind once that answers.
    finish(&mut command)?;
    let file = directory.join("aardvark.pid");
    let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    text.trim().parse().map(Server::Daemon).map_err(|_| "aardvark-dns wrote no pid".to_owned())
}

fn dnsmasq(host: &Place) -> Result<Server, Absence> {
    find("dnsmasq")?;
    let hosts = write(host, "hosts", &lines(|name, address| format!("{address} {name}\n")))?;
    let mut command = host.command("dnsmasq");
    command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root"]);
    command.arg(format!("--listen-address={}", Resolver::SERVER)).args(["--bind-interfaces", "--pid-file="]);
    command.arg(format!("--addn-hosts={}", hosts.display()));
    host.spawn(&mut command, "server").map(Server::Process)
}

fn unbound(host: &Place) -> Result<Server, Absence> {
    find("unbound")?;
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut text = format!(
        "server:\n interface: {}\n access-control: 0.0.0.0/0 allow\n do-daemonize: no\n username: \"\"\n chroot: \"\"\n \
         pidfile: \"\"\n use-syslog: no\n num-threads: {threads}\n so-reuseport: yes\n module-config: \"iterator\"\n",
        Resolver::SERVER
    );
    text += &lines(|name, address| format!(" local-data: \"{name}. 5 IN A {address}\"\n"));
    text += "remote-control:\n control-enable: no\n";
    let file = write(host, "unbound.conf", &text)?;
    host.spawn(host.command("unbound").arg("-c").arg(file), "server").map(Server::Process)
}
