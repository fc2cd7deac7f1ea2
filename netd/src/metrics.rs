//! What monitoring asks for: counts and latencies in the text format of Prometheus (exposition format 0.0.4).
//!
//! Of what people name, only networks are labels, so that there are as many series with 10 containers as with 10,000.
//! On the way of a request an observation is a few additions to atomics; everything else is counted when somebody asks.

use std::{
    collections::BTreeMap,
    fmt::{Display, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kernel::Octets;
use model::{ContainerState, IfName};

use crate::{
    daemon::{Daemon, chain},
    world::World,
};

/// Upper bounds of the buckets of latencies, in microseconds: from a tenth of what an attach takes to what no person
/// waits for.
const BOUNDS: [u64; 14] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 10_000_000];

/// How long something took, how often.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    /// Not cumulative; the last one holds what took longer than every bound.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    microseconds: AtomicU64,
}

impl Histogram {
    /// Notes that something took so long.
    pub(crate) fn observe(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < took);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.microseconds.fetch_add(took, Ordering::Relaxed);
    }
}

/// A number that only grows while the daemon lives.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Everything that is counted as it happens.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// From a request for a started container to its program running.
    pub(crate) start: Histogram,
    /// From what is desired of a container's links to the kernel having it.
    pub(crate) attach: Histogram,
    /// Comparisons of what should be with what is, whatever they found.
    pub(crate) reconcile: Histogram,
    /// Those that failed.
    pub(crate) reconcile_failures: Counter,
    /// Changes made to the kernel.
    pub(crate) changes: Counter,
    /// Starts of containers by their restart policies.
    pub(crate) restarts: Counter,
}

impl Daemon {
    /// All metrics, as they are now.
    pub(crate) async fn metrics_text(self: &Arc<Self>) -> String {
        let mut page = Page::default();
        page.one("fabric_build_info", "gauge", "The daemon's version.", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        let started = self.started_at.as_millisecond() as f64 / 1000.0;
        page.one("fabric_start_time_seconds", "gauge", "When the daemon was started, since the epoch.", &[], started);
        let octets = self.kernel.octets().await.unwrap_or_else(|error| {
            // Without them the rest is of use still.
            tracing::warn!(error = chain(&error), "cannot count what the networks' bridges have passed");
            BTreeMap::new()
        });
        let images = self.list_images().await.map_or(0, |images| images.len());
        {
            let world = self.world();
            let mut states = BTreeMap::from([("created", 0_u64), ("running", 0), ("restarting", 0), ("exited", 0)]);
            for record in world.records() {
                let state = match world.life(&record.container.id).map(|life| life.state()) {
                    Some(ContainerState::Running { .. }) => "running",
                    _ if record.is_restarting() => "restarting",
                    Some(ContainerState::Exited { .. }) => "exited",
                    _ => "created",
                };
                *states.entry(state).or_default() += 1;
            }
            page.head("fabric_containers", "gauge", "Containers, by what they do.");
            states.iter().for_each(|(state, count)| page.sample("fabric_containers", &[("state", state)], count));
            let usage = world.networks().map(|network| world.usage(network));
            let (used, capacity) = usage.fold((0_u64, 0_u128), |(used, capacity), usage| {
                (used.saturating_add(usage.used), capacity.saturating_add(usage.capacity))
            });
            page.one("fabric_networks", "gauge", "Networks.", &[], world.networks().count());
            page.one("fabric_endpoints", "gauge", "Endpoints of all containers.", &[], world.endpoints().count());
            page.one("fabric_addresses_used", "gauge", "Addresses that endpoints hold.", &[], used);
            page.one("fabric_addresses_capacity", "gauge", "Addresses that endpoints could hold.", &[], capacity);
            page.networks(&world);
            page.octets(&world, &octets);
            let spare = world.namespaces.coming();
            page.one("fabric_spare_namespaces", "gauge", "Namespaces ready for the next containers.", &[], spare);
        }
        page.one("fabric_images", "gauge", "Names of images.", &[], images);
        let size = std::fs::metadata(self.directories.data().join("state.redb")).map_or(0, |file| file.len());
        page.one("fabric_store_bytes", "gauge", "Size of the state file.", &[], size);
        page.one("fabric_events_total", "counter", "Events since the first, over restarts.", &[], self.events.count());
        let metrics = &self.metrics;
        page.histogram("fabric_container_start_seconds", "From a request to a running program.", &metrics.start);
        page.histogram("fabric_attach_seconds", "Bringing a container's links to their state.", &metrics.attach);
        page.histogram(
            "fabric_reconcile_seconds",
            "Comparing desired and real state, and mending.",
            &metrics.reconcile,
        );
        page.counter("fabric_reconcile_failures_total", "Those that failed.", &metrics.reconcile_failures);
        page.counter("fabric_kernel_changes_total", "Changes made to the kernel.", &metrics.changes);
        page.counter("fabric_container_restarts_total", "Starts by restart policies.", &metrics.restarts);
        let listening = u8::from(self.deaf.lock().expect("nobody panics with it").is_empty());
        page.dns(&self.dns.counts(), self.kernel.names());
        page.one("fabric_dns_listening", "gauge", "1 if every network's gateway answers DNS.", &[], listening);
        page.0
    }
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}").expect("writing to a String never fails");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        // No label's value holds what would have to be escaped: all are words of this program, or DNS labels.
        let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        writeln!(self.0, "{name}{labels} {value}").expect("writing to a String never fails");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, labels: &[(&str, &str)], value: impl Display) {
        self.head(name, kind, help);
        self.sample(name, labels, value);
    }

    fn counter(&mut self, name: &str, help: &str, counter: &Counter) {
        self.one(name, "counter", help, &[], counter.value());
    }

    fn networks(&mut self, world: &World) {
        let name = "fabric_network_addresses";
        self.head(name, "gauge", "Addresses of each network, by whether endpoints hold them, held them, or could.");
        for network in world.networks() {
            let usage = world.usage(network);
            for (state, count) in
                [("used", usage.used.into()), ("resting", usage.resting.into()), ("free", usage.free())]
            {
                self.sample(name, &[("network", network.name.as_str()), ("state", state)], count);
            }
        }
        let name = "fabric_network_endpoints";
        self.head(name, "gauge", "Endpoints on each network, by whether their containers are attached there now.");
        for network in world.networks() {
            let (mut live, mut idle) = (0_u64, 0);
            for record in world.on_network(&network.id) {
                *if record.is_live() { &mut live } else { &mut idle } += 1;
            }
            for (state, count) in [("attached", live), ("detached", idle)] {
                self.sample(name, &[("network", network.name.as_str()), ("state", state)], count);
            }
        }
    }

    fn octets(&mut self, world: &World, octets: &BTreeMap<IfName, Octets>) {
        let name = "fabric_network_bytes_total";
        self.head(
            name,
            "counter",
            "What the host had from each bridge network's containers (in), and sent them (out).",
        );
        for network in world.networks() {
            let Some(octets) = octets.get(&network.bridge()) else { continue };
            for (direction, count) in [("in", octets.from_containers), ("out", octets.to_containers)] {
                self.sample(name, &[("network", network.name.as_str()), ("direction", direction)], count);
            }
        }
    }

    fn dns(&mut self, counts: &dns::Counts, names: &kernel::Names) {
        let by_kernel = names.answered();
        let name = "fabric_dns_queries_total";
        self.head(name, "counter", "Answered DNS queries, by transport and by where the answer came from.");
        let mut udp = counts.udp;
        udp.zone += by_kernel;
        for (transport, answers) in [("udp", udp), ("tcp", counts.tcp)] {
            for (origin, count) in [
                ("zone", answers.zone),
                ("cache", answers.cache),
                ("upstream", answers.upstream),
                ("failure", answers.failure),
            ] {
                self.sample(name, &[("transport", transport), ("origin", origin)], count);
            }
        }
        let help = "DNS queries that the kernel answered at the containers' ports.";
        self.one("fabric_dns_kernel_queries_total", "counter", help, &[], by_kernel);
        let help = "Names and askers that the kernel has no room for, so that netd answers.";
        self.one("fabric_dns_kernel_waiting", "gauge", help, &[], names.waiting());
        let name = "fabric_dns_unanswered_total";
        self.head(
            name,
            "counter",
            "Datagrams without an answer: of strangers or no queries, or more than could be answered.",
        );
        self.sample(name, &[("reason", "ignored")], counts.ignored);
        self.sample(name, &[("reason", "overload")], counts.dropped);
        let help = "How long DNS queries waited for upstreams, all of them together.";
        self.one("fabric_dns_upstream_wait_seconds_total", "counter", help, &[], counts.waited.as_secs_f64());
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, "histogram", help);
        // Read once, so that the sum of the buckets is the count even while more is observed.
        let counts = histogram.buckets.each_ref().map(|bucket| bucket.load(Ordering::Relaxed));
        let mut total = 0;
        for (index, count) in counts.iter().enumerate() {
            total += count;
            let bound = BOUNDS.get(index).map_or("+Inf".to_owned(), |bound| (*bound as f64 / 1e6).to_string());
            self.sample(&format!("{name}_bucket"), &[("le", &bound)], total);
        }
        let sum = histogram.microseconds.load(Ordering::Relaxed) as f64 / 1e6;
        self.sample(&format!("{name}_sum"), &[], sum);
        self.sample(&format!("{name}_count"), &[], total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_a_bound_is_within() {
        let histogram = Histogram::default();
        for took in [50, 100, 101, 1_000, 20_000_000] {
            histogram.observe(Duration::from_micros(took));
        }
        let mut page = Page::default();
        page.histogram("x", "Something.", &histogram);
        for line in [
            "x_bucket{le=\"0.0001\"} 2",
            "x_bucket{le=\"0.00025\"} 3",
            "x_bucket{le=\"0.001\"} 4",
            "x_bucket{le=\"10\"} 4",
            "x_bucket{le=\"+Inf\"} 5",
            "x_sum 20.001251",
            "x_count 5",
        ] {
            assert!(page.0.lines().any(|found| found == line), "{line} in\n{}", page.0);
        }
    }
}
