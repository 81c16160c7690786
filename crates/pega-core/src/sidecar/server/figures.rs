//! What a server counts, by name.

use std::sync::atomic::{AtomicU64, Ordering};

use super::hub::Hub;

/// The figures of the engine and of the server, in a fixed order. Names that end in `_total` only grow.
pub(super) fn read(hub: &Hub) -> Vec<(String, u64)> {
    let (connections, clients) = hub.attendance();
    let counters = &hub.counters;
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let server = [
        ("sidecar_uptime_seconds", hub.started.elapsed().as_secs()),
        ("sidecar_clients", clients as u64),
        ("sidecar_connections", connections as u64),
        ("sidecar_connections_total", read(&counters.connections)),
        ("sidecar_connections_refused_total", read(&counters.refused)),
        ("sidecar_requests_total", read(&counters.requests)),
        ("sidecar_protocol_violations_total", read(&counters.violations)),
        ("sidecar_reclaimed_reservations_total", read(&counters.reclaimed_reservations)),
        ("sidecar_reclaimed_pins_total", read(&counters.reclaimed_pins)),
        ("sidecar_reclaimed_leases_total", read(&counters.reclaimed_leases)),
    ];
    let engine = hub.engine.stats().figures();
    engine.into_iter().chain(server).map(|(name, figure)| (name.to_owned(), figure)).collect()
}
