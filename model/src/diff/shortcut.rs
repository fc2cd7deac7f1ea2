//! Who takes the shortcut: kept from it before anything else is changed, let in when all else stands.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Change, Gate, IfName, Passage, Program, Questions, Shortcut, State, Veth};

/// Takes away what is not to be, and returns what is to be opened in the end.
pub(super) fn close(desired: &State, observed: &State, changes: &mut Vec<Change>) -> BTreeMap<IfName, Passage> {
    let seen = &observed.shortcut;
    if seen.questions == (Questions { judged: true, left: false }) {
        changes.push(Change::LeaveQuestions);
    }
    if seen.barrier.is_some() {
        if seen.program != Program::Missing {
            changes.push(Change::RemoveShortcut);
        }
        return BTreeMap::new();
    }
    let is_taken = |port: &IfName| seen.passages.get(port).is_some_and(|passage| passage.gate == Gate::Taken);
    let wanted = desired.shortcut.passages.iter().filter(|(port, _)| !is_taken(port));
    let mut wanted: BTreeMap<IfName, Passage> = wanted.map(|(port, passage)| (port.clone(), passage.clone())).collect();
    if seen.program != Program::Current {
        // What another program let pass goes with it.
        if seen.program == Program::Altered && wanted.is_empty() {
            changes.push(Change::RemoveShortcut);
        }
        return wanted;
    }
    let renewed = renewed(desired, observed);
    for (port, passage) in &seen.passages {
        let stays = !renewed.contains(port)
            && wanted
                .get(port)
                .is_some_and(|to| to.sender == passage.sender && passage.found_at.is_subset(&to.found_at));
        if passage.holds_anything() && !stays {
            changes.push(Change::ClosePassage(port.clone()));
        }
    }
    if !seen.strays.is_empty() {
        changes.push(Change::RemoveStrays(seen.strays.clone()));
    }
    wanted.retain(|port, passage| renewed.contains(port) || seen.passages.get(port) != Some(passage));
    wanted
}

/// Lets in who is to take it: with the program, or one by one where it stands.
pub(super) fn open(passages: BTreeMap<IfName, Passage>, seen: &Shortcut, changes: &mut Vec<Change>) {
    if seen.questions == (Questions { judged: false, left: true }) {
        changes.push(Change::TakeQuestions);
    }
    if passages.is_empty() {
        return;
    }
    if seen.program != Program::Current {
        changes.push(Change::InstallShortcut { passages });
        return;
    }
    changes.extend(passages.into_iter().map(|(port, passage)| Change::OpenPassage { port, passage }));
}

/// The ports whose pairs are made anew: another interface then has the name.
fn renewed<'a>(desired: &'a State, observed: &'a State) -> BTreeSet<&'a IfName> {
    let place = |veth: &Veth| veth.inside.as_ref().map(|inside| inside.place());
    let stands = |name: &IfName, veth| observed.veths.get(name).is_some_and(|seen| place(seen) == place(veth));
    desired.veths.iter().filter(|(name, veth)| !stands(name, veth)).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Barrier, EndpointId, NetworkId, Observed, Sender, Stray, diff};

    fn port(number: u8) -> IfName {
        format!("fe-{number}").parse().expect("literal")
    }

    fn passage(number: u8) -> Passage {
        let sender = Sender {
            network: NetworkId::from_bytes([1; 8]),
            mac: crate::MacAddress::local([2, 0, 0, 0, 0, number]),
            ipv4: Some([10, 0, 0, number].into()),
            ipv6: None,
            mtu: 1500,
        };
        Passage { gate: Gate::Open, found_at: sender.addresses().collect(), sender: Some(sender) }
    }

    fn state(shortcut: Shortcut) -> State {
        State { shortcut, ..State::empty() }
    }

    fn of(passages: &[(u8, Passage)]) -> Shortcut {
        let passages = passages.iter().map(|(number, passage)| (port(*number), passage.clone())).collect();
        Shortcut { program: Program::Current, passages, ..Shortcut::default() }
    }

    fn changes(desired: Shortcut, observed: Shortcut) -> Vec<String> {
        let observed =
            Observed { state: state(observed), elements_beyond: BTreeSet::new(), unreadable: BTreeSet::new() };
        diff(&state(desired), &observed).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn who_should_not_take_it_is_kept_from_it_first() {
        let (one, two) = (|| (1, passage(1)), || (2, passage(2)));
        let two_as_one = || (1, passage(2));
        let opened = |number: u8| {
            let network = NetworkId::from_bytes([1; 8]);
            let mac = format!("02:00:00:00:00:0{number}");
            format!(
                "open a passage for fe-{number}: open sends as {mac} 10.0.0.{number} up to 1500 on network {network} \
                 found at 10.0.0.{number}"
            )
        };
        let gate = |gate| (1, Passage::none(gate));
        let closed = || Passage { gate: Gate::Closed, ..passage(1) };
        let lost = Passage { found_at: BTreeSet::new(), ..passage(1) };
        let nowhere = Stray::Port(7);
        let judged = Some(Barrier::Judged { by: "somebody".to_owned() });
        let install = "install the shortcut for 1 ports";
        let questions = |judged, left| Questions { judged, left };
        let (leave, take) = ("leave questions for names to the server", "answer questions for names at the ports");
        for (desired, observed, expected) in [
            (of(&[]), Shortcut::default(), vec![]),
            (of(&[one()]), of(&[one()]), vec![]),
            (of(&[one()]), Shortcut::default(), vec![install.to_owned()]),
            (of(&[one()]), Shortcut { program: Program::Altered, ..of(&[]) }, vec![install.to_owned()]),
            (of(&[]), Shortcut { program: Program::Altered, ..of(&[]) }, vec!["remove the shortcut".into()]),
            (of(&[one(), two()]), of(&[two()]), vec![opened(1)]),
            (of(&[one()]), of(&[one(), two()]), vec!["close the passage of fe-2".into()]),
            (of(&[one()]), of(&[two_as_one()]), vec!["close the passage of fe-1".into(), opened(1)]),
            (of(&[one()]), of(&[gate(Gate::Open)]), vec![opened(1)]),
            (of(&[one()]), of(&[(1, closed())]), vec![opened(1)]),
            (of(&[one()]), of(&[(1, lost)]), vec![opened(1)]),
            (of(&[one()]), of(&[gate(Gate::Taken)]), vec![]),
            (
                of(&[one()]),
                of(&[(1, Passage { gate: Gate::Taken, ..passage(1) })]),
                vec!["close the passage of fe-1".into()],
            ),
            (
                of(&[]),
                Shortcut { strays: [nowhere].into(), ..of(&[]) },
                vec!["clear the shortcut of interface number 7".into()],
            ),
            (of(&[one()]), Shortcut { barrier: judged.clone(), ..of(&[one()]) }, vec!["remove the shortcut".into()]),
            (of(&[one()]), Shortcut { barrier: judged.clone(), ..Shortcut::default() }, vec![]),
            (of(&[one()]), Shortcut { questions: questions(true, false), ..of(&[one()]) }, vec![leave.into()]),
            (of(&[one()]), Shortcut { questions: questions(true, true), ..of(&[one()]) }, vec![]),
            (of(&[one()]), Shortcut { questions: questions(false, true), ..of(&[one()]) }, vec![take.into()]),
            (
                of(&[one()]),
                Shortcut { barrier: judged.clone(), questions: questions(true, false), ..of(&[one()]) },
                vec![leave.into(), "remove the shortcut".into()],
            ),
        ] {
            assert_eq!(changes(desired.clone(), observed.clone()), expected, "{desired:?} {observed:?}");
        }
    }

    #[test]
    fn a_port_that_is_made_anew_leaves_it_before_and_enters_it_after() {
        let mut desired = state(of(&[(1, passage(1))]));
        let veth = Veth {
            alias: Veth::alias_of(&EndpointId::from_bytes([1; 8])),
            bridge: None,
            hairpin: crate::Switch::Off,
            isolated: crate::Switch::Off,
            fixed: None,
            mtu: 1500,
            admin: crate::Admin::Up,
            ipv6: crate::Ipv6::Off,
            inside: None,
        };
        desired.veths.insert(port(1), veth);
        let observed = Observed {
            state: state(of(&[(1, passage(1))])),
            elements_beyond: BTreeSet::new(),
            unreadable: BTreeSet::new(),
        };
        let changes: Vec<String> = diff(&desired, &observed).iter().map(ToString::to_string).collect();
        let place = |start: &str| changes.iter().position(|change| change.starts_with(start));
        let [close, create, open] = ["close", "create veth", "open"].map(place);
        assert!(close < create && create < open && close == Some(0), "{changes:#?}");
        assert!(open.is_some(), "{changes:#?}");
    }
}
