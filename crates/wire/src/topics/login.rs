use std::fmt;
use std::str::FromStr;

use crate::{Error, percent_decode, percent_encode};

/// An MQTT client id: `{device}` or `{device}/{module}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientId {
    /// The device.
    pub device: String,
    /// The module, if it is a module's.
    pub module: Option<String>,
}

impl FromStr for ClientId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |reason| Error::Login { field: "client id", reason };
        let mut parts = text.split('/').map(str::to_owned);
        let device = parts.next().filter(|id| !id.is_empty()).ok_or_else(|| bad("names no device"))?;
        let module = parts.next();
        if parts.next().is_some() || module.as_deref() == Some("") {
            return Err(bad("is neither device nor device/module"));
        }
        Ok(ClientId { device, module })
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.module {
            Some(module) => write!(f, "{}/{module}", self.device),
            None => f.write_str(&self.device),
        }
    }
}

/// An MQTT user name: `{hub}/{device}[/{module}]/?api-version=…&DeviceClientType=…`.
///
/// The hub's name comes from here: behind a gateway it differs from the name the client connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Username {
    /// The hub's host name.
    pub hub: String,
    /// The device.
    pub device: String,
    /// The module, if it is a module's.
    pub module: Option<String>,
    /// The parameters after `?`, in order, decoded.
    pub parameters: Vec<(String, String)>,
}

impl Username {
    /// A user name with an api-version, which edgeHub insists on.
    pub fn new(hub: &str, device: &str, module: Option<&str>, api_version: &str) -> Self {
        let parameters = vec![("api-version".to_owned(), api_version.to_owned())];
        Username { hub: hub.to_owned(), device: device.to_owned(), module: module.map(str::to_owned), parameters }
    }

    /// The same with the name of the client's software (`DeviceClientType`).
    pub fn with_client_type(mut self, client_type: &str) -> Self {
        self.parameters.push(("DeviceClientType".to_owned(), client_type.to_owned()));
        self
    }

    /// A parameter's value.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// `api-version`, where given.
    pub fn api_version(&self) -> Option<&str> {
        self.parameter("api-version")
    }

    /// Whether it names the same identity as the client id, as it must.
    pub fn matches(&self, client: &ClientId) -> bool {
        self.device == client.device && self.module == client.module
    }
}

impl FromStr for Username {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |reason| Error::Login { field: "user name", reason };
        let (path, query) = split_query(text);
        let mut parts = path.split('/').map(str::to_owned);
        let hub = parts.next().filter(|hub| !hub.is_empty()).ok_or_else(|| bad("names no hub"))?;
        let device = parts.next().filter(|id| !id.is_empty()).ok_or_else(|| bad("names no device"))?;
        let module = parts.next().filter(|id| !id.is_empty());
        if parts.next().is_some_and(|rest| !rest.is_empty()) {
            return Err(bad("has too many parts"));
        }
        let decode = |text| percent_decode(text).map(std::borrow::Cow::into_owned);
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let parameters = pairs.map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(key)?, decode(value)?))
        });
        Ok(Username { hub, device, module, parameters: parameters.collect::<Result<_, Error>>()? })
    }
}

/// Ids may hold a `?`, even in front, but never a `/`, and values are encoded: the last `/?` ends the ids. Old clients leave out the `?`, the `/`, or both and the rest.
fn split_query(text: &str) -> (&str, &str) {
    if let Some(split) = text.rsplit_once("/?") {
        return split;
    }
    for mark in ["/api-version=", "?api-version=", "/DeviceClientType=", "?DeviceClientType="] {
        if let Some(at) = text.find(mark) {
            return (&text[..at], &text[at + 1..]);
        }
    }
    (text, "")
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/", self.hub, self.device)?;
        if let Some(module) = &self.module {
            write!(f, "{module}/")?;
        }
        for (n, (key, value)) in self.parameters.iter().enumerate() {
            let mark = if n == 0 { '?' } else { '&' };
            write!(f, "{mark}{}={}", percent_encode(key), percent_encode(value))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_clients_send() {
        let python = "localhost/d1/?api-version=2019-10-01&DeviceClientType=azure-iot-device-iothub-py%2F2.14.0%28x%29";
        let parsed: Username = python.parse().unwrap();
        assert_eq!((parsed.hub.as_str(), parsed.device.as_str(), parsed.module.as_deref()), ("localhost", "d1", None));
        assert_eq!(parsed.parameter("DeviceClientType"), Some("azure-iot-device-iothub-py/2.14.0(x)"));
        assert_eq!(parsed.to_string(), python);
        for old in ["h/d?/m/api-version=1", "h/d?/m?api-version=1", "h/d?/m/?x=2&api-version=1"] {
            let parsed: Username = old.parse().unwrap();
            let ids = (parsed.device.as_str(), parsed.module.as_deref(), parsed.api_version());
            assert_eq!(ids, ("d?", Some("m"), Some("1")), "{old}");
        }
        assert_eq!("h/d".parse::<Username>().unwrap().api_version(), None);
        let odd: Username = "h/d/?/?api-version=1".parse().unwrap();
        assert_eq!((odd.module.as_deref(), odd.api_version()), (Some("?"), Some("1")));
    }

    #[test]
    fn must_match_the_client_id() {
        let name = Username::new("h", "d", Some("$edgeHub"), "2021-04-12");
        assert_eq!(name.to_string(), "h/d/$edgeHub/?api-version=2021-04-12");
        assert!(name.matches(&"d/$edgeHub".parse().unwrap()) && !name.matches(&"d".parse().unwrap()));
        for bad in ["", "/m", "d/", "d/m/x"] {
            assert!(bad.parse::<ClientId>().is_err(), "{bad}");
        }
        for bad in ["", "h", "h/", "h/d/m/x/?a"] {
            assert!(bad.parse::<Username>().is_err(), "{bad}");
        }
    }
}
