//! The plant: sensors that can be read, advice that can be written, and a record of every write.

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};
use ha_core::ids::Term;
use ha_protocol::guard::TermGuard;
use iotedge_ha_core as ha_core;
use iotedge_ha_protocol as ha_protocol;
use tokio::net::TcpListener;
use tokio_modbus::server::Service;
use tokio_modbus::server::tcp::{Server, accept_tcp_connection};
use tokio_modbus::{ExceptionCode, Request, Response};

use crate::record::Entry;
use crate::registers::{ADVICE, Advice, SENSOR_COUNT, SENSORS, Sensors};

/// Runs until it is killed. Says on stdout where it listens.
pub async fn run(listen: SocketAddr, record: &Path) -> Result<()> {
    let file = File::create(record).with_context(|| format!("cannot write {}", record.display()))?;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    println!("PLANT={}", listener.local_addr()?);
    let press = Press { began: Instant::now(), last: Instant::now(), temperature: 150.0, heat: 0 };
    let plant = Plant(Arc::new(Mutex::new(State { press, guard: TermGuard::default(), file })));
    let connected = |stream, address| {
        let plant = plant.clone();
        async move { accept_tcp_connection(stream, address, move |_| Ok(Some(plant.clone()))) }
    };
    let server = Server::new(listener);
    // A client that goes away is no event in a plant.
    server.serve(&connected, |_| {}).await.context("the plant has stopped listening")
}

#[derive(Clone)]
struct Plant(Arc<Mutex<State>>);

struct State {
    press: Press,
    guard: TermGuard,
    file: File,
}

impl Service for Plant {
    type Request = Request<'static>;
    type Response = Response;
    type Exception = ExceptionCode;
    type Future = std::future::Ready<Result<Response, ExceptionCode>>;

    fn call(&self, request: Self::Request) -> Self::Future {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::future::ready(match request {
            Request::ReadInputRegisters(SENSORS, SENSOR_COUNT) => {
                Ok(Response::ReadInputRegisters(state.press.sensors().encode()))
            }
            Request::WriteMultipleRegisters(ADVICE, words) => state.advise(&words),
            Request::ReadInputRegisters(..) | Request::WriteMultipleRegisters(..) => {
                Err(ExceptionCode::IllegalDataAddress)
            }
            _ => Err(ExceptionCode::IllegalFunction),
        })
    }
}

impl State {
    /// Takes an advice, unless somebody with a newer term has written already.
    fn advise(&mut self, words: &[u16]) -> Result<Response, ExceptionCode> {
        let advice = Advice::decode(words).map_err(|_| ExceptionCode::IllegalDataValue)?;
        let taken = self.guard.accept(Term(advice.term.into())).is_ok();
        if taken {
            self.press.heat_with(advice.heat);
        }
        self.note(&advice, taken).map_err(|_| ExceptionCode::ServerDeviceFailure)?;
        let count = u16::try_from(words.len()).unwrap_or(u16::MAX);
        if taken { Ok(Response::WriteMultipleRegisters(ADVICE, count)) } else { Err(ExceptionCode::IllegalDataValue) }
    }

    fn note(&mut self, advice: &Advice, taken: bool) -> Result<()> {
        let at_ms = u64::try_from(self.press.began.elapsed().as_millis())?;
        let Advice { term, revision, heat, member } = advice.clone();
        let line = serde_json::to_string(&Entry { at_ms, member, term, revision, heat, taken })?;
        writeln!(self.file, "{line}").context("the record cannot be written")
    }
}

/// A press: warms up by its heating, cools down by itself.
struct Press {
    began: Instant,
    last: Instant,
    temperature: f32,
    heat: u16,
}

impl Press {
    fn sensors(&mut self) -> Sensors {
        self.go_on();
        let phase = self.began.elapsed().as_secs_f32();
        Sensors { temperature: self.temperature, pressure: 5.0 + phase.sin(), speed: 60.0 + 5.0 * (phase / 3.0).cos() }
    }

    fn heat_with(&mut self, heat: u16) {
        self.go_on();
        self.heat = heat.min(1000);
    }

    fn go_on(&mut self) {
        let seconds = self.last.elapsed().as_secs_f32();
        self.last = Instant::now();
        let warming = f32::from(self.heat) / 20.0 - (self.temperature - 20.0) / 15.0;
        self.temperature = (self.temperature + warming * seconds).clamp(20.0, 400.0);
    }
}
