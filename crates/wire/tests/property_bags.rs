//! Property bags against a model that works byte by byte.

use iotedge_ha_wire::Properties;
use iotedge_ha_wire::topics::{FromDevice, ToDevice};
use proptest::prelude::*;

type Pairs = Vec<(String, Option<String>)>;

/// What stands in a bag, by the plainest reading: no splitting helpers, no percent-encoding library.
fn model(bag: &str) -> Option<Pairs> {
    let mut bytes = bag.as_bytes();
    while let Some((b'/', rest)) = bytes.split_last() {
        bytes = rest;
    }
    let mut pairs = Pairs::new();
    for part in bytes.split(|byte| *byte == b'&').filter(|part| !part.is_empty()) {
        let (key, value) = match part.iter().position(|byte| *byte == b'=') {
            Some(at) => (decode(&part[..at])?, Some(decode(&part[at + 1..])?)),
            None => (decode(part)?, None),
        };
        if !key.is_empty() {
            pairs.push((key, value));
        }
    }
    Some(pairs)
}

fn decode(text: &[u8]) -> Option<String> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let digit = |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (text[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).expect("two digits"));
                at += 3;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).ok()
}

fn owned(properties: &Properties) -> Pairs {
    properties.iter().map(|(key, value)| (key.to_owned(), value.map(str::to_owned))).collect()
}

/// Pieces that matter to a bag, so that chance finds their combinations.
fn bag() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => "[a-c]{1,3}",
        3 => Just("=".to_owned()),
        3 => Just("&".to_owned()),
        2 => Just("/".to_owned()),
        2 => Just("%24.".to_owned()),
        1 => Just("$.".to_owned()),
        1 => Just("%".to_owned()),
        1 => Just("+".to_owned()),
        2 => "%[0-9a-fA-F]{2}",
        1 => Just("%c3%A9".to_owned()),
        1 => any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn reading_agrees_with_the_model(bag in bag()) {
        let read = bag.parse::<Properties>().ok();
        prop_assert_eq!(read.as_ref().map(owned), model(&bag));
    }

    #[test]
    fn what_was_read_is_written_so_that_it_reads_the_same(bag in bag()) {
        if let Ok(read) = bag.parse::<Properties>() {
            let written = read.to_string();
            prop_assert!(!written.contains(['/', '#', '+', '$']), "not fit for a topic: {}", written);
            prop_assert_eq!(written.parse::<Properties>().expect("readable"), read);
        }
    }

    #[test]
    fn a_bag_in_a_topic_is_the_bag_by_itself(bag in bag()) {
        let topic = format!("devices/d/messages/events/{bag}");
        let read = match topic.parse() {
            Ok(FromDevice::Event { properties, .. }) => Some(owned(&properties)),
            Ok(other) => panic!("{other:?}"),
            Err(_) => None,
        };
        prop_assert_eq!(read, model(&bag));
    }

    #[test]
    fn a_system_property_is_the_same_in_both_spellings(name in "[a-z]{1,4}", value in any::<String>()) {
        let encoded = Properties::new().with_system(&name, &value).to_string();
        let bare = encoded.replacen("%24.", "$.", 1);
        prop_assert_ne!(&encoded, &bare);
        let read: Properties = bare.parse().expect("readable");
        prop_assert_eq!(read.system(&name), Some(value.as_str()));
        let topic: ToDevice = format!("devices/d/messages/devicebound/{encoded}/").parse().expect("readable");
        let ToDevice::Message { properties, .. } = topic else { panic!("another topic") };
        prop_assert_eq!(properties, read);
    }
}

#[test]
fn the_longest_bag_is_read_in_one_go() {
    let many = "a&".repeat(32_000);
    assert_eq!(many.parse::<Properties>().expect("readable").iter().count(), 32_000);
    let deep = "/".repeat(60_000);
    assert!(format!("devices/d/messages/events/{deep}").parse::<FromDevice>().is_ok());
    assert!(format!("devices/d/messages/events/{}", "a".repeat(65_536)).parse::<FromDevice>().is_err());
}
