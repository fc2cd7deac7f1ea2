//! What bash offers to somebody who presses the key that completes.

use std::{ffi::OsStr, path::Path, process::Command};

/// What a key press of bash would run, given the script and the words of a line.
const COMPLETE: &str = r#"
source "$0"
function=$(complete -p fabric | grep -o -- '-F [^ ]*')
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_TYPE=9
"${function#-F }" fabric "${@: -1}" "${@: -2:1}"
printf '%s\n' "${COMPREPLY[@]}""#;

/// What bash, once it has loaded `script`, offers for the last of `words`, in order. It asks the `fabric` in
/// `binaries`, which asks the daemon at `socket`.
///
/// # Panics
/// If bash or the script fails.
#[track_caller]
pub fn completed_by_bash(script: &Path, binaries: &Path, socket: &Path, words: &[&str]) -> Vec<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = [binaries.as_os_str(), &path].join(OsStr::new(":"));
    let mut bash = Command::new("bash");
    // Without the settings of whoever runs the test.
    bash.args(["--norc", "--noprofile", "-euc", COMPLETE]).arg(script).args(words);
    let output = bash.env("PATH", path).env("FABRIC_SOCKET", socket).output().expect("bash runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{words:?}: {}\n{errors}", output.status);
    let offered = String::from_utf8_lossy(&output.stdout);
    let mut offered: Vec<String> = offered.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
    offered.sort();
    offered
}
