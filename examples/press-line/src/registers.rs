//! What lies in which register.

use anyhow::{Result, ensure};

/// Input registers: temperature in tenths of a degree Celsius, pressure in tenths of a bar, speed in revolutions a minute.
pub const SENSORS: u16 = 0;
pub const SENSOR_COUNT: u16 = 3;

/// Holding registers: one advice, written whole by one request.
pub const ADVICE: u16 = 100;
pub const ADVICE_COUNT: usize = 4 + NAME_WORDS;
const NAME_WORDS: usize = 8;

/// What the sensors say.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sensors {
    pub temperature: f32,
    pub pressure: f32,
    pub speed: f32,
}

impl Sensors {
    pub fn encode(self) -> Vec<u16> {
        vec![word(self.temperature * 10.0), word(self.pressure * 10.0), word(self.speed)]
    }

    pub fn decode(words: &[u16]) -> Result<Self> {
        ensure!(words.len() == usize::from(SENSOR_COUNT), "{} sensor registers, expected {SENSOR_COUNT}", words.len());
        let value = |at: usize| f32::from(words[at]);
        Ok(Self { temperature: value(0) / 10.0, pressure: value(1) / 10.0, speed: value(2) })
    }
}

/// What a workload advises, and in whose name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Advice {
    /// The term of the writer: the fencing token.
    pub term: u32,
    /// The revision of the model.
    pub revision: u16,
    /// Heating power in thousandths.
    pub heat: u16,
    /// The writer; of a longer name the first 16 bytes.
    pub member: String,
}

impl Advice {
    pub fn encode(&self) -> Vec<u16> {
        let mut name = [0_u8; 2 * NAME_WORDS];
        for (to, from) in name.iter_mut().zip(self.member.bytes()) {
            *to = from;
        }
        let [high, low] = [(self.term >> 16) as u16, self.term as u16];
        let name = name.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        [high, low, self.revision, self.heat].into_iter().chain(name).collect()
    }

    pub fn decode(words: &[u16]) -> Result<Self> {
        ensure!(words.len() == ADVICE_COUNT, "{} registers, an advice has {ADVICE_COUNT}", words.len());
        let name: Vec<u8> = words[4..].iter().flat_map(|word| word.to_be_bytes()).filter(|byte| *byte != 0).collect();
        Ok(Self {
            term: u32::from(words[0]) << 16 | u32::from(words[1]),
            revision: words[2],
            heat: words[3],
            member: String::from_utf8_lossy(&name).into_owned(),
        })
    }
}

fn word(value: f32) -> u16 {
    value.round().clamp(0.0, f32::from(u16::MAX)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        let advice = Advice { term: 70_001, revision: 2, heat: 999, member: "edge-a".to_owned() };
        assert_eq!(Advice::decode(&advice.encode()).expect("whole"), advice);
        let sensors = Sensors { temperature: 180.4, pressure: 5.2, speed: 61.0 };
        assert_eq!(Sensors::decode(&sensors.encode()).expect("whole"), sensors);
        assert!(Advice::decode(&[1, 2, 3]).is_err());
    }
}
