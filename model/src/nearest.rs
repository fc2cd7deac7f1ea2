//! What somebody may have meant by a name that is not known.

/// The known name nearest to one that is not known; none if all are too far off to be what was meant: more than one
/// slip of the finger, and another for every four characters. The same name, which became known a moment ago, is none.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .filter(|candidate| *candidate != name)
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_told_and_another_word_is_not() {
        for (name, meant) in
            [("wbe", Some("web")), ("podSelecter", Some("podSelector")), ("database", None), ("x", None)]
        {
            assert_eq!(nearest(name, ["web", "podSelector", "x"]), meant, "{name}");
        }
    }
}
