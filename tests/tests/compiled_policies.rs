//! What policies are compiled to is what nft and the kernel take, as a whole and as a change.

use std::{
    collections::BTreeSet,
    io::Write,
    process::{Command, Stdio},
};

use model::DataPath;
use policy::{Policies, Suite, Syntax, compile, parse};

const BEFORE: &str = r#"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  policyTypes: [Ingress, Egress]
  ingress:
  - from: [{podSelector: {matchLabels: {app: web}}}, {ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}]
    ports: [{port: 5432}, {port: 8000, endPort: 8100}, {protocol: UDP}, {port: sql}]
---
apiVersion: fabric/v1
kind: Policy
metadata: {name: web}
networks: ['*']
subject: {labels: {app: web}}
ingress:
- {action: audit, from: [{entity: world}], ports: [http], icmp: [any], icmpv6: [any], log: true}
- {action: deny, from: [{cidr: 0.0.0.0/0, except: [203.0.113.0/24]}, {cidr: '::/0'}], ports: [22, 6000-6010/sctp]}
- {action: allow, order: 200, rate: 10/m, connections: 5, log: true, ports: [80]}
- {action: deny, order: 300, icmp: [echo-request, 3/4], icmpv6: [echo-request, 1/4]}
egress:
- {action: deny, to: [{names: [c0]}, {names: [c1]}, {names: [c2]}, {names: [c3]}, {names: [c4]}, {names: [c5]}, {names: [c6]},
   {names: [c7]}, {names: [web]}, {cidr: 10.2.0.0/16}], ports: [25]}
- {action: allow, order: 200, to: [{dns: ['*.example.com']}], ports: [443]}
- {action: deny, order: 300, to: [{entity: world}]}
---
apiVersion: fabric/v1
kind: Stance
metadata: {name: closed}
networks: [ops]
ingress: deny
"#;

const WORLD: &str = r#"
networks: {shop: {gateways: [10.1.0.1, "fd00:1::1"]}, ops: {gateways: [10.2.0.1]}}
host: [192.0.2.10]
names: {api.example.com: [203.0.113.7, "2001:db8::7"]}
endpoints:
- {name: web, network: shop, labels: {app: web}, addresses: [10.1.0.2, "fd00:1::2"], ports: {http: 8080}}
- {name: web, network: ops, labels: {app: web}, addresses: [10.2.0.2], ports: {http: 8080}}
- {name: db, network: shop, labels: {app: db}, addresses: [10.1.0.4, "fd00:1::4"], ports: {sql: 5432}}
- {name: admin, network: ops, addresses: [10.2.0.3]}
"#;

fn path(policies: &str, world: &str) -> DataPath {
    let told = |errors: Vec<_>| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let documents = parse("p.yaml", Syntax::Yaml, policies, None).map_err(told).unwrap_or_else(|told| panic!("{told}"));
    let policies = Policies::new(documents).expect("names of their own");
    let world = Suite::parse("w.yaml", Syntax::Yaml, world).expect("valid").world;
    compile(&policies, &world, "2026-01-01T00:00:00Z".parse().expect("literal"))
}

/// What loads a data path, makes others of it by their differences, and lists each beside the same loaded at once.
fn script() -> String {
    let after = BEFORE
        .replace("port: 5432}, ", "port: 5433}, ")
        .replace("endPort: 8100", "endPort: 8200")
        .replace("except: [10.1.0.0/16]", "except: [10.0.0.0/16, 10.1.2.0/24]")
        .replace("icmp: [echo-request, 3/4]", "icmp: [any]")
        .replace("{cidr: 10.2.0.0/16}]", "{cidr: 10.2.0.0/15}, {entity: host}]");
    let without = BEFORE
        .replace("subject: {labels: {app: web}}", "subject: {names: [web]}")
        .replace("ingress: deny", "egress: deny");
    let grown = WORLD.replace("name: admin", "name: c0, labels: {app: web}").replace(".0.4,", ".0.5,");
    let paths = [(BEFORE, WORLD), (BEFORE, &grown), (&after, &grown), (&without, WORLD), (BEFORE, WORLD)];
    let mut old = DataPath::default();
    let load = |text: &str| format!("nft -f - <<'END'\n{text}END\n");
    let mut script = load("add table inet policies\n");
    for (policies, world) in paths {
        let new = path(policies, world);
        script.push_str(&load(&old.difference(&new).commands("policies")));
        script.push_str(&load(&new.commands("fresh")));
        script.push_str("echo == changed; nft list table inet policies; echo == fresh; nft list table inet fresh\n");
        script.push_str("nft delete table inet fresh\n");
        old = new;
    }
    script.push_str(&load(&old.difference(&DataPath::default()).commands("policies")));
    script.push_str(
        "echo == changed; nft list table inet policies; echo == fresh; echo 'table inet fresh {'; echo '}'\n",
    );
    script
}

/// The objects of a listing, in no order, and so their elements.
fn objects(listing: &str) -> BTreeSet<Vec<String>> {
    let objects = listing.trim().trim_start_matches("table inet ").trim_end_matches('}');
    let objects = objects.trim_start_matches("policies {").trim_start_matches("fresh {").split("\n\n");
    let object = |text: &str| {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let (head, elements) = text.split_once("elements = {").unwrap_or((&text, ""));
        let elements = elements.trim_end_matches(['}', ' ']).split(',').map(|element| element.trim().to_owned());
        let mut elements: Vec<String> = elements.collect();
        elements.sort();
        elements.insert(0, head.to_owned());
        elements
    };
    objects.map(object).collect()
}

#[track_caller]
fn assert_alike(output: &str) {
    let mut listings =
        output.split("== changed").skip(1).map(|both| both.split_once("== fresh").expect("two listings"));
    let alike = |(changed, fresh): (&str, &str)| {
        assert_eq!(objects(changed), objects(fresh), "{output}");
        objects(changed).len()
    };
    let counts: Vec<usize> = listings.by_ref().map(alike).collect();
    assert_eq!(counts.len(), 6, "{output}");
    assert!(counts[..5].iter().all(|count| *count > 20), "{counts:?}\n{output}");
    assert_eq!(counts[5], 1, "nothing but the table is left: {output}");
}

#[test]
fn data_paths_and_their_differences_are_what_nft_takes() {
    let mut shell = Command::new("unshare");
    shell.args(["--net", "sh", "-eu"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut shell = shell.spawn().expect("unshare runs");
    shell.stdin.take().expect("it is piped").write_all(script().as_bytes()).expect("the shell reads");
    let output = shell.wait_with_output().expect("it is our child");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stdout));
    assert_alike(&String::from_utf8_lossy(&output.stdout));
}
