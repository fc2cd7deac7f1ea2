//! `GET /openapi.json`: what it says of the API is what the API does.

use std::{collections::BTreeSet, process::Command};

use serde_json::Value;
use tests::Host;

/// What the socket answers to a request without a body: the head and the body.
fn ask(host: &Host, method: &str, path: &str) -> (String, String) {
    let socket = host.run_dir().join("netd.sock");
    let curl = Command::new("curl")
        .args(["-sS", "-i", "-X", method, "--unix-socket"])
        .arg(socket)
        .arg(format!("http://netd{path}"))
        .output()
        .expect("curl runs");
    assert!(curl.status.success(), "{method} {path}: {}", String::from_utf8_lossy(&curl.stderr));
    let answer = String::from_utf8(curl.stdout).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head.to_owned(), body.to_owned())
}

fn json(host: &Host, path: &str) -> Value {
    serde_json::from_str(&ask(host, "GET", path).1).expect("JSON")
}

/// How the value breaks the schema, in as much of JSON Schema as the document uses.
fn breaches(document: &Value, schema: &Value, value: &Value, place: &str) -> Vec<String> {
    let fields = schema.as_object().expect("a schema is an object");
    let mut found = Vec::new();
    for (keyword, rule) in fields {
        match keyword.as_str() {
            "$ref" => {
                let pointer = rule.as_str().and_then(|rule| rule.strip_prefix('#')).expect("a reference to within");
                let target = document.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is not in the document"));
                found.extend(breaches(document, target, value, place));
            }
            "oneOf" => {
                let fits = |schema: &&Value| breaches(document, schema, value, place).is_empty();
                if rule.as_array().expect("a list").iter().filter(fits).count() != 1 {
                    found.push(format!("{place}: {value} is not one of {rule}"));
                }
            }
            "type" => {
                let is = |kind: &Value| match kind.as_str().expect("a word") {
                    "null" => value.is_null(),
                    "boolean" => value.is_boolean(),
                    "integer" => value.is_i64() || value.is_u64(),
                    "string" => value.is_string(),
                    "array" => value.is_array(),
                    "object" => value.is_object(),
                    other => panic!("{place}: no type {other}"),
                };
                let fits = rule.as_array().map_or_else(|| is(rule), |kinds| kinds.iter().any(is));
                if !fits {
                    found.push(format!("{place}: {value} is not {rule}"));
                }
            }
            "enum" if !rule.as_array().expect("a list").contains(value) => {
                found.push(format!("{place}: {value} is none of {rule}"));
            }
            "required" => {
                let missing = |name: &&Value| value.get(name.as_str().expect("a name")).is_none();
                let missing = rule.as_array().expect("a list").iter().filter(missing);
                found.extend(missing.map(|name| format!("{place}: {name} is missing")));
            }
            "properties" => {
                // What answers say is in the document: a field that is not would be news to its readers.
                for (name, value) in value.as_object().into_iter().flatten() {
                    match rule.get(name) {
                        Some(schema) => found.extend(breaches(document, schema, value, &format!("{place}.{name}"))),
                        None => found.push(format!("{place}.{name} is not in the document")),
                    }
                }
            }
            "additionalProperties" if rule.is_object() => {
                for (name, value) in value.as_object().into_iter().flatten() {
                    found.extend(breaches(document, rule, value, &format!("{place}.{name}")));
                }
            }
            "items" => {
                for (index, value) in value.as_array().into_iter().flatten().enumerate() {
                    found.extend(breaches(document, rule, value, &format!("{place}[{index}]")));
                }
            }
            "minimum" => {
                if value.as_f64().is_some_and(|number| number < rule.as_f64().expect("a number")) {
                    found.push(format!("{place}: {value} is below {rule}"));
                }
            }
            "enum"
            | "description"
            | "format"
            | "pattern"
            | "additionalProperties"
            | "default"
            | "propertyNames"
            | "maximum" => {}
            other => panic!("{place}: this test does not know the keyword {other}"),
        }
    }
    found
}

#[test]
fn answers_are_what_the_document_says() {
    let host = Host::new();
    host.ok(&["network", "create", "web", "--subnet", "10.9.8.0/24", "--ipv6", "--label", "team=blue"]);
    host.run("api", "web", &["-p", "8080:80"], &["sleep", "1000"]);
    host.ok(&["run", "--name", "job", "busybox", "true"]);
    let document = json(&host, "/openapi.json");
    assert_eq!(document["openapi"], "3.1.0");
    for (path, pattern, status) in [
        ("/v1/version", "/v1/version", "200"),
        ("/v1/status", "/v1/status", "200"),
        ("/v1/doctor", "/v1/doctor", "200"),
        ("/v1/networks", "/v1/networks", "200"),
        ("/v1/networks/web", "/v1/networks/{name}", "200"),
        ("/v1/networks/nowhere", "/v1/networks/{name}", "default"),
        ("/v1/containers?all=true", "/v1/containers", "200"),
        ("/v1/containers/api", "/v1/containers/{reference}", "200"),
        ("/v1/containers/job", "/v1/containers/{reference}", "200"),
        ("/v1/containers/api?x=1", "/v1/containers/{reference}", "200"),
        ("/v1/containers?all=perhaps", "/v1/containers", "default"),
        ("/v1/containers/nobody", "/v1/containers/{reference}", "default"),
        ("/v1/containers/api/top", "/v1/containers/{reference}/top", "200"),
        ("/v1/containers/job/wait", "/v1/containers/{reference}/wait", "200"),
        ("/v1/dns/query?name=api.fabric&as=api", "/v1/dns/query", "200"),
        ("/v1/images", "/v1/images", "200"),
    ] {
        let schema = &document["paths"][pattern]["get"]["responses"][status]["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{pattern} {status}");
        assert_eq!(breaches(&document, schema, &json(&host, path), path), Vec::<String>::new());
    }
    for path in ["/v1/events", "/v1/dns/log", "/v1/containers/job/logs"] {
        let pattern = path.replace("job", "{reference}");
        let schema = &document["paths"][&pattern]["get"]["responses"]["200"]["content"]["application/jsonl"]["schema"];
        for line in ask(&host, "GET", path).1.lines() {
            let value = serde_json::from_str(line).expect("JSON");
            assert_eq!(breaches(&document, schema, &value, path), Vec::<String>::new());
        }
    }
    // The check can fail: a container is no network.
    let schema = &document["components"]["schemas"]["Network"];
    assert!(breaches(&document, schema, &json(&host, "/v1/containers/api"), "api").len() > 3);
}

#[test]
fn the_document_names_every_method_of_every_path() {
    let host = Host::new();
    let document = json(&host, "/openapi.json");
    for (pattern, methods) in document["paths"].as_object().expect("an object") {
        let documented: BTreeSet<String> =
            methods.as_object().expect("an object").keys().map(|method| method.to_uppercase()).collect();
        let path = pattern.replace(['{', '}'], "");
        // No route takes OPTIONS, so the answer says what it does take (RFC 9110 §15.5.6).
        let (head, _) = ask(&host, "OPTIONS", &path);
        let allow = head.lines().find_map(|line| line.to_lowercase().strip_prefix("allow: ").map(str::to_uppercase));
        let allowed = allow.unwrap_or_else(|| panic!("{path}: {head}"));
        let allowed: BTreeSet<String> =
            allowed.split(',').map(|method| method.trim().to_owned()).filter(|method| method != "HEAD").collect();
        assert_eq!(allowed, documented, "{pattern}");
    }
}
