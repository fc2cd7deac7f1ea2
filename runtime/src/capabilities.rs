//! Which capabilities a container has.

use model::{Confinement, DroppedCapability};
use oci_spec::runtime::Capability;
use rustix::thread::CapabilitySet;

use crate::{Failure, FailureKind};

/// Docker's default capabilities.
pub(crate) const DEFAULT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// The capabilities of a container's processes, those of `exec` too.
pub(crate) fn of(confinement: &Confinement) -> CapabilitySet {
    let kept = confinement.drop_capabilities.iter().fold(DEFAULT, |kept, dropped| match dropped {
        DroppedCapability::All => CapabilitySet::empty(),
        DroppedCapability::One(capability) => kept - bit(*capability),
    });
    kept | added(confinement)
}

/// Those among them that were asked for by name.
pub(crate) fn added(confinement: &Confinement) -> CapabilitySet {
    confinement.add_capabilities.iter().map(|capability| bit(*capability)).collect()
}

fn bit(capability: model::Capability) -> CapabilitySet {
    CapabilitySet::from_bits_retain(1 << capability.number())
}

/// Refuses capabilities that this process does not have, and so cannot give.
pub(crate) fn check(confinement: &Confinement) -> Result<(), Failure> {
    let step = "give it its capabilities";
    let own = rustix::thread::capabilities(None).map_err(Failure::at(step))?.permitted;
    match confinement.add_capabilities.iter().find(|capability| !own.contains(bit(**capability))) {
        Some(missing) => Err(Failure::message(FailureKind::Other, step, format!("netd has no {missing} itself"))),
        None => Ok(()),
    }
}

/// The set as the OCI specification has it.
pub(crate) fn specified(set: CapabilitySet) -> impl Iterator<Item = Capability> {
    (0_u8..64)
        .filter(move |number| set.bits() & (1 << number) != 0)
        .filter_map(|number| model::Capability::from_number(number)?.name().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_text(add: &[&str], drop: &[&str]) -> CapabilitySet {
        of(&Confinement {
            add_capabilities: add.iter().map(|text| text.parse().expect("literal")).collect(),
            drop_capabilities: drop.iter().map(|text| text.parse().expect("literal")).collect(),
            ..Confinement::default()
        })
    }

    #[test]
    fn what_is_added_by_name_counts_more_than_what_is_dropped() {
        // The mask Docker's containers show as CapEff.
        assert_eq!(format!("{:016x}", of_text(&[], &[]).bits()), "00000000a80425fb");
        assert_eq!(
            of_text(&["NET_ADMIN"], &["NET_RAW"]),
            (DEFAULT - CapabilitySet::NET_RAW) | CapabilitySet::NET_ADMIN
        );
        assert_eq!(of_text(&["KILL"], &["ALL"]), CapabilitySet::KILL);
        assert_eq!(of_text(&[], &["ALL"]), CapabilitySet::empty());
    }

    #[test]
    fn the_specification_knows_every_capability() {
        let all = CapabilitySet::from_bits_retain((1 << 41) - 1);
        assert_eq!(specified(all).count(), 41);
        assert_eq!(specified(DEFAULT).count(), 14);
    }
}
