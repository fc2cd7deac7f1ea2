//! A matrix for people.

use std::{collections::BTreeMap, fmt};

use model::Family;

use super::{End, Kind, Matrix, Passage, Span};

/// A table: a row for each who opens connections, a column for each to whom, and below it what its letters stand for.
impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds: Vec<&Passage> = Vec::new();
        let mut rows = Vec::new();
        for row in &self.cells {
            let mut symbols = Vec::new();
            for cell in row {
                symbols.push(match cell {
                    None => String::new(),
                    Some(passage) if passage.is_empty() => "-".to_owned(),
                    Some(passage) if passage.is_everything() => "+".to_owned(),
                    Some(passage) => {
                        let place = kinds.iter().position(|kind| *kind == passage).unwrap_or_else(|| {
                            kinds.push(passage);
                            kinds.len() - 1
                        });
                        letters(place)
                    }
                });
            }
            rows.push(symbols);
        }
        let titles = self.ends.iter().enumerate().map(|(number, end)| format!("{} {end}", number + 1));
        let titles: Vec<String> = titles.collect();
        let wide = titles.iter().map(|title| title.chars().count()).max().unwrap_or(0).max("FROM \\ TO".len());
        let column = rows.iter().flatten().map(String::len).max().unwrap_or(1).max(self.ends.len().to_string().len());
        write!(f, "{:wide$}", "FROM \\ TO")?;
        for number in 1..=self.ends.len() {
            write!(f, "  {number:>column$}")?;
        }
        for (title, row) in titles.iter().zip(rows) {
            write!(f, "\n{title:wide$}")?;
            let row: String = row.iter().map(|symbol| format!("  {symbol:>column$}")).collect();
            f.write_str(row.trim_end())?;
        }
        f.write_str("\n\n+ everything\n- nothing\n")?;
        kinds.iter().enumerate().try_for_each(|(number, passage)| writeln!(f, "{} {passage}", letters(number)))
    }
}

/// `a` to `z`, then `aa` and so on.
fn letters(number: usize) -> String {
    let last = char::from(b'a' + u8::try_from(number % 26).expect("less than 26"));
    match number / 26 {
        0 => last.to_string(),
        more => letters(more - 1) + &last.to_string(),
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.alike.len() {
            0 => f.write_str(&self.title),
            more => write!(f, "{} and {more} like it", self.title),
        }
    }
}

impl fmt::Display for Passage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = |spans: &Vec<Span>| spans.iter().map(Span::to_string).collect::<Vec<_>>().join(", ");
        let texts: BTreeMap<Family, String> =
            self.by_family.iter().map(|(family, spans)| (*family, listed(spans))).collect();
        if self.is_everything() {
            return f.write_str("everything");
        }
        let first = texts.values().next().cloned().unwrap_or_default();
        if texts.values().all(|text| *text == first) {
            return f.write_str(&first);
        }
        let named = |(family, text): (&Family, &String)| match text.as_str() {
            "" => format!("{family}: nothing"),
            text => format!("{family}: {text}"),
        };
        f.write_str(&texts.iter().map(named).collect::<Vec<_>>().join("; "))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, first, last } = *self;
        let ([kind_first, code_first], [kind_last, code_last]) = (first.to_be_bytes(), last.to_be_bytes());
        match kind {
            Kind::Port(protocol) if self.is_all_of_kind() => write!(f, "any/{protocol}"),
            Kind::Port(protocol) if first == last => write!(f, "{first}/{protocol}"),
            Kind::Port(protocol) => write!(f, "{first}-{last}/{protocol}"),
            Kind::Icmp(_) if self.is_all_of_kind() => f.write_str("any/icmp"),
            Kind::Icmp(_) if (code_first, code_last) == (0, u8::MAX) => match kind_first == kind_last {
                true if matches!(
                    (kind, kind_first),
                    (Kind::Icmp(Family::Ipv4), 8) | (Kind::Icmp(Family::Ipv6), 128)
                ) =>
                {
                    f.write_str("ping")
                }
                true => write!(f, "{kind_first}/icmp"),
                false => write!(f, "{kind_first}-{kind_last}/icmp"),
            },
            Kind::Icmp(_) if first == last => write!(f, "{kind_first}.{code_first}/icmp"),
            Kind::Icmp(_) => write!(f, "{kind_first}.{code_first}-{kind_last}.{code_last}/icmp"),
        }
    }
}
