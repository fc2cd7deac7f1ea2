//! Frames that nobody thought of: what is sent above, with errors.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use tests::{ALL, Frame, Mac, Namespace, Wire};

use super::{Scene, ipv4, ipv6, link_local, mac};

const FRAMES: usize = 20_000;
const MARK: &[u8] = b"made up!";

/// Always the same numbers (xorshift64*, Vigna 2016): a run that fails fails again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).expect("31 bits") % limit
    }

    fn octet(&mut self) -> u8 {
        u8::try_from(self.below(256)).expect("a remainder of 256")
    }

    /// One of the models with up to four errors behind its destination, so that it still goes to whom it went to.
    fn frame(&mut self, models: &[Frame]) -> Frame {
        let mut octets = models[self.below(models.len())].octets().to_vec();
        for _ in 0..self.below(5) {
            let place = 6 + self.below(octets.len().min(96) - 6);
            match self.below(5) {
                0 => octets[place] = self.octet(),
                1 => octets[place] ^= 1 << self.below(8),
                2 => octets.truncate(place.max(14)),
                3 => octets.insert(place, self.octet()),
                // What stands elsewhere in it: an address of somebody, a type.
                _ => octets[place] = octets[self.below(octets.len())],
            }
        }
        let (to, from) = (octets[..6].try_into().expect("six"), octets[6..12].try_into().expect("six"));
        let kind = u16::from_be_bytes([octets[12], octets[13]]);
        Frame::new(Mac(to), Mac(from), kind, &octets[14..]).followed_by(MARK)
    }
}

/// Sends the noise and returns what of it reached the victim.
fn arrivals(scene: &Scene, models: &[Frame]) -> Vec<Vec<u8>> {
    let wire = Wire::open(&scene.attacker.namespace(), "eth0", ALL);
    let victim = Wire::open(&scene.victim.namespace(), "eth0", ALL);
    let mut dice = Dice(0x5eed);
    let mut arrived = Vec::new();
    for number in 0..FRAMES {
        wire.send(&dice.frame(models));
        // The socket's buffer holds some two hundred.
        if number % 64 == 0 {
            arrived.extend(victim.frames(Duration::from_micros(100)));
        }
    }
    arrived.extend(victim.frames(Duration::from_millis(300)));
    arrived.retain(|frame| frame.ends_with(MARK));
    arrived
}

/// The MAC addresses that a namespace knows of addresses.
fn known(namespace: &Namespace) -> BTreeMap<IpAddr, String> {
    let entry = |line: &str| {
        let address = line.split_whitespace().next()?.parse().ok()?;
        Some((address, line.split_whitespace().skip_while(|word| *word != "lladdr").nth(1)?.to_owned()))
    };
    namespace.run(&["ip", "neigh"]).lines().filter_map(entry).collect()
}

#[test]
fn of_frames_with_errors_none_passes_in_anothers_name() {
    let scene = Scene::new(&["--ipv6"]);
    let models: Vec<Frame> = ipv4::frames(&scene).into_iter().chain(ipv6::frames(&scene)).map(|(.., it)| it).collect();
    let me = mac(&scene.attacker);
    let own: Vec<IpAddr> =
        vec![scene.attacker.ipv4.into(), ipv6::address(&scene, &scene.attacker, "ipv6").into(), link_local(me).into()];
    let others = [
        scene.gateway.into(),
        ipv6::address(&scene, &scene.attacker, "gateway6").into(),
        scene.neighbour.ipv4.into(),
        IpAddr::from(ipv6::address(&scene, &scene.neighbour, "ipv6")),
    ];
    let is_own = |octets: &[u8]| match <[u8; 16]>::try_from(octets) {
        Ok(sixteen) => own.contains(&sixteen.into()),
        Err(_) => <[u8; 4]>::try_from(octets).is_ok_and(|four| own.contains(&four.into())),
    };
    let foreign = |frame: &Vec<u8>| {
        let part = |from: usize, to: usize| frame.get(from..to).unwrap_or_default();
        let honest = match part(12, 14) {
            [0x08, 0x00] => is_own(part(26, 30)),
            [0x08, 0x06] => part(22, 28) == me.0 && (is_own(part(28, 32)) || part(28, 32) == [0; 4]),
            [0x86, 0xdd] => is_own(part(22, 38)) || part(22, 38) == [0; 16] && part(20, 21) == [58],
            _ => false,
        };
        part(6, 12) != me.0 || !honest
    };
    let inside = scene.victim.namespace();
    for address in &others {
        inside.run(&["ping", "-n", "-c", "1", "-W", "30", &address.to_string()]);
    }
    let mut truth = known(&inside);
    assert!(others.iter().all(|address| truth.contains_key(address)), "{truth:?}");
    // Whoever knows the victim looks some seconds later whether it is still there, and may ask by a link-local address.
    for address in &others {
        let mac = truth[address].clone();
        truth.insert(link_local(Mac::parse(&mac)).into(), mac);
    }
    let belongings = || {
        let shown = [["-o", "address"], ["-4", "route"], ["-6", "route"]];
        shown.map(|what| inside.run(&["ip", what[0], what[1], "show", "dev", "eth0"]))
    };
    let had = belongings();

    let arrived = arrivals(&scene, &models);
    assert!(arrived.len() > 500, "of {FRAMES} only {} arrive, which tells little", arrived.len());
    let passed: Vec<_> = arrived.iter().filter(|frame| foreign(frame)).collect();
    assert!(passed.is_empty(), "{} of {}, such as {:02x?}", passed.len(), arrived.len(), passed[0]);
    let now = known(&inside);
    for address in now.keys().filter(|address| !own.contains(address)) {
        assert_eq!(now.get(address), truth.get(address), "{address}");
    }
    assert_eq!(belongings(), had);
    scene.host.assert_healthy();

    scene.unprotect();
    let arrived = arrivals(&scene, &models);
    let passed = arrived.iter().filter(|frame| foreign(frame)).count();
    assert!(passed > 1000, "the control: without the rules {passed} of {} pass", arrived.len());
    let now = known(&inside);
    assert!(others.iter().any(|address| now.get(address) != truth.get(address)), "the control: {now:?}");
    scene.host.start();
}
