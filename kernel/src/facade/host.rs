//! What the daemon asks about the host's own network.

use ipnet::IpNet;
use model::IfName;

use super::{Kernel, ask};
use crate::{HostInterface, KernelError, host};

impl Kernel {
    /// The host's interfaces that are not Fabric's, without the loopback interface.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub async fn interfaces(&self) -> Result<Vec<HostInterface>, KernelError> {
        self.run(|worker, _| host::interfaces(&mut worker.route)).await
    }

    /// The same beside running reconciles, which it does not delay, but maybe behind a look at everything.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub async fn interfaces_at_leisure(&self) -> Result<Vec<HostInterface>, KernelError> {
        ask(&self.looks, |worker, _| host::interfaces(&mut worker.route)).await
    }

    /// What the host's addresses and routes occupy, and the interface each leads through, those of Fabric's own
    /// interfaces and default routes left out: a new subnet had better not overlap any of it.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub async fn host_routes(&self) -> Result<Vec<(IfName, IpNet)>, KernelError> {
        self.run(|worker, _| host::routes(&mut worker.route)).await
    }

    /// The same beside running reconciles, which it does not delay, but maybe behind a look at everything.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub async fn host_routes_at_leisure(&self) -> Result<Vec<(IfName, IpNet)>, KernelError> {
        ask(&self.looks, |worker, _| host::routes(&mut worker.route)).await
    }

    /// The maximum transmission unit, in octets, of the interface with the default route, of IPv4 or else of IPv6; 1500
    /// if there is none.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub async fn uplink_mtu(&self) -> Result<u32, KernelError> {
        self.run(|worker, _| host::uplink_mtu(&mut worker.route)).await
    }

    /// The same beside running reconciles, which it does not delay, but maybe behind a look at everything.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub async fn uplink_mtu_at_leisure(&self) -> Result<u32, KernelError> {
        ask(&self.looks, |worker, _| host::uplink_mtu(&mut worker.route)).await
    }
}
