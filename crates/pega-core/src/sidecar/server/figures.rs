//! What a server counts, by name.

use std::sync::atomic::{AtomicU64, Ordering};

use super::hub::Hub;

/// The figures of the engine and of the server, in a fixed order. Names that end in `_total` only grow.
pub(super) fn read(hub: &Hub) -> Vec<(String, f64)> {
    let stats = hub.engine.stats();
    let engine = [
        ("entries", stats.entries),
        ("memory_bytes", stats.memory_bytes),
        ("memory_used_bytes", stats.memory_used_bytes),
        ("index_bytes", stats.index_bytes),
        ("puts_total", stats.counts.puts),
        ("removes_total", stats.counts.removes),
        ("memory_hits_total", stats.counts.memory_hits),
        ("disk_hits_total", stats.counts.disk_hits),
        ("misses_total", stats.counts.misses),
        ("evictions_total", stats.counts.evictions),
        ("demotions_total", stats.counts.demotions),
        ("promotions_total", stats.counts.promotions),
        ("expirations_total", stats.counts.expirations),
        ("corruptions_total", stats.counts.corruptions),
    ];
    let (connections, clients) = hub.attendance();
    let counters = &hub.counters;
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
    let server = [
        ("sidecar_uptime_seconds", hub.started.elapsed().as_secs_f64()),
        ("sidecar_clients", clients as f64),
        ("sidecar_connections", connections as f64),
        ("sidecar_connections_total", read(&counters.connections)),
        ("sidecar_connections_refused_total", read(&counters.refused)),
        ("sidecar_requests_total", read(&counters.requests)),
        ("sidecar_protocol_violations_total", read(&counters.violations)),
        ("sidecar_reclaimed_reservations_total", read(&counters.reclaimed_reservations)),
        ("sidecar_reclaimed_pins_total", read(&counters.reclaimed_pins)),
        ("sidecar_reclaimed_leases_total", read(&counters.reclaimed_leases)),
    ];
    let engine = engine.map(|(name, value)| (name.to_owned(), value as f64));
    engine.into_iter().chain(server.map(|(name, value)| (name.to_owned(), value))).collect()
}
