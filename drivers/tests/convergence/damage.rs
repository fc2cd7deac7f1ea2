//! What may have happened to a host before it is looked at.

use model::{Admin, Namespace, NetworkId, Passage, Program, Shortcut, State, Stray, Structure, Switch, Veth};
use proptest::prelude::*;

/// What may have happened to a host meanwhile.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Damage {
    Flushed,
    LinksDown,
    EndsUnconfigured,
    EndsLost,
    BridgesLost,
    Detached,
    WrongAddresses,
    NamespacesUnprepared,
    ShortcutLost,
    ShortcutForeign,
    ShortcutOfStrangers,
    PassagesLost,
    QuestionsJudged,
}

pub(crate) fn damages() -> impl Strategy<Value = Vec<Damage>> {
    use Damage::*;
    let links = [LinksDown, EndsUnconfigured, EndsLost, BridgesLost, Detached, WrongAddresses];
    let each = [Flushed, NamespacesUnprepared, ShortcutLost, ShortcutForeign, ShortcutOfStrangers, PassagesLost];
    let each = [&links[..], &each, &[QuestionsJudged]].concat();
    prop::sample::subsequence(each, 0..=3)
}

pub(crate) fn damage(state: &mut State, what: Damage) {
    match what {
        Damage::Flushed => (state.structure, state.elements) = (Structure::Missing, Default::default()),
        Damage::LinksDown => {
            state.bridges.values_mut().for_each(|bridge| bridge.admin = Admin::Down);
            state.veths.values_mut().for_each(|veth| veth.admin = Admin::Down);
        }
        Damage::EndsUnconfigured => {
            state.veths.values_mut().filter_map(|veth| veth.inside.as_mut()).for_each(|inside| {
                (inside.admin, inside.gateway) = (Admin::Down, None);
                inside.addresses.clear();
            })
        }
        Damage::EndsLost => state.veths.values_mut().for_each(|veth| veth.inside = None),
        Damage::BridgesLost => {
            state.bridges.clear();
            state.veths.values_mut().for_each(detach);
        }
        Damage::Detached => state.veths.values_mut().for_each(detach),
        Damage::WrongAddresses => state.bridges.values_mut().for_each(|bridge| {
            bridge.addresses = ["10.99.0.1/24".parse().expect("literal")].into();
        }),
        Damage::ShortcutLost => state.shortcut = Shortcut::default(),
        Damage::ShortcutForeign => {
            state.shortcut = Shortcut { program: Program::Altered, ..Shortcut::default() };
        }
        Damage::ShortcutOfStrangers => {
            let stray = Stray::Holder { network: NetworkId::from_bytes([9; 8]), address: [10, 9, 9, 9].into() };
            let barrier = state.shortcut.barrier.take();
            state.shortcut =
                Shortcut { program: Program::Current, strays: [stray].into(), barrier, ..Shortcut::default() };
        }
        Damage::PassagesLost => {
            state.shortcut.passages.values_mut().for_each(|passage| *passage = Passage::none(model::Gate::Closed));
        }
        Damage::QuestionsJudged => state.shortcut.questions.judged = true,
        Damage::NamespacesUnprepared => {
            state.namespaces.values_mut().for_each(|namespace| *namespace = Namespace::Unprepared);
        }
    }
}

/// A port leaves its settings behind with its bridge.
fn detach(veth: &mut Veth) {
    (veth.bridge, veth.hairpin, veth.isolated, veth.fixed) = (None, Switch::Off, Switch::Off, None);
}
