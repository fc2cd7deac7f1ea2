//! Extended headers (POSIX.1-2024 pax, "pax Extended Header").
//!
//! Read here and not by the tar crate, which splits records at newlines: the value of an extended attribute may hold
//! one, and `security.capability` does for some sets of capabilities.

/// Extended attributes of one entry: more than any file system stores, few enough to search through.
const XATTRS: usize = 1024;

/// The records that matter, by name; a later record replaces an earlier one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pax {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link_path: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<u64>,
    pub(crate) gid: Option<u64>,
    /// Seconds and nanoseconds since 1970.
    pub(crate) modified: Option<(i64, u32)>,
    /// `SCHILY.xattr.NAME`: name and value, in order.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) sparse: SparseRecords,
}

/// `GNU.sparse.*` (GNU tar manual, "Storing Sparse Files").
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SparseRecords {
    /// Format 1.0: the map stands before the data.
    pub(crate) map_in_data: bool,
    /// Formats 0.0 and 0.1: offset, length, offset, length …
    pub(crate) map: Vec<u64>,
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) real_size: Option<u64>,
}

impl Pax {
    /// Reads the records of one extended header over those in `self`.
    pub(crate) fn read(&mut self, mut records: &[u8]) -> Result<(), &'static str> {
        while !records.is_empty() && records[0] != 0 {
            let space =
                records.iter().position(|octet| *octet == b' ').ok_or("an extended header record has no length")?;
            let length =
                number(&records[..space]).ok_or("the length of an extended header record is no number")? as usize;
            let record = records.get(space + 1..length).ok_or("an extended header record is longer than its header")?;
            let record = record.strip_suffix(b"\n").ok_or("an extended header record does not end with a newline")?;
            let equals =
                record.iter().position(|octet| *octet == b'=').ok_or("an extended header record has no equals sign")?;
            self.set(&record[..equals], &record[equals + 1..])?;
            records = &records[length..];
        }
        Ok(())
    }

    /// What of a global header applies to every entry behind it. Names, sizes and attributes are one file's own; kept,
    /// they would add up without end.
    pub(crate) fn global(self) -> Self {
        Self { uid: self.uid, gid: self.gid, modified: self.modified, ..Self::default() }
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        const BAD: &str = "a number in its extended header is not valid";
        let parse = || number(value).ok_or(BAD);
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link_path = Some(value.to_vec()),
            b"size" => self.size = Some(parse()?),
            b"uid" => self.uid = Some(parse()?),
            b"gid" => self.gid = Some(parse()?),
            b"mtime" => self.modified = Some(time(value).ok_or(BAD)?),
            b"GNU.sparse.major" => self.sparse.map_in_data = parse()? == 1,
            b"GNU.sparse.name" => self.sparse.name = Some(value.to_vec()),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.sparse.real_size = Some(parse()?),
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => self.sparse.map.push(parse()?),
            b"GNU.sparse.map" => {
                let numbers = value.split(|octet| *octet == b',').filter(|text| !text.is_empty());
                self.sparse.map = numbers.map(number).collect::<Option<_>>().ok_or(BAD)?;
            }
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    if self.xattrs.len() == XATTRS {
                        return Err("it has more than 1,024 extended attributes");
                    }
                    self.xattrs.retain(|(other, _)| other != name);
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

/// A decimal number; signs and blanks are refused.
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Seconds with an optional sign and fraction, rounded down to nanoseconds.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let (negative, text) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
    let mut parts = text.splitn(2, |octet| *octet == b'.');
    let seconds = i64::try_from(number(parts.next()?)?).ok()?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanoseconds =
        (0..9).fold(0, |sum, place| sum * 10 + fraction.get(place).map_or(0, |digit| u32::from(digit - b'0')));
    Some(match (negative, nanoseconds) {
        (false, _) => (seconds, nanoseconds),
        (true, 0) => (-seconds, 0),
        (true, _) => (-seconds - 1, 1_000_000_000 - nanoseconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, value: &[u8]) -> Vec<u8> {
        let rest = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
        let length =
            (1..).find(|length: &usize| length.to_string().len() + rest.len() == *length).expect("some length");
        [length.to_string().as_bytes(), &rest].concat()
    }

    #[test]
    fn values_may_hold_newlines_and_nul() {
        let mut pax = Pax::default();
        let text =
            [record("SCHILY.xattr.security.capability", b"a\nb\0=c"), record("path", b"x\ny"), record("uid", b"70000")]
                .concat();
        assert_eq!(pax.read(&text), Ok(()));
        assert_eq!(pax.xattrs, [(b"security.capability".to_vec(), b"a\nb\0=c".to_vec())]);
        assert_eq!(pax.path.as_deref(), Some(b"x\ny".as_slice()));
        assert_eq!(pax.uid, Some(70000));
    }

    #[test]
    fn broken_records_are_refused() {
        for text in [
            "5",
            "x path=a\n",
            "99 path=a\n",
            "3 a\n",
            "10 path=ab",
            "1 path=a\n",
            "12 size=-11\n",
            "18446744073709551616 a=b\n",
        ] {
            assert!(Pax::default().read(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn times_have_signs_and_fractions() {
        for (text, expected) in [
            ("0", Some((0, 0))),
            ("1.5", Some((1, 500_000_000))),
            ("-1", Some((-1, 0))),
            ("-1.25", Some((-2, 750_000_000))),
            ("1.0000000019", Some((1, 1))),
            ("1.x", None),
            ("", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(time(text.as_bytes()), expected, "{text}");
        }
    }
}
