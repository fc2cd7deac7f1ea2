//! How request fields whose Rust type is wider than what is allowed are read and written.

use std::{
    fmt::Display,
    path::{Path, PathBuf},
};

use model::{Label, Labels};
use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// A list whose members travel as the text a person would write.
pub(crate) mod text_list {
    use std::str::FromStr;

    use super::{Deserialize, Deserializer, Display, Error, Serializer};

    pub(crate) fn serialize<S: Serializer, T: Display>(items: &[T], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(items.iter().map(ToString::to_string))
    }

    pub(crate) fn deserialize<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
    where
        D: Deserializer<'de>,
        T: FromStr<Err: Display>,
    {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
    }
}

/// Labels whose keys and values are what [`Label`] takes.
pub(crate) fn labels<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Labels, D::Error> {
    let labels = Labels::deserialize(deserializer)?;
    for (key, value) in &labels {
        let label: Label = format!("{key}={value}").parse().map_err(D::Error::custom)?;
        if label.key != *key {
            return Err(D::Error::custom(format!("label key `{}` must not hold `=`", key.escape_debug())));
        }
    }
    Ok(labels)
}

/// Arguments of a program: none may hold a NUL, because `execve` takes C strings.
pub(crate) fn arguments<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let arguments = Vec::<String>::deserialize(deserializer)?;
    no_nul(&arguments).map_err(D::Error::custom)?;
    Ok(arguments)
}

/// Arguments that may be absent.
pub(crate) fn optional_arguments<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let arguments = Option::<Vec<String>>::deserialize(deserializer)?;
    no_nul(arguments.as_deref().unwrap_or_default()).map_err(D::Error::custom)?;
    Ok(arguments)
}

fn no_nul(arguments: &[String]) -> Result<(), &'static str> {
    if arguments.iter().any(|argument| argument.contains('\0')) {
        return Err("an argument must not hold a NUL character");
    }
    Ok(())
}

/// A path inside a container: absolute, without NUL.
pub(crate) fn optional_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let path = Option::<PathBuf>::deserialize(deserializer)?;
    if let Some(path) = &path {
        check_path(path).map_err(D::Error::custom)?;
    }
    Ok(path)
}

fn check_path(path: &Path) -> Result<(), String> {
    let shown = path.to_string_lossy().chars().take(80).collect::<String>();
    if !path.is_absolute() {
        return Err(format!("working directory `{}` is not an absolute path", shown.escape_debug()));
    }
    if path.as_os_str().as_encoded_bytes().contains(&0) {
        return Err(format!("working directory `{}` must not hold a NUL character", shown.escape_debug()));
    }
    Ok(())
}
