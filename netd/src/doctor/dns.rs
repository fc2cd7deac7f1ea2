//! Networks whose containers nobody answers.

use std::{collections::BTreeMap, io::ErrorKind, net::SocketAddr};

use api::{Check, Difference};
use model::NetworkName;

use super::check;
use crate::daemon::{Daemon, name_servers};

impl Daemon {
    /// Names each gateway that cannot be listened on, and each that does not answer a query.
    pub(super) async fn examine_dns(&self) -> Check {
        let deaf = self.deaf.lock().expect("nobody panics with it").clone();
        let gateways: BTreeMap<SocketAddr, NetworkName> = {
            let world = self.world();
            let all = world.networks();
            let all = all.flat_map(|network| name_servers(network).map(move |address| (address, network.name.clone())));
            all.filter(|(address, _)| !deaf.contains_key(address)).collect()
        };
        let mut silent = self.dns.probe(gateways.keys().copied()).await;
        // That an address is missing is told with the interface that should have it.
        silent.retain(|_, error| error.kind() != ErrorKind::AddrNotAvailable);
        let deaf = deaf.into_values().map(|reason| Difference {
            object: "DNS on the gateways".to_owned(),
            difference: reason,
            remedy: "free port 53 on the gateway's address (`ss -lnup` shows who has it), then `fabric doctor --fix`"
                .to_owned(),
        });
        let silent = silent.into_iter().map(|(address, error)| Difference {
            object: format!("DNS of network `{}`", gateways[&address]),
            difference: format!("{address} does not answer the host: {error}"),
            remedy:
                "let pass what the host sends to itself, or see what netd logs; if it stays, restart netd, which stops \
                     no container"
                    .to_owned(),
        });
        check("dns", "every network's gateway answers", deaf.chain(silent).collect())
    }
}
