//! Whether what is asked of a new container contradicts itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU16,
};

use model::{Capability, ExposedPort, HostAddress, Publish, PublishRequest, ResolverSettings, RestartPolicy};

use super::{ContainerCreate, ContainerCreateError, Elsewhere, OwnThing};
use crate::NetworkMode;

impl ContainerCreate {
    /// Refuses what no host could make.
    ///
    /// # Errors
    /// [`ContainerCreateError`] says what contradicts what.
    pub fn check(&self) -> Result<(), ContainerCreateError> {
        self.check_mode()?;
        self.check_endpoints()?;
        if self.networks.is_empty() {
            if let Some(publish) = self.publish.first() {
                return Err(ContainerCreateError::PublishWithoutNetwork { publish: *publish });
            }
            if self.publish_all {
                return Err(ContainerCreateError::PublishAllWithoutNetwork);
            }
            if let Some(name) = self.name_of_gateway() {
                return Err(ContainerCreateError::GatewayWithoutNetwork { name });
            }
        }
        if let Some((publish, port)) = published_twice(&self.publish) {
            return Err(ContainerCreateError::PublishedTwice { publish, port });
        }
        self.check_port_names()?;
        if self.auto_remove && self.restart_policy != RestartPolicy::No {
            return Err(ContainerCreateError::RemovedAndRestarted { policy: self.restart_policy });
        }
        if self.init && self.confinement.add_capabilities.contains(&Capability::sys_ptrace()) {
            return Err(ContainerCreateError::TracedInit);
        }
        Ok(())
    }

    /// Refuses what a container without a network of its own cannot have.
    fn check_mode(&self) -> Result<(), ContainerCreateError> {
        let network = self.networks.first().map(|endpoint| endpoint.network.clone());
        let elsewhere = match &self.network_mode {
            NetworkMode::Networks => return Ok(()),
            NetworkMode::None => {
                return network.map_or(Ok(()), |network| Err(ContainerCreateError::NoneAndNetwork { network }));
            }
            NetworkMode::Host => Elsewhere::Host,
            NetworkMode::Container(reference) => Elsewhere::Container(reference.to_string()),
        };
        // They share its files.
        let has_settings = matches!(elsewhere, Elsewhere::Container(_)) && self.resolver != ResolverSettings::default();
        let sysctl = self.confinement.sysctls.iter().find(|sysctl| sysctl.is_of_network());
        let thing = None
            .or_else(|| network.map(OwnThing::Network))
            .or_else(|| self.publish.first().copied().map(OwnThing::Publish))
            .or_else(|| self.publish_all.then_some(OwnThing::PublishAll))
            .or_else(|| has_settings.then_some(OwnThing::Resolver))
            .or_else(|| self.name_of_gateway().map(OwnThing::Gateway))
            .or_else(|| sysctl.map(|sysctl| OwnThing::Sysctl(sysctl.name().to_owned())));
        thing.map_or(Ok(()), |thing| Err(ContainerCreateError::NotItsOwn { thing, elsewhere }))
    }

    fn check_endpoints(&self) -> Result<(), ContainerCreateError> {
        let (mut networks, mut interfaces) = (BTreeSet::new(), BTreeMap::new());
        for endpoint in &self.networks {
            let network = &endpoint.network;
            if !networks.insert(network) {
                return Err(ContainerCreateError::NetworkTwice { network: network.clone() });
            }
            let Some(interface) = &endpoint.interface else { continue };
            if let Some(first) = interfaces.insert(interface.as_if_name(), network) {
                return Err(ContainerCreateError::InterfaceTwice {
                    interface: interface.clone(),
                    first: first.clone(),
                    second: network.clone(),
                });
            }
        }
        Ok(())
    }

    fn check_port_names(&self) -> Result<(), ContainerCreateError> {
        let mut names = BTreeMap::new();
        for ExposedPort { name, port } in &self.expose {
            let Some(name) = name else { continue };
            if let Some(first) = names.insert(name, *port).filter(|first| first != port) {
                return Err(ContainerCreateError::PortNamedTwice { name: name.clone(), first, second: *port });
            }
        }
        Ok(())
    }

    /// The first name that is to lead to the host.
    fn name_of_gateway(&self) -> Option<String> {
        let mut hosts = self.resolver.hosts.iter();
        hosts.find(|line| line.address == HostAddress::Gateway).map(|line| line.name.to_string())
    }
}

/// A publish that names a host port which one of the others names as well, and the first such port.
fn published_twice(publishes: &[PublishRequest]) -> Option<(Publish, NonZeroU16)> {
    let mut fixed: Vec<Publish> = publishes.iter().filter_map(PublishRequest::fixed).collect();
    fixed.sort_by_key(|publish| (publish.protocol(), publish.host_ports().first()));
    // Those whose ports reach as far as where the next begins: few, however many there are.
    let mut reaching: Vec<Publish> = Vec::new();
    for publish in fixed {
        let first = publish.host_ports().first();
        reaching.retain(|other| other.protocol() == publish.protocol() && other.host_ports().last() >= first);
        if reaching.iter().any(|other| other.collides(&publish)) {
            return Some((publish, first));
        }
        reaching.push(publish);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The request with what `change` makes of it.
    fn asked(change: serde_json::Value) -> ContainerCreate {
        let mut request = serde_json::json!({ "image": "busybox" });
        request.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
        serde_json::from_value(request).expect("a documented request")
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        use serde_json::json;
        let (web, host) = (json!([{ "network": "web" }]), "host");
        let named = |name: &str, interface: &str| json!({ "network": name, "interface": interface });
        for (change, expected) in [
            (
                json!({"network_mode": host, "networks": web}),
                "attach the container to network `web`: the container uses",
            ),
            (json!({"network_mode": host, "publish": ["80:80"]}), "publish 80:80/tcp: the container uses the host's"),
            (json!({"network_mode": host, "publish_all": true}), "publish its ports: the container uses the host's"),
            (json!({"network_mode": "container:a", "publish": ["80"]}), "shares the network of container `a`"),
            (
                json!({"network_mode": "container:a", "resolver": {"servers": ["192.0.2.1"]}}),
                "set DNS options or hosts",
            ),
            (json!({"network_mode": "none", "networks": web}), "network `web` and network mode `none` exclude"),
            (json!({"networks": [{"network": "web"}, {"network": "web"}]}), "network `web` is given twice"),
            (json!({"networks": [named("web", "lan"), named("db", "lan")]}), "on network `web` and on network `db`"),
            (json!({"publish": ["80"]}), "cannot publish 80/tcp of a container without a network"),
            (json!({"publish_all": true}), "cannot publish the ports of a container without a network"),
            (json!({"resolver": {"hosts": ["me:host-gateway"]}}), "cannot lead `me` to the host"),
            (json!({"expose": ["http=80", "http=81"]}), "cannot be called `http`: 80/tcp and 81/tcp both are"),
            (json!({"auto_remove": true, "restart_policy": "always"}), "cannot have restart policy `always`"),
            (json!({"init": true, "confinement": {"add_capabilities": ["SYS_PTRACE"]}}), "cannot have capability"),
        ] {
            let error = asked(change.clone()).check().expect_err(&change.to_string());
            assert!(error.to_string().contains(expected), "{change}: {error}");
            assert!(!error.hint().is_empty() && !error.to_string().contains(&error.hint()), "{change}: {error}");
        }
        for change in [
            json!({}),
            json!({"network_mode": "none"}),
            json!({"network_mode": host, "resolver": {"servers": ["192.0.2.1"]}}),
            json!({"networks": [named("web", "lan"), named("db", "up")], "publish": ["80:80"], "publish_all": true}),
            json!({"auto_remove": true, "init": true}),
            json!({"expose": ["80", "http=80", "web=80", "http=80/tcp"]}),
        ] {
            assert_eq!(asked(change.clone()).check(), Ok(()), "{change}");
        }
    }

    #[test]
    fn a_host_port_is_published_once() {
        for (publishes, twice) in [
            (&["81:80", "80-89:80-89"][..], Some(81)),
            (&["80-89:80-89", "70-79:70-79", "89:1"], Some(89)),
            (&["81:80", "127.0.0.1:81:81"], Some(81)),
            (&["127.0.0.1:81:80", "127.0.0.2:81:81", "127.0.0.1:81:82"], Some(81)),
            (&["127.0.0.1:81:80", "127.0.0.2:81:81"], None),
            (&["81:80", "81:80/udp"], None),
            (&["80-89:80-89", "90:1", "79:1"], None),
            (&["80", "80"], None),
        ] {
            let publishes: Vec<PublishRequest> = publishes.iter().map(|text| text.parse().expect("literal")).collect();
            assert_eq!(published_twice(&publishes).map(|(_, port)| port.get()), twice, "{publishes:?}");
        }
    }
}
