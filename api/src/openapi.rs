//! The OpenAPI document: what every route takes and answers, for programs that are not written in Rust.
//!
//! Schemas are those of the wire types, so that a field cannot be in one and not in the other; which of them a route
//! speaks stands here.

use serde_json::{Map, Value, json};
use utoipa::{
    ToSchema,
    openapi::{RefOr, Schema},
};

use crate::{
    Container, ContainerCreate, ContainersPrune, ContainersQuery, DisconnectQuery, DnsAnswer, DnsLogEntry, DnsLogQuery,
    DnsQuery, Doctor, EndpointCreate, Event, EventsQuery, ExecCreate, Flow, FlowsQuery, Image, ImportQuery, KillQuery,
    LogLine, LogsQuery, Network, NetworkCreate, NetworkUpdate, NetworksPrune, Policy, PolicyApply, PolicyChanges,
    PolicyRevision, PolicyRollback, PolicyWorld, Problem, Process, Pruned, PrunedNetworks, RemoveQuery, Rename,
    StartQuery, Status, StopQuery, Version, WaitQuery, Waited, route,
};

/// The document (OpenAPI 3.1.0), which `GET /openapi.json` answers with.
pub fn openapi() -> Value {
    let mut document = Document::default();
    document.about_the_daemon();
    document.about_networks();
    document.about_containers();
    document.about_their_processes();
    document.about_images();
    document.about_policies();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Fabric",
            "description": "The API of netd on its Unix socket. Every answer with a status of 400 or more is a Problem.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}
        },
        "paths": document.paths,
        "components": {"schemas": document.schemas},
    })
}

const JSON: &str = "application/json";
const LINES: &str = "application/jsonl";

#[derive(Default)]
struct Document {
    paths: Map<String, Value>,
    schemas: Map<String, Value>,
}

/// One method of one path, to which is added what it takes and answers.
struct Operation<'d> {
    document: &'d mut Document,
    path: &'static str,
    method: &'static str,
    content: Map<String, Value>,
}

impl Document {
    fn about_the_daemon(&mut self) {
        self.at("get", route::VERSION, "Versions of the daemon and its API").answers::<Version>(200);
        self.at("get", route::STATUS, "What the daemon looks after").answers::<Status>(200);
        self.at("get", route::DOCTOR, "What should be, held against what is").answers::<Doctor>(200);
        self.at("post", route::DOCTOR, "The same, once what can be mended is").answers::<Doctor>(200);
        self.at("get", route::METRICS, "Metrics in the text format of Prometheus")
            .answers_text("text/plain; version=0.0.4; charset=utf-8");
        self.at("get", route::OPENAPI, "This document").answers_with(200, JSON, json!({"type": "object"}));
        self.at("get", route::EVENTS, "What happened, one object per line").asks::<EventsQuery>().lines::<Event>();
        self.at("get", route::DNS_QUERY, "What DNS answers a container").asks::<DnsQuery>().answers::<DnsAnswer>(200);
        self.at("get", route::DNS_LOG, "What DNS was asked, one object per line")
            .asks::<DnsLogQuery>()
            .lines::<DnsLogEntry>();
    }

    fn about_networks(&mut self) {
        self.at("get", route::NETWORKS, "All networks").answers::<Vec<Network>>(200);
        self.at("post", route::NETWORKS, "Create a network").takes::<NetworkCreate>().answers::<Network>(201);
        self.at("get", route::NETWORK, "One network").answers::<Network>(200);
        self.at("patch", route::NETWORK, "Change a network").takes::<NetworkUpdate>().answers::<Network>(200);
        self.at("delete", route::NETWORK, "Remove a network that nothing is attached to").answers_nothing();
        self.at("post", route::NETWORKS_PRUNE, "Remove the networks that nothing is attached to")
            .takes::<NetworksPrune>()
            .answers::<PrunedNetworks>(200);
    }

    fn about_containers(&mut self) {
        self.at("get", route::CONTAINERS, "Containers").asks::<ContainersQuery>().answers::<Vec<Container>>(200);
        self.at("post", route::CONTAINERS, "Create a container").takes::<ContainerCreate>().answers::<Container>(201);
        self.at("get", route::CONTAINER, "One container").answers::<Container>(200);
        self.at("delete", route::CONTAINER, "Remove a container").asks::<RemoveQuery>().answers_nothing();
        self.at("post", route::CONTAINER_ENDPOINTS, "Attach a container to a network")
            .takes::<EndpointCreate>()
            .answers::<Container>(201);
        self.at("delete", route::CONTAINER_ENDPOINTS, "Detach a container from a network")
            .asks::<DisconnectQuery>()
            .answers::<Container>(200);
        self.at("post", route::CONTAINER_START, "Start a container").asks::<StartQuery>().answers::<Container>(200);
        self.at("post", route::CONTAINER_STOP, "Stop a container").asks::<StopQuery>().answers::<Container>(200);
        self.at("post", route::CONTAINER_RESTART, "Stop and start a container")
            .asks::<StopQuery>()
            .answers::<Container>(200);
        self.at("post", route::CONTAINER_RENAME, "Rename a container").takes::<Rename>().answers::<Container>(200);
        self.at("post", route::CONTAINERS_PRUNE, "Remove the containers that do not run")
            .takes::<ContainersPrune>()
            .answers::<Pruned>(200);
    }

    fn about_their_processes(&mut self) {
        self.at("get", route::CONTAINER_TOP, "A container's processes").answers::<Vec<Process>>(200);
        self.at("post", route::CONTAINER_KILL, "Send a signal").asks::<KillQuery>().answers_nothing();
        self.at("get", route::CONTAINER_WAIT, "Wait for an event in a container's life")
            .asks::<WaitQuery>()
            .answers::<Waited>(200);
        self.at("get", route::CONTAINER_LOGS, "What a container wrote, one object per line")
            .asks::<LogsQuery>()
            .lines::<LogLine>();
        self.at("post", route::CONTAINER_ATTACH, "A container's standard streams").upgrades();
        self.at("post", route::CONTAINER_EXEC, "Another process in a container").takes::<ExecCreate>().upgrades();
    }

    fn about_images(&mut self) {
        self.at("get", route::IMAGES, "Images").answers::<Vec<Image>>(200);
        self.at("post", route::IMAGES, "Import an image from a tar stream")
            .asks::<ImportQuery>()
            .takes_stream("application/x-tar")
            .answers::<Image>(201);
        self.at("delete", route::IMAGE, "Take an image's name away").answers_nothing();
    }

    fn about_policies(&mut self) {
        self.at("get", route::POLICIES, "All policies").answers::<Vec<Policy>>(200);
        self.at("post", route::POLICIES, "Put policies in force, all or none")
            .takes::<PolicyApply>()
            .answers::<PolicyChanges>(200);
        self.at("get", route::POLICY, "One policy, with the file it stands in").answers::<Policy>(200);
        self.at("delete", route::POLICY, "Take a policy out of force").answers_nothing();
        self.at("get", route::POLICY_WORLD, "Whom policies are about, and which are in force")
            .answers::<PolicyWorld>(200);
        self.at("get", route::POLICY_HISTORY, "What was in force when, the last first")
            .answers::<Vec<PolicyRevision>>(200);
        self.at("get", route::POLICY_REVISION, "What was in force from one change to the next")
            .answers::<PolicyRevision>(200);
        self.at("post", route::POLICY_ROLLBACK, "Put an earlier revision back in force")
            .takes::<PolicyRollback>()
            .answers::<PolicyChanges>(200);
        self.at("get", route::POLICY_FLOWS, "What rules with `log` decided or audited, one object per line")
            .asks::<FlowsQuery>()
            .lines::<Flow>();
    }

    fn at(&mut self, method: &'static str, path: &'static str, summary: &str) -> Operation<'_> {
        let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let parameters: Vec<Value> = names
            .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
            .collect();
        let problem = self.schema::<Problem>();
        let content = json!({
            "summary": summary,
            "parameters": parameters,
            "responses": {"default": {"description": "It failed.", "content": {JSON: {"schema": problem}}}},
        });
        let Value::Object(content) = content else { unreachable!("the literal above is an object") };
        Operation { document: self, path, method, content }
    }

    /// A reference to the type's schema, which the document has from now on; that of a list is of its items.
    fn schema<T: ToSchema>(&mut self) -> Value {
        self.add_parts::<T>();
        let own = serde_json::to_value(T::schema()).expect("schemas are JSON");
        if own["type"] == "array" {
            return own;
        }
        self.schemas.insert(T::name().into_owned(), own);
        json!({"$ref": format!("#/components/schemas/{}", T::name())})
    }

    /// The schemas that the type's own refers to.
    fn add_parts<T: ToSchema>(&mut self) {
        let mut parts: Vec<(String, RefOr<Schema>)> = Vec::new();
        T::schemas(&mut parts);
        let value = |schema| serde_json::to_value(schema).expect("schemas are JSON");
        self.schemas.extend(parts.into_iter().map(|(name, schema)| (name, value(schema))));
    }
}

impl Operation<'_> {
    /// Its query has the type's fields.
    fn asks<Q: ToSchema>(mut self) -> Self {
        self.document.add_parts::<Q>();
        let schema = serde_json::to_value(Q::schema()).expect("schemas are JSON");
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        let fields = schema["properties"].as_object().expect("queries are structs");
        for (name, schema) in fields {
            let required = required.iter().any(|field| field == name);
            let mut parameter = json!({"name": name, "in": "query", "required": required, "schema": schema});
            if let Some(description) = schema.get("description") {
                parameter["description"] = description.clone();
            }
            self.content["parameters"].as_array_mut().expect("made as a list").push(parameter);
        }
        self
    }

    fn takes<B: ToSchema>(mut self) -> Self {
        let schema = self.document.schema::<B>();
        self.content.insert("requestBody".into(), json!({"required": true, "content": {JSON: {"schema": schema}}}));
        self
    }

    fn takes_stream(mut self, kind: &str) -> Self {
        self.content.insert("requestBody".into(), json!({"required": true, "content": {kind: {}}}));
        self
    }

    fn answers<B: ToSchema>(self, status: u16) {
        let schema = self.document.schema::<B>();
        self.answers_with(status, JSON, schema);
    }

    fn lines<B: ToSchema>(self) {
        let schema = self.document.schema::<B>();
        self.answers_with(200, LINES, schema);
    }

    fn answers_text(self, kind: &str) {
        self.answers_with(200, kind, json!({"type": "string"}));
    }

    fn answers_with(self, status: u16, kind: &str, schema: Value) {
        self.responds(status, json!({"description": "Done.", "content": {kind: {"schema": schema}}}));
    }

    fn answers_nothing(self) {
        self.responds(204, json!({"description": "Done."}));
    }

    fn upgrades(self) {
        let description = format!("Frames both ways, once the request asked with `Upgrade: {}`.", route::UPGRADE);
        self.responds(101, json!({"description": description}));
    }

    fn responds(mut self, status: u16, response: Value) {
        self.content["responses"][status.to_string()] = response;
        let path = self.document.paths.entry(self.path).or_insert_with(|| json!({}));
        path[self.method] = Value::Object(self.content);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every reference in a part of the document.
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|field| references(field, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn what_is_referred_to_is_there_and_what_is_there_is_referred_to() {
        let document = openapi();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        let schemas = document["components"]["schemas"].as_object().expect("an object");
        let known: BTreeSet<String> = schemas.keys().map(|name| format!("#/components/schemas/{name}")).collect();
        assert_eq!(found, known);
    }

    #[test]
    fn every_route_is_in_the_document() {
        let routes: BTreeSet<&str> = include_str!("route.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("pub const ")?.split_once("\"/")?.1.strip_suffix("\";"))
            .collect();
        let document = openapi();
        let paths = document["paths"].as_object().expect("an object");
        let documented: BTreeSet<&str> = paths.keys().map(|path| &path[1..]).collect();
        assert_eq!(routes, documented);
        assert!(routes.len() > 20, "{routes:?}");
    }
}
