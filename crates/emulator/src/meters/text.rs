//! The counts as OpenMetrics text, for Prometheus and its like.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde::Serialize;
use serde_json::Value;

use super::Meters;
use crate::throttle::Status;

type Labels = Vec<(&'static str, String)>;

/// What is measured rather than counted.
pub(crate) struct Gauges {
    pub(crate) connections: usize,
    pub(crate) throttles: Option<Status>,
}

/// The content type of the text.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything there is to know, as text.
pub(crate) fn open_metrics(meters: &Meters, gauges: &Gauges) -> String {
    let mut registry = Registry::with_prefix("iothub");
    operations(&mut registry, meters);
    billing(&mut registry, meters);
    let connections = Gauge::<i64>::default();
    connections.set(signed(gauges.connections as u64));
    registry.register("connections", "Live MQTT connections", connections);
    if let Some(status) = &gauges.throttles {
        throttles(&mut registry, status);
    }
    let mut text = String::new();
    // Writing into a string does not fail.
    let _ = encode(&mut text, &registry);
    in_order(&text)
}

/// The library writes the samples of a family in the order of its hash map, anew each time.
fn in_order(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    for samples in lines.chunk_by_mut(|left, right| left.starts_with('#') == right.starts_with('#')) {
        if !samples[0].starts_with('#') {
            samples.sort_unstable();
        }
    }
    lines.into_iter().flat_map(|line| [line, "\n"]).collect()
}

fn operations(registry: &mut Registry, meters: &Meters) {
    let all = Family::<Labels, Counter>::default();
    for (meter, count) in meters.all() {
        all.get_or_create(&vec![("kind", name(meter))]).inc_by(count);
    }
    registry.register("operations", "Operations by kind", all);
    let by_device = Family::<Labels, Counter>::default();
    for (device, counts) in meters.by_device() {
        for (meter, count) in counts {
            by_device.get_or_create(&vec![("device", device.clone()), ("kind", name(meter))]).inc_by(count);
        }
    }
    registry.register("device_operations", "Operations by device and kind, modules included", by_device);
}

fn billing(registry: &mut Registry, meters: &Meters) {
    let billed = meters.billed();
    let by_kind = Family::<Labels, Counter>::default();
    for (bill, messages) in &billed.by_kind {
        by_kind.get_or_create(&vec![("kind", name(bill))]).inc_by(*messages);
    }
    registry.register("billed_messages", "Messages that a real hub would bill, by what they are for", by_kind);
    let by_device = Family::<Labels, Counter>::default();
    for (device, messages) in &billed.by_device {
        by_device.get_or_create(&vec![("device", device.clone())]).inc_by(*messages);
    }
    registry.register("device_billed_messages", "Messages that a real hub would bill, by device", by_device);
}

fn throttles(registry: &mut Registry, status: &Status) {
    let (queued, refused) = (Family::<Labels, Counter>::default(), Family::<Labels, Counter>::default());
    let wait = Family::<Labels, Gauge>::default();
    for (lane, of_lane) in &status.lanes {
        let labels = vec![("lane", name(lane))];
        queued.get_or_create(&labels).inc_by(of_lane.queued);
        refused.get_or_create(&labels).inc_by(of_lane.refused);
        wait.get_or_create(&labels).set(signed(of_lane.wait_ms));
    }
    registry.register("throttle_queued", "Operations that a throttle made wait", queued);
    registry.register("throttle_refused", "Operations that a throttle refused", refused);
    registry.register("throttle_wait_milliseconds", "How long an operation that comes now waits", wait);
    let (used, max) = (Gauge::<i64>::default(), Gauge::<i64>::default());
    used.set(signed(status.quota.used()));
    max.set(signed(status.quota.max()));
    registry.register("quota_used_messages", "Messages of the day, used", used);
    registry.register("quota_max_messages", "Messages of a day", max);
}

/// The name that the control API uses as well.
fn name(of: impl Serialize) -> String {
    serde_json::to_value(of).ok().as_ref().and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Id;
    use crate::meters::{Bill, Meter};
    use crate::throttle::{Gate, Sku, Throttling};

    #[test]
    fn the_text_is_open_metrics() {
        let meters = Meters::default();
        meters.count_for(Meter::Telemetry, &Id::device("a\"b\\"));
        meters.bill(Bill::Telemetry, Some("a\"b\\"), 3);
        let gate = Gate::open();
        gate.set(Some(Throttling::new(Sku::F1, 1)));
        let throttles = gate.status(jiff::Timestamp::UNIX_EPOCH);
        let text = open_metrics(&meters, &Gauges { connections: 2, throttles });
        for line in [
            "iothub_operations_total{kind=\"telemetry\"} 1",
            "iothub_device_operations_total{device=\"a\\\"b\\\\\",kind=\"telemetry\"} 1",
            "iothub_billed_messages_total{kind=\"telemetry\"} 3",
            "iothub_connections 2",
            "iothub_throttle_refused_total{lane=\"registry\"} 0",
            "iothub_quota_max_messages 8000",
            "# EOF",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        let lanes = text.lines().filter(|line| line.starts_with("iothub_throttle_refused_total"));
        assert!(lanes.is_sorted(), "{text}");
    }
}
