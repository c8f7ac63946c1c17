//! What the audience sees: a line for each thing that happens, and the table at the end.

use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::Serialize;

use super::record::Ms;
use crate::printer::{Printer, Tone};

/// Prints events in the order in which they are told; shared by the plant's thread and the stories.
#[derive(Clone)]
pub(crate) struct Timeline {
    start: Instant,
    printer: Printer,
    over: Arc<Mutex<bool>>,
}

/// One line of `--json`.
#[derive(Serialize)]
struct Event<'a> {
    t_ms: i64,
    who: &'a str,
    what: &'a str,
    text: &'a str,
}

/// What kind of thing happened; the word that programs see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Setup,
    Story,
    Fault,
    Request,
    Writes,
    Silent,
    Standby,
    Repair,
    Finding,
}

impl What {
    fn word(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Story => "story",
            Self::Fault => "fault",
            Self::Request => "request",
            Self::Writes => "writes",
            Self::Silent => "silent",
            Self::Standby => "standby",
            Self::Repair => "repair",
            Self::Finding => "finding",
        }
    }

    fn tone(self) -> Option<Tone> {
        match self {
            Self::Fault => Some(Tone::Bad),
            Self::Writes => Some(Tone::Good),
            Self::Silent | Self::Request => Some(Tone::Warning),
            Self::Setup | Self::Repair | Self::Standby => Some(Tone::Dim),
            Self::Story | Self::Finding => None,
        }
    }
}

impl Timeline {
    pub(crate) fn new(start: Instant, printer: Printer) -> Self {
        Self { start, printer, over: Arc::default() }
    }

    /// Something happened just now.
    pub(crate) fn tell(&self, who: &str, what: What, text: impl Display) {
        self.tell_at(self.start.elapsed().as_secs_f64() * 1000.0, who, what, text);
    }

    /// Something happened at an instant of the plant's clock.
    pub(crate) fn tell_at(&self, at: Ms, who: &str, what: What, text: impl Display) {
        // Held while printing, so that lines come one at a time.
        let over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        if *over {
            return;
        }
        let text = text.to_string();
        if self.printer.wants_json() {
            self.printer.json(&Event { t_ms: at.round() as i64, who, what: what.word(), text: &text });
            return;
        }
        let seconds = at / 1000.0;
        let line = match what.tone() {
            Some(tone) => self.printer.tone(tone, text),
            None => text,
        };
        self.printer.line(format_args!("{seconds:>8.3} s  {who:<10}  {line}"));
    }

    /// What happens from here on, the clearing up, is no part of the show.
    pub(crate) fn end(&self) {
        *self.over.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// A headline between stories.
    pub(crate) fn headline(&self, name: &str, about: &str) {
        if self.printer.wants_json() {
            self.tell("demo", What::Story, format_args!("{name}: {about}"));
        } else {
            let name = self.printer.tone(Tone::Bold, name);
            self.printer.line(format_args!("\n{name}: {about}"));
        }
    }
}
