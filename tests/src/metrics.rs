//! What monitoring sees.

use std::{collections::BTreeMap, process::Command};

use crate::Host;

impl Host {
    /// Every sample of `GET /metrics` by its name and labels, once each line has been held to be one of the format.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--fail", "--unix-socket"]).arg(self.run_dir().join("netd.sock")).arg("http://netd/metrics");
        let output = curl.output().expect("curl runs");
        let text = String::from_utf8(output.stdout).expect("text");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut samples = BTreeMap::new();
        let mut typed = String::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("# TYPE ") {
                typed = name.split(' ').next().expect("a name").to_owned();
            } else if !line.starts_with("# HELP ") {
                let (name, value) = line.rsplit_once(' ').expect("a name and a value");
                assert!(name.starts_with(&typed), "`{line}` follows the type of {typed}");
                let twice = samples.insert(name.to_owned(), value.parse().expect("a number"));
                assert_eq!(twice, None, "{line}");
            }
        }
        samples
    }
}
