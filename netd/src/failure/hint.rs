//! What to do about a failure. The commands that are named here are those of the command line, which is how most people
//! come to see one.

use std::{io, net::IpAddr};

use api::Elsewhere;
use model::{Driver, IPV6_MTU, Publish, nearest};

use super::{Failure, Noun, Purpose, cause};
use crate::containers::LEAST_MEMORY;

impl Failure {
    /// What a person can do about it. There is always something; nothing is said where the error says it itself.
    pub(super) fn hint(&self) -> Option<String> {
        // Whatever it was that wanted another file.
        if let Some(text) = cause::of_open_files(self) {
            return Some(text.to_owned());
        }
        Some(match self {
            Self::Unknown { noun: Noun::Network, name, .. } if api::NetworkMode::RESERVED.contains(&name.as_str()) => {
                let rest = if name == "container" { ":NAME" } else { "" };
                format!("`{name}` is no network but a mode of containers: `fabric run --network {name}{rest}`")
            }
            Self::Unknown { nearest: Some(nearest), .. } => format!("did you mean `{nearest}`?"),
            Self::Unknown { noun: Noun::Network, name, purpose: Purpose::Use, .. } => {
                format!("`fabric network ls` lists those there are; `fabric network create {name}` makes it")
            }
            Self::Unknown { noun: Noun::Container, .. } => "`fabric ps -a` lists those there are".into(),
            Self::Unknown { noun: Noun::Image, name, purpose: Purpose::Use, .. } => {
                format!("`fabric image ls` lists those there are; `fabric image import PATH {name}` adds it")
            }
            Self::Unknown { noun, .. } => format!("`fabric {} ls` lists those there are", noun.word()),
            Self::Ambiguous { .. } => "give more of the id, or the name".into(),
            Self::NameTaken { noun: Noun::Container, name } => {
                format!("choose another name, or remove that one with `fabric rm {name}`")
            }
            Self::NameTaken { noun, name } => {
                format!("choose another name, or remove that one with `fabric {} rm {name}`", noun.word())
            }
            Self::PolicyDocuments { errors } => errors.iter().find_map(policy::DocumentError::hint).map_or_else(
                || "nothing was changed: mend the files, or leave these documents out, and apply them again".to_owned(),
                str::to_owned,
            ),
            Self::UnknownRevision { known: None, .. } => "no policies were applied on this host yet".into(),
            Self::UnknownRevision { known: Some((first, last)), .. } => {
                format!("`fabric policy history` lists those that are kept: {first} to {last}, and 0 is none in force")
            }
            Self::Policies { .. } | Self::PolicyNames { .. } => {
                "leave one of them out, or take it out of force: `fabric policy rm NAME`".into()
            }
            Self::NetworkBeyondReach { policies, .. } => {
                let names: Vec<&str> = policies.iter().map(|(name, _)| name.as_str()).take(5).collect();
                let names = names.join(" ");
                format!("give the network another name or driver bridge, or take them out first: `fabric policy rm {names}`")
            }
            Self::NetworkInUse { network, .. } => format!(
                "take them off it with `fabric network disconnect {network} NAME`, or remove them with `fabric rm`; stopped \
                 ones count, `fabric ps -a` shows them"
            ),
            Self::ImageInUse { .. } => {
                "remove them first with `fabric rm`; stopped ones count, `fabric ps -a` shows them".into()
            }
            Self::ImageWithNames { .. } => "take one away after the other, by name; with the last the image goes".into(),
            Self::HalfMade { network, .. } => format!(
                "free what it lacks, then `fabric doctor --fix`; or remove who is on it, and `fabric network rm {network}`"
            ),
            Self::AddressesHeld { network, held } => {
                let holder = held.first().map_or("NAME", |(_, holder)| holder);
                format!("free them first: `fabric network disconnect {network} {holder}`")
            }
            Self::NoRoute { .. } | Self::NoMethod { .. } => {
                format!("`GET {}` describes all that it has", api::route::OPENAPI)
            }
            Self::Malformed { .. } => format!("`GET {}` describes what can be asked for", api::route::OPENAPI),
            Self::NoUpgrade => format!("send the headers `Connection: upgrade` and `Upgrade: {}`", api::route::UPGRADE),
            Self::ContainerRequest(error) => error.hint(),
            Self::NetworkRequest(error) => return error.hint(),
            Self::NetworkUpdate(error) => return error.hint(),
            Self::Range { source, .. } | Self::NoRange { source, .. } | Self::Address { source, .. } => {
                source.hint().into()
            }
            Self::AddressRefused { network, source, .. } => match &**source {
                ipam::IpamError::NoSubnet { .. } => format!(
                    "leave the address out, or give the network such a subnet: `fabric network update {network} --add-subnet RANGE`"
                ),
                source => source.hint().into(),
            },
            Self::AddressTaken { .. } => "ask for another address, or for none to have a free one chosen".into(),
            Self::MacTaken { .. } => "ask for another MAC address, or for none to have one derived".into(),
            Self::AlreadyConnected { container, network } => {
                format!("to change the attachment, end it first: `fabric network disconnect {network} {container}`")
            }
            Self::InterfaceTaken { .. } => "choose another name, or none to have the lowest free `eth0`, `eth1` and so on".into(),
            Self::NotConnected { container, .. } => format!("`fabric inspect {container}` shows its networks"),
            Self::StillLeaving { container, network } => {
                format!("complete that first: `fabric network disconnect {network} {container}`")
            }
            Self::Commit { source, .. } => match &**source {
                store::CommitError::Store(error) => error.hint().into(),
                // Somebody else was quicker, or netd is wrong about what it does.
                _ => "look what there is now, and try again".into(),
            },
            Self::PortTaken { holder, made: true, .. } => {
                format!("{}; for another host port make the container anew", freeing(holder))
            }
            Self::PortTaken { publish, holder, .. } => format!(
                "choose another host port, or leave the choice to Fabric: `-p {}`; {}",
                without_host_ports(publish),
                freeing(holder)
            ),
            Self::PortInUse { publish, setting, made, .. } => {
                let free = match setting {
                    Some(setting) => {
                        format!("change the setting `{setting}` of netd.toml, by which netd itself listens there")
                    }
                    None => "stop it".to_owned(),
                };
                match made {
                    true => format!("{free}; for another host port make the container anew"),
                    false => format!(
                        "{free}, choose another host port, or leave the choice to Fabric: `-p {}`",
                        without_host_ports(publish)
                    ),
                }
            }
            Self::AddressNotHere { .. } | Self::AddressUnusable { .. } => {
                "`ip address` lists the host's addresses; without one, all of them are listened on".into()
            }
            Self::PublishLeadsNowhere { .. } => {
                "leave out the host address, or attach it to a network that has a subnet of that family".into()
            }
            Self::PublishInternal { .. } => {
                "leave out `-p`, which other containers of the network and the host do without, or attach it to a network \
                 that gives a default route as well, and is neither internal nor isolated: `--network NAME`"
                    .into()
            }
            Self::NoPortFree { .. } => "publish fewer ports, or name the host ports".into(),
            Self::NoParent { known, .. } | Self::NoVlanLink { known, .. } | Self::LoopbackParent { known, .. }
                if known.is_empty() =>
            {
                "this host has no interface but the loopback interface".into()
            }
            Self::LoopbackParent { known, .. } => format!("it has: {}", known.join(", ")),
            Self::NoParent { parent, known, .. } | Self::NoVlanLink { link: parent, known, .. } => {
                let nearest = nearest(parent.as_str(), known.iter().map(String::as_str));
                let meant = nearest.map(|name| format!("did you mean `{name}`? ")).unwrap_or_default();
                format!("{meant}it has: {}", known.join(", "))
            }
            Self::VlanNumber { .. } => {
                "`parent=eth0.10` has an interface made for VLAN 10 of `eth0`; the number has no zeros before it".into()
            }
            Self::VlanElsewhere { interface, .. } => format!("use it: `--opt parent={interface}`"),
            Self::NoVlans { .. } => {
                "`modprobe 8021q` brings them, if the kernel was built with CONFIG_VLAN_8021Q".into()
            }
            Self::ParentMtu { asked: IPV6_MTU, parent, mtu, .. } if *mtu < IPV6_MTU => {
                format!("IPv6 takes an MTU of {IPV6_MTU}: give `{parent}` as much, or leave subnets of IPv6 out")
            }
            Self::ParentMtu { mtu, .. } => format!(
                "give {mtu} or less; a network that is created without an MTU has its parent's and follows it, and so does \
                 one that is updated with `--mtu auto`"
            ),
            Self::ParentTaken { holder, .. } => {
                let freeing = freeing(holder.as_str());
                format!("{freeing}; containers share a parent on networks with another mode than passthru")
            }
            Self::ParentHeld { holder, .. } => format!(
                "an interface of the host carries macvlan or ipvlan, and ipvlan in one mode and with one flag: choose another \
                 interface, or what network `{holder}` has; `fabric network rm {holder}` frees it"
            ),
            Self::NoFacility { driver, .. } => {
                let other = if *driver == Driver::Ipvlan { "; `--driver macvlan` does without it" } else { "" };
                let option = format!("CONFIG_{driver}").to_uppercase();
                format!("`modprobe {driver}` brings it, if the kernel was built with {option}{other}")
            }
            Self::MacOfParent { .. } => "leave it out; `--driver macvlan` gives each endpoint its own".into(),
            Self::PublishOnLan { .. } => {
                "leave it out: the container's own address can be reached from the LAN; or let its default route lead \
                 over a bridge network with `gw-priority=`"
                    .into()
            }
            Self::JoinsASharer { elsewhere: Elsewhere::Host, .. } => "use the host's as well: `--network host`".into(),
            Self::JoinsASharer { elsewhere: Elsewhere::Container(name), .. } => {
                format!("share that one's as well: `--network container:{name}`")
            }
            Self::JoinedNotRunning { joined, .. } => format!("start it first: `fabric start {joined}`"),
            Self::JoinedGone { sharer, .. } => {
                format!("remove it with `fabric rm {sharer}`, and run it anew with a container that runs")
            }
            Self::HostPath { path, source } if source.kind() == io::ErrorKind::NotFound => {
                format!("nothing is made on the host by mounting it: `mkdir -p {}`", path.display())
            }
            Self::HostPath { source, .. } if source.kind() == io::ErrorKind::TimedOut => {
                "a network file system whose server is away does not answer: bring the server back, or unmount it".into()
            }
            Self::HostPath { .. } => "netd itself must be able to look at it: see its mode and its mount".into(),
            Self::NoDns { name } => format!("connect it first: `fabric network connect NETWORK {name}`"),
            Self::NoCommand { .. } => "name the program to run after the image".into(),
            Self::TooLittleMemory { .. } => {
                format!("give it `--memory {LEAST_MEMORY}` or more, which being made takes a part of")
            }
            Self::Image(source) => cause::of_image(source),
            Self::ImageGone { name, image } => {
                format!("import it again with `fabric image import PATH {image}`, then `fabric start {name}`")
            }
            Self::Runtime { name, source, .. } => cause::of_runtime(source, name),
            Self::StillRunning { name } | Self::Restarting { name } => {
                format!("stop it first with `fabric stop {name}`, or use `fabric rm -f {name}`")
            }
            Self::NotRunning { .. } => "`fabric ps -a` shows what its state is, `fabric logs` what it wrote".into(),
            Self::NotStarted { name } => format!("start it: `fabric start {name}`"),
            Self::HostEnds { .. } => "start it when the host is up again".into(),
            Self::AlreadyRunning { name } => format!("`fabric restart {name}` ends it first and starts it anew"),
            Self::BeingRemoved { .. } => "wait until `fabric ps -a` shows it no more; its name is free then".into(),
            Self::StoppedMeanwhile { name } => format!("`fabric start {name}` starts it nevertheless"),
            Self::EndsOnce { name } => format!("stop it with `fabric stop {name}`, and run it anew, without `--rm`"),
            Self::Kernel { source, .. } if source.is_full_bridge() => {
                "a network has room for 1,023 running containers on one host; make another one for more".into()
            }
            Self::Kernel { source, .. } if source.is_without_bridge_filter() => {
                "load it: `modprobe br_netfilter`; a file in /etc/modules-load.d has it loaded at each start".into()
            }
            Self::Kernel { .. } | Self::Dns { .. } => "`fabric doctor` compares what should be with what is".into(),
            Self::Record { .. } => "another version of netd wrote it: what is in force stays so".into(),
            Self::File { path, source, .. } => cause::of_file(path, source),
        })
    }
}

/// What makes a container let go of what it holds while it is attached.
fn freeing(holder: &str) -> String {
    format!("`fabric stop {holder}` frees it, or `fabric rm {holder}` if it was never started")
}

/// The publish as a person would write it to leave the host ports to Fabric.
fn without_host_ports(publish: &Publish) -> String {
    let ports = format!("{}/{}", publish.container_ports(), publish.protocol());
    match publish.host_ip() {
        None => ports,
        Some(IpAddr::V4(address)) => format!("{address}::{ports}"),
        Some(IpAddr::V6(address)) => format!("[{address}]::{ports}"),
    }
}
