//! A write that was accepted, followed to its end.

use std::time::Duration;

use reqwest::Method;
use tokio::time::Instant;

use super::error::code_and_message;
use super::request::{Answer, Request};
use super::{Error, Management, Progress};

/// Where to ask how an operation is going, and what the answer means.
enum Place {
    /// `Azure-AsyncOperation`: a document with a `status`.
    Status(String),
    /// `Location`: 202 until it is over.
    Result(String),
}

impl Management {
    /// Follows the operation that `answer` to the write `request` has begun. Without one, the hub's own state is followed.
    pub(super) async fn follow(
        &self,
        request: &Request,
        answer: &Answer,
        until: Instant,
        told: &(dyn Fn(Progress) + Sync),
    ) -> Result<(), Error> {
        let Some(place) = self.place(request, answer)? else { return self.follow_state(until, told).await };
        let mut wait = answer.retry_after();
        let mut state = "accepted".to_owned();
        loop {
            self.pause(wait, WRITE, &state, until).await?;
            match self.ask(&place, until).await {
                Ok(Said::Over) => break,
                Ok(Said::Running { status, retry_after }) => {
                    told(Progress::Running(status.clone()));
                    (wait, state) = (retry_after, status);
                }
                // Operations are forgotten after a while; what came of it shows in the hub.
                Err(Error::NotFound(_)) => break,
                Err(error) => return Err(error),
            }
        }
        self.follow_state(until, told).await
    }

    async fn follow_state(&self, until: Instant, told: &(dyn Fn(Progress) + Sync)) -> Result<(), Error> {
        loop {
            let hub = self.get(until).await?;
            let state = hub.state();
            match state.as_str() {
                "Failed" | "Canceled" => return Err(failed(state, b"")),
                _ if hub.is_settled() => return Ok(()),
                _ => {}
            }
            told(Progress::Running(state.clone()));
            self.pause(None, WRITE, &state, until).await?;
        }
    }

    fn place(&self, request: &Request, answer: &Answer) -> Result<Option<Place>, Error> {
        let place = match (answer.header("azure-asyncoperation"), answer.header("location")) {
            (Some(url), _) => Place::Status(url.to_owned()),
            (None, Some(url)) => Place::Result(url.to_owned()),
            (None, None) => return Ok(None),
        };
        let (Place::Status(url) | Place::Result(url)) = &place;
        // The token goes with each question, so it is asked nowhere else.
        if !self.sender.is_ours(url) {
            return Err(request.bad_answer("it wants the operation followed at another address"));
        }
        Ok(Some(place))
    }

    async fn ask(&self, place: &Place, until: Instant) -> Result<Said, Error> {
        let what = "ask how the write on the hub is going";
        match place {
            Place::Status(url) => {
                let request = Request::new(what, Method::GET, url.clone());
                let answer = self.sender.read(&request, until).await?;
                let said = answer.json(&request)?;
                let status = said["status"].as_str().unwrap_or("unknown").to_owned();
                match status.as_str() {
                    "Succeeded" => Ok(Said::Over),
                    "Failed" | "Canceled" => Err(failed(status, said.to_string().as_bytes())),
                    _ => Ok(Said::Running { status, retry_after: answer.retry_after() }),
                }
            }
            Place::Result(url) => {
                let answer = self.sender.read(&Request::new(what, Method::GET, url.clone()), until).await?;
                match answer.status() {
                    202 => Ok(Said::Running { status: "running".to_owned(), retry_after: answer.retry_after() }),
                    _ => Ok(Said::Over),
                }
            }
        }
    }
}

const WRITE: &str = "the write on the hub";

enum Said {
    Over,
    Running { status: String, retry_after: Option<Duration> },
}

fn failed(status: String, body: &[u8]) -> Error {
    let (code, message) = code_and_message(body);
    Error::OperationFailed { status, code, message }
}
