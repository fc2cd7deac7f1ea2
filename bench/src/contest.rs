//! Those who are compared take turns, so that what else the machine does befalls all alike. Each follows each other
//! equally often, so that nobody alone meets with what another one leaves for the machine to do.

use std::time::{Duration, Instant};

use crate::{
    interrupt,
    peer::Absence,
    row::{Measured, Outcome},
    sample::Sample,
};

/// One that takes part, or the reason why it cannot.
pub(crate) struct Contender<T> {
    pub(crate) who: String,
    pub(crate) entry: Result<T, Absence>,
}

impl<T> Contender<T> {
    pub(crate) fn new(who: impl Into<String>, entry: Result<T, Absence>) -> Self {
        Self { who: who.into(), entry }
    }
}

/// How often each has its turn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rounds {
    /// Turns at the beginning that are not counted: they warm caches and pools.
    pub(crate) warming: usize,
    pub(crate) counted: usize,
    /// Who has measured for so long has no further turn.
    pub(crate) patience: Duration,
}

impl Rounds {
    pub(crate) fn warmed(counted: usize) -> Self {
        Self { warming: 1, counted, patience: Duration::MAX }
    }

    pub(crate) fn cold(counted: usize) -> Self {
        Self { warming: 0, counted, patience: Duration::MAX }
    }
}

/// Measures all. Who fails once is out, with the reason; an interruption leaves what was measured until then.
pub(crate) fn contest<T>(
    contenders: &[Contender<T>],
    rounds: Rounds,
    meter: impl Fn(&T) -> Result<f64, Absence>,
) -> Vec<Outcome> {
    let mut reached: Vec<Result<Vec<f64>, Absence>> =
        contenders.iter().map(|contender| contender.entry.as_ref().map(|_| Vec::new()).map_err(Clone::clone)).collect();
    let mut spent = vec![Duration::ZERO; contenders.len()];
    for round in 0..rounds.warming + rounds.counted {
        for place in order(contenders.len(), round) {
            let (reached, spent) = (&mut reached[place], &mut spent[place]);
            let (Ok(entry), Ok(values)) = (&contenders[place].entry, reached.as_mut()) else { continue };
            if interrupt::check().is_err() || (*spent >= rounds.patience && !values.is_empty()) {
                continue;
            }
            let begin = Instant::now();
            let measured = meter(entry);
            *spent += begin.elapsed();
            match measured {
                Ok(value) if round >= rounds.warming => values.push(value),
                Ok(_) => {}
                Err(why) => *reached = Err(why),
            }
        }
    }
    let outcome = |who: &String, reached: Result<Vec<f64>, Absence>| {
        let result = match reached {
            Ok(values) if values.is_empty() => Measured::NotRun("interrupted".to_owned()),
            Ok(values) => Measured::Values(Sample::new(values)),
            Err(why) => Measured::NotRun(why),
        };
        Outcome { who: who.clone(), result }
    };
    contenders.iter().zip(reached).map(|(contender, reached)| outcome(&contender.who, reached)).collect()
}

/// Who has a turn after whom in a round. In as many rounds as there are contenders each follows each other once, if
/// their number is even; in twice as many twice, if it is odd (E. J. Williams, Aust. J. Sci. Res. A2, 1949, 149-168).
fn order(contenders: usize, round: usize) -> Vec<usize> {
    let place = |step: usize| if step % 2 == 1 { step.div_ceil(2) } else { contenders - step / 2 };
    let mut order: Vec<usize> = (0..contenders).map(|step| (place(step) + round) % contenders).collect();
    if (round / contenders.max(1)) % 2 == 1 {
        order.reverse();
    }
    order
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::BTreeMap};

    use super::*;

    #[test]
    fn each_follows_each_other_equally_often() {
        for contenders in 2..7 {
            let mut followed = BTreeMap::<[usize; 2], usize>::new();
            for round in 0..2 * contenders {
                let order = order(contenders, round);
                order.windows(2).for_each(|pair| *followed.entry([pair[0], pair[1]]).or_default() += 1);
            }
            assert_eq!(followed.len(), contenders * (contenders - 1), "{contenders}: {followed:?}");
            assert!(followed.values().all(|times| *times == 2), "{contenders}: {followed:?}");
        }
    }

    #[test]
    fn all_take_turns_and_who_fails_is_out() {
        let turns = RefCell::new(String::new());
        let contenders = [
            Contender::new("a", Ok('a')),
            Contender::new("absent", Err("not installed".to_owned())),
            Contender::new("b", Ok('b')),
        ];
        let outcomes = contest(&contenders, Rounds::warmed(2), |name| {
            turns.borrow_mut().push(*name);
            if turns.borrow().matches('b').count() == 2 && *name == 'b' { Err("broke".to_owned()) } else { Ok(1.0) }
        });
        assert_eq!(turns.into_inner(), "abbaa");
        let said: Vec<String> =
            outcomes.iter().map(|outcome| format!("{}: {:?}", outcome.who, outcome.result)).collect();
        let expected = ["a: Values(Sample([1.0, 1.0]))", "absent: NotRun(\"not installed\")", "b: NotRun(\"broke\")"];
        assert_eq!(said, expected);
    }

    #[test]
    fn who_is_slow_has_one_turn() {
        let contenders = [Contender::new("slow", Ok(true)), Contender::new("quick", Ok(false))];
        let rounds = Rounds { patience: Duration::from_millis(500), ..Rounds::cold(3) };
        let counts = || -> Vec<usize> {
            let outcomes = contest(&contenders, rounds, |slow| {
                std::thread::sleep(Duration::from_millis(if *slow { 600 } else { 0 }));
                Ok(1.0)
            });
            let count = |outcome: &Outcome| match &outcome.result {
                Measured::Values(sample) => sample.count(),
                Measured::NotRun(_) => 0,
            };
            outcomes.iter().map(count).collect()
        };
        // On a machine that stands still meanwhile the quick one is slow.
        assert!((0..5).any(|_| counts() == [1, 3]), "{:?}", counts());
    }
}
