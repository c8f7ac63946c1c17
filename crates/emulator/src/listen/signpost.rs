//! What a lost client is told, in the log.

use rustls::AlertDescription;

/// Where things are, for clear words about what went wrong.
#[derive(Debug, Clone)]
pub(crate) struct Signpost {
    /// The names the hub answers to.
    pub(crate) names: Vec<String>,
    /// Where clients find the authority to trust.
    pub(crate) authority: String,
    pub(crate) https_port: u16,
    pub(crate) mqtt_port: u16,
}

/// A protocol that is not spoken at this door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stranger {
    Amqp,
    Http,
    Mqtt,
}

impl Stranger {
    /// Reads the first bytes of a connection.
    pub(super) fn recognise(bytes: &[u8]) -> Option<Self> {
        const METHODS: [&[u8]; 7] = [b"GET ", b"POST", b"PUT ", b"PATC", b"DELE", b"HEAD", b"OPTI"];
        let starts = |with: &[u8]| bytes.starts_with(with);
        if starts(b"AMQP") {
            return Some(Self::Amqp);
        }
        if METHODS.iter().any(|method| starts(method)) {
            return Some(Self::Http);
        }
        starts(&[0x10]).then_some(Self::Mqtt)
    }
}

impl Signpost {
    pub(crate) fn no_amqp(&self) -> String {
        format!(
            "AMQP is not spoken here; use MQTT over TLS (port {}) or over WebSocket (wss, port {}, /$iothub/websocket)",
            self.mqtt_port, self.https_port
        )
    }

    /// First bytes without TLS.
    pub(super) fn without_tls(&self, stranger: Stranger) -> String {
        match stranger {
            Stranger::Amqp => self.no_amqp(),
            Stranger::Http => format!("plain HTTP; every port speaks TLS: use https:// on port {}", self.https_port),
            Stranger::Mqtt => {
                format!("plain MQTT; every port speaks TLS: use MQTT over TLS on port {}", self.mqtt_port)
            }
        }
    }

    /// First bytes inside TLS, at the wrong door.
    pub(super) fn wrong_door(&self, stranger: Stranger) -> String {
        match stranger {
            Stranger::Amqp => self.no_amqp(),
            Stranger::Http => format!("HTTP at the MQTT port; REST and WebSocket are on port {}", self.https_port),
            Stranger::Mqtt => format!("MQTT at the HTTPS port; MQTT over TLS is on port {}", self.mqtt_port),
        }
    }

    /// A client that ended the handshake. `asked` is the name it asked for.
    pub(super) fn alert(&self, alert: AlertDescription, asked: Option<&str>) -> String {
        match alert {
            AlertDescription::UnknownCA => {
                format!("the client does not trust the hub's authority (alert unknown_ca): give it {}", self.authority)
            }
            AlertDescription::DecryptError => {
                format!(
                    "the client trusts an authority of the same name with another key (alert decrypt_error), \
                     most likely that of an earlier hub: give it {}",
                    self.authority
                )
            }
            AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
                let asked = self.asked(asked);
                let authority = &self.authority;
                format!(
                    "the client does not accept the hub's certificate (alert {alert:?}): {asked}; \
                     if the name is right, it may not trust the authority: give it {authority}"
                )
            }
            AlertDescription::CertificateExpired => {
                "the client takes the hub's certificate for expired: look at its clock".into()
            }
            other => format!("the client ended the TLS handshake with alert {other:?}"),
        }
    }

    /// A client that shook hands and left: it judges certificates afterwards, or only looked.
    pub(super) fn left_at_once(&self, asked: Option<&str>) -> String {
        format!(
            "the client left right after the TLS handshake; some do so when they do not accept the certificate: {}; \
             or when they do not trust the authority: give them {}",
            self.asked(asked),
            self.authority
        )
    }

    fn asked(&self, asked: Option<&str>) -> String {
        let names = self.names.join(", ");
        let asked = match asked {
            Some(name) => format!("it asked for '{}'", name.escape_debug()),
            None => "it asked for no name (an address, perhaps)".into(),
        };
        format!("{asked}, and the certificate is for {names}; add names with --host-name")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_by_table() {
        for (bytes, stranger) in [
            (&b"AMQP\x03\x01\x00\x00"[..], Some(Stranger::Amqp)),
            (b"AMQP\x00\x01\x00\x00", Some(Stranger::Amqp)),
            (b"GET / HTTP/1.1", Some(Stranger::Http)),
            (b"OPTIONS * HTTP", Some(Stranger::Http)),
            (&[0x10, 0x20, 0, 4], Some(Stranger::Mqtt)),
            (&[0x16, 3, 1, 2], None),
            (b"AM", None),
            (b"", None),
        ] {
            assert_eq!(Stranger::recognise(bytes), stranger, "{bytes:?}");
        }
    }

    #[test]
    fn each_alert_says_what_to_do() {
        let signpost = Signpost {
            names: vec!["localhost".into(), "hub.test".into()],
            authority: "/x/ca.pem".into(),
            https_port: 443,
            mqtt_port: 8883,
        };
        let says = |alert, asked, words: &[&str]| {
            let text = signpost.alert(alert, asked);
            assert!(words.iter().all(|word| text.contains(word)), "{text}");
        };
        says(AlertDescription::UnknownCA, None, &["does not trust", "/x/ca.pem"]);
        says(AlertDescription::DecryptError, None, &["another key", "/x/ca.pem"]);
        says(AlertDescription::BadCertificate, Some("hub.bad"), &["'hub.bad'", "localhost, hub.test", "--host-name"]);
        says(AlertDescription::CertificateExpired, None, &["clock"]);
        says(AlertDescription::HandshakeFailure, None, &["HandshakeFailure"]);
    }
}
