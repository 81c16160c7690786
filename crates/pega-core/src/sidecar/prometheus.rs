//! Figures in the text format of Prometheus.

use std::fmt::Write;

/// Figures that go up and down; all others only grow.
const GAUGES: [&str; 6] = [
    "entries",
    "memory_used_bytes",
    "memory_bytes",
    "sidecar_uptime_seconds",
    "sidecar_clients",
    "sidecar_connections",
];

/// Whether a figure may become smaller.
fn is_gauge(name: &str) -> bool {
    GAUGES.contains(&name) || name.ends_with("_bytes") || name.ends_with("_bytes_used")
}

/// The figures as Prometheus scrapes them: `pegaflow_` before each name, `_total` after those that only grow.
#[must_use]
pub fn prometheus_text(figures: &[(String, u64)]) -> String {
    let mut text = String::new();
    for (name, figure) in figures {
        let (kind, suffix) = match (is_gauge(name), name.ends_with("_total")) {
            (true, _) => ("gauge", ""),
            (false, true) => ("counter", ""),
            (false, false) => ("counter", "_total"),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# TYPE pegaflow_{name}{suffix} {kind}\npegaflow_{name}{suffix} {figure}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gauges_and_counters_are_told_apart() {
        let figures = [("entries", 3), ("puts", 5), ("sidecar_requests_total", 7)];
        let figures = figures.map(|(name, figure)| (name.to_owned(), figure));
        assert_eq!(
            prometheus_text(&figures),
            "# TYPE pegaflow_entries gauge\npegaflow_entries 3\n\
             # TYPE pegaflow_puts_total counter\npegaflow_puts_total 5\n\
             # TYPE pegaflow_sidecar_requests_total counter\npegaflow_sidecar_requests_total 7\n"
        );
    }
}
