use ha_core::messages::{Answer, Request};
use ha_core::pool::Fact;
use ha_core::seen::CallFailure;
use ha_core::time::Millis;

use super::clock::{Instant, MS};
use super::event::{Caller, Event};
use super::world::World;

impl World {
    /// How long one way takes in this weather; `None`: lost.
    fn way(&mut self) -> Option<Instant> {
        let weather = self.weather;
        if self.hub.down.is_some() {
            return None;
        }
        if weather.lost_permille > 0 && self.dice.chance(weather.lost_permille) {
            return None;
        }
        let (low, high) = weather.delay_ms;
        let delay = self.dice.between(low * MS, high * MS);
        let slow = weather.slow_permille > 0 && self.dice.chance(weather.slow_permille);
        // A pause of the sender between its decision and the sending looks the same from here.
        Some(delay + if slow { self.dice.between(0, weather.slow_ms_max * MS) } else { 0 })
    }

    pub fn way_out(&mut self, controller: usize) -> Option<Instant> {
        if self.controllers[controller].cut.outward { None } else { self.way() }
    }

    pub fn way_in(&mut self, controller: usize) -> Option<Instant> {
        if self.controllers[controller].cut.inward { None } else { self.way() }
    }

    pub fn way_to_agent(&mut self, agent: usize) -> Option<Instant> {
        if self.agents[agent].cut.inward { None } else { self.way() }
    }

    pub fn send_request(&mut self, agent: usize, from: Caller, request: &Request, hold: Millis) {
        let times = 1 + u32::from(self.dice.chance(self.weather.twice_permille));
        for _ in 0..times {
            let Some(first) = self.way_out(from.controller) else {
                if self.dice.chance(300) {
                    let failure = CallFailure::HubUnreachable;
                    self.later_to_controller(from.controller, 50 * MS, Fact::Failed { call: from.call, failure });
                }
                continue;
            };
            let Some(second) = self.way() else { continue };
            self.after(first + second, Event::Request { agent, from, request: request.clone(), hold });
        }
    }

    /// The hub found nobody at the other end; sometimes it knows that.
    pub fn call_undelivered(&mut self, from: Caller) {
        if self.controllers[from.controller].run == from.run
            && (self.setup.offline_is_known || self.dice.chance(500))
            && let Some(delay) = self.way_in(from.controller)
        {
            let fact = Fact::Failed { call: from.call, failure: CallFailure::Offline };
            self.later_to_controller(from.controller, delay, fact);
        }
    }

    pub fn send_answer(&mut self, agent: usize, to: Caller, answer: Answer) {
        if self.agents[agent].cut.outward {
            return;
        }
        if let (Some(first), Some(second)) = (self.way(), self.way()) {
            self.after(first + second, Event::Answer { to, agent, answer });
        }
    }
}
