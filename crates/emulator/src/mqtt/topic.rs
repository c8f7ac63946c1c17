//! Topics of the hub, as the hub reads them.

use crate::hub::{Channel, Id};

/// What a device publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Inbound {
    /// A message of the connection's own identity, with its properties.
    Telemetry(Vec<(String, String)>),
    /// `$iothub/twin/GET/?$rid=…`
    TwinGet { rid: String },
    /// `$iothub/twin/PATCH/properties/reported/?$rid=…`
    Report { rid: String },
    /// `$iothub/methods/res/{status}/?$rid=…`
    MethodAnswer { status: i64, rid: String },
}

/// Reads a topic; `None` for anything that this identity may not publish to.
pub(super) fn inbound(id: &Id, topic: &str) -> Option<Inbound> {
    if let Some(rest) = topic.strip_prefix("$iothub/twin/GET/") {
        return Some(Inbound::TwinGet { rid: rid(rest)? });
    }
    if let Some(rest) = topic.strip_prefix("$iothub/twin/PATCH/properties/reported/") {
        return Some(Inbound::Report { rid: rid(rest)? });
    }
    if let Some(rest) = topic.strip_prefix("$iothub/methods/res/") {
        let (status, rest) = rest.split_once('/')?;
        return Some(Inbound::MethodAnswer { status: status.parse().ok()?, rid: rid(rest)? });
    }
    let rest = topic.strip_prefix(&events_prefix(id))?;
    let bag = match rest {
        "" => "",
        rest => rest.strip_prefix('/')?,
    };
    Some(Inbound::Telemetry(properties(bag)))
}

/// What a filter of this identity stands for; `None` when the hub does not serve it.
pub(super) fn channel(id: &Id, filter: &str) -> Option<Channel> {
    match filter {
        "$iothub/methods/POST/#" => return Some(Channel::Methods),
        "$iothub/twin/res/#" => return Some(Channel::TwinAnswers),
        "$iothub/twin/PATCH/properties/desired/#" => return Some(Channel::Desired),
        _ => {}
    }
    let base = identity_prefix(id);
    if filter == format!("{base}/messages/devicebound/#") {
        return Some(Channel::Messages);
    }
    (id.module.is_some() && filter == format!("{base}/inputs/#")).then_some(Channel::Inputs)
}

fn events_prefix(id: &Id) -> String {
    format!("{}/messages/events", identity_prefix(id))
}

fn identity_prefix(id: &Id) -> String {
    match &id.module {
        None => format!("devices/{}", id.device),
        Some(module) => format!("devices/{}/modules/{module}", id.device),
    }
}

/// The request id in `?$rid=…`, among other parameters.
fn rid(rest: &str) -> Option<String> {
    let query = rest.trim_end_matches('/').strip_prefix('?')?;
    let rid = query.split('&').find_map(|field| field.strip_prefix("$rid="))?;
    (!rid.is_empty() && rid.len() <= 256).then(|| rid.to_owned())
}

/// `k=v&k2=v2`, URL-encoded; trailing slashes are a habit of one SDK.
fn properties(bag: &str) -> Vec<(String, String)> {
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    bag.trim_end_matches('/')
        .split('&')
        .filter(|field| !field.is_empty())
        .map(|field| match field.split_once('=') {
            Some((name, value)) => (decode(name), decode(value)),
            None => (decode(field), String::new()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_by_table() {
        let device = Id::device("d");
        let module = Id::module("d", "m");
        let bag = |pairs: &[(&str, &str)]| {
            let own = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
            Some(Inbound::Telemetry(pairs.iter().map(own).collect()))
        };
        for (id, topic, read) in [
            (&device, "devices/d/messages/events/", bag(&[])),
            (&device, "devices/d/messages/events", bag(&[])),
            (
                &device,
                "devices/d/messages/events/%24.mid=1&ha%2Frole=active%20x/",
                bag(&[("$.mid", "1"), ("ha/role", "active x")]),
            ),
            (&device, "devices/e/messages/events/", None),
            (&device, "devices/dd/messages/events/", None),
            (&device, "devices/d/modules/m/messages/events/", None),
            (&module, "devices/d/modules/m/messages/events/k", bag(&[("k", "")])),
            (&module, "devices/d/messages/events/", None),
            (&device, "$iothub/twin/GET/?$rid=7", Some(Inbound::TwinGet { rid: "7".into() })),
            (&device, "$iothub/twin/GET/", None),
            (
                &device,
                "$iothub/twin/PATCH/properties/reported/?$rid=a-b&x=1",
                Some(Inbound::Report { rid: "a-b".into() }),
            ),
            (&device, "$iothub/methods/res/200/?$rid=9", Some(Inbound::MethodAnswer { status: 200, rid: "9".into() })),
            (&device, "$iothub/methods/res/x/?$rid=9", None),
            (&device, "anything", None),
        ] {
            assert_eq!(inbound(id, topic), read, "{topic}");
        }
    }

    #[test]
    fn filters_by_table() {
        let module = Id::module("d", "m");
        for (filter, served) in [
            ("$iothub/methods/POST/#", Some(Channel::Methods)),
            ("devices/d/modules/m/inputs/#", Some(Channel::Inputs)),
            ("devices/d/modules/m/messages/devicebound/#", Some(Channel::Messages)),
            ("devices/d/messages/devicebound/#", None),
            ("#", None),
            ("$iothub/#", None),
        ] {
            assert_eq!(channel(&module, filter), served, "{filter}");
        }
    }
}
