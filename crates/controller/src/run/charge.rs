//! Keeps the control lease: reads and writes the control record, tells the pools whether we are in charge.

use std::sync::Arc;

use ha_core::charge::{Charge, ChargeEffect, ChargeFact};
use ha_core::ids::{ControlId, ControllerId, Epoch};
use ha_core::time::Time;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::hub::{Hub, NotWritten, chain};

/// Whether we are in charge.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Office {
    /// Not known yet.
    #[default]
    Unknown,
    /// We are, until then.
    In {
        /// The number of our charge.
        epoch: Epoch,
        /// Until when this is proven.
        valid_until: Time,
    },
    /// We are not.
    Out {
        /// Who is, if anybody.
        owner: Option<ControllerId>,
    },
    /// We were, and gave it back.
    GivenBack,
}

pub(super) struct ChargeTask<H> {
    pub(super) hub: Arc<H>,
    pub(super) clock: Clock,
    pub(super) control: ControlId,
    pub(super) charge: Charge,
    pub(super) office: watch::Sender<Office>,
    pub(super) trouble: watch::Sender<Option<String>>,
}

/// What came of a read or a write.
struct Outcome {
    fact: ChargeFact,
    trouble: Option<String>,
}

impl<H: Hub> ChargeTask<H> {
    /// Runs until the charge has been given back, or nobody listens any more.
    pub(super) async fn run(mut self, mut orders: mpsc::UnboundedReceiver<ChargeFact>) {
        let mut operations = JoinSet::new();
        let mut fact = ChargeFact::Tick;
        loop {
            self.charge.observe(self.clock.mono(), fact);
            self.carry_out(&mut operations);
            if *self.office.borrow() == Office::GivenBack {
                return;
            }
            fact = tokio::select! {
                Some(done) = operations.join_next() => self.ended(done),
                order = orders.recv() => match order {
                    Some(order) => order,
                    None => return,
                },
                () = self.clock.sleep_until(self.charge.next_wake()) => ChargeFact::Tick,
            };
        }
    }

    fn carry_out(&mut self, operations: &mut JoinSet<Outcome>) {
        while let Some(effect) = self.charge.next_effect() {
            let (hub, control) = (Arc::clone(&self.hub), self.control.clone());
            match effect {
                ChargeEffect::Read => {
                    operations.spawn(async move { read(&*hub, &control).await });
                }
                ChargeEffect::Write { record, basis } => {
                    operations.spawn(async move {
                        let written = hub.write_control(&control, &record, basis.as_ref()).await;
                        write_outcome(&control, written)
                    });
                }
                ChargeEffect::InCharge { epoch, valid_until } => self.tell(Office::In { epoch, valid_until }),
                ChargeEffect::NotInCharge { owner } => self.tell(Office::Out { owner }),
                ChargeEffect::GivenBack => self.tell(Office::GivenBack),
            }
        }
    }

    fn ended(&self, done: Result<Outcome, tokio::task::JoinError>) -> ChargeFact {
        match done {
            Ok(Outcome { fact, trouble }) => {
                let news = *self.trouble.borrow() != trouble;
                if let (Some(why), true) = (&trouble, news) {
                    tracing::warn!(control = %self.control, why, "the control record could not be read or written");
                }
                self.trouble.send_replace(trouble);
                fact
            }
            // A panic within a write leaves open whether it was written.
            Err(_) => ChargeFact::Unsure,
        }
    }

    fn tell(&self, office: Office) {
        let before = self.office.send_replace(office.clone());
        let control = &self.control;
        match (&before, &office) {
            (Office::In { epoch: a, .. }, Office::In { epoch: b, .. }) if a == b => {}
            (_, Office::In { epoch, .. }) => tracing::info!(%control, %epoch, "in charge"),
            (_, Office::Out { owner: Some(owner) }) => {
                tracing::info!(%control, %owner, "waiting: another controller is in charge");
            }
            (_, Office::Out { owner: None }) => tracing::info!(%control, "waiting: nobody is in charge yet"),
            (_, Office::GivenBack) => tracing::info!(%control, "the control lease has been given back"),
            (_, Office::Unknown) => {}
        }
    }
}

async fn read<H: Hub>(hub: &H, control: &ControlId) -> Outcome {
    match hub.read_control(control).await {
        Ok(read) => Outcome { fact: ChargeFact::Read(read), trouble: None },
        Err(error) => Outcome { fact: ChargeFact::ReadFailed, trouble: Some(chain(&error)) },
    }
}

fn write_outcome(control: &ControlId, written: crate::hub::Written) -> Outcome {
    match written {
        Ok(version) => Outcome { fact: ChargeFact::Written(version), trouble: None },
        Err(NotWritten::Conflict) => {
            tracing::debug!(%control, "another controller wrote the control record first");
            Outcome { fact: ChargeFact::Conflict, trouble: None }
        }
        Err(NotWritten::Failed(error)) => Outcome { fact: ChargeFact::WriteFailed, trouble: Some(chain(&error)) },
        Err(NotWritten::Unsure(error)) => Outcome { fact: ChargeFact::Unsure, trouble: Some(chain(&error)) },
    }
}
