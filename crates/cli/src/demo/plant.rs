//! The plant: takes advice from anybody who connects, and writes down who wrote when.
//!
//! It refuses nobody, not even an older term, for it is there to see what really happens.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, poll};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::record::{Ms, Write};

/// What the workload sends: one line of JSON for each piece of advice.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Advice {
    pub(crate) device: String,
    pub(crate) term: u64,
    pub(crate) value: f64,
}

/// What a watcher of the plant hears at once.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum News {
    Began { at: Ms, device: String, term: u64 },
    Ended { at: Ms, device: String, term: u64 },
}

pub(crate) struct Plant {
    address: SocketAddr,
    shared: Arc<Shared>,
    written: watch::Receiver<u64>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    start: Instant,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    writes: Vec<Write>,
    closing: bool,
}

/// A line of advice is short; whoever sends a longer one is cut off.
const LINE_BYTES_MAX: usize = 1024;

/// How often the plant looks whether it shall close. Writes wake it at once.
const CLOSING_LOOK: Duration = Duration::from_millis(100);

impl Plant {
    /// Opens on a free port of this machine. `start` is the zero of its clock.
    pub(crate) fn open(start: Instant, on_news: impl Fn(News) + Send + 'static) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot open a port for the plant")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { start, book: Mutex::default() });
        let (wrote, written) = watch::channel(0);
        let desk = Desk { listener, lines: Vec::new(), shared: shared.clone(), wrote, on_news: Box::new(on_news) };
        let thread = std::thread::Builder::new().name("plant".to_owned()).spawn(move || desk.serve())?;
        Ok(Self { address, shared, written, thread: Some(thread) })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Now, on the plant's clock.
    pub(crate) fn now(&self) -> Ms {
        self.shared.now()
    }

    /// Everything written since `from`.
    pub(crate) fn writes_since(&self, from: Ms) -> Vec<Write> {
        let book = self.shared.book();
        let at = book.writes.partition_point(|write| write.at < from);
        book.writes[at..].to_vec()
    }

    pub(crate) fn last_write(&self) -> Option<Write> {
        self.shared.book().writes.last().cloned()
    }

    /// Forgets what was written before `until`, so that a long run does not grow.
    pub(crate) fn forget(&self, until: Ms) {
        self.shared.book().writes.retain(|write| write.at >= until);
    }

    /// Waits until `enough` finds what it looks for; it is asked again after every write.
    pub(crate) async fn wait_for<T>(&self, mut enough: impl FnMut(&Self) -> Option<T>) -> T {
        let mut written = self.written.clone();
        loop {
            written.mark_unchanged();
            if let Some(found) = enough(self) {
                return found;
            }
            if written.changed().await.is_err() {
                // Closed: nothing more will be written.
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Drop for Plant {
    fn drop(&mut self) {
        self.shared.book().closing = true;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn now(&self) -> Ms {
        self.start.elapsed().as_secs_f64() * 1000.0
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One thread takes everything down in the order of arrival. All that is found readable at once gets one and the same instant, so
/// a plant that is late on the processor cannot make those who followed each other look as if they had overlapped.
struct Desk {
    listener: TcpListener,
    lines: Vec<Line>,
    shared: Arc<Shared>,
    wrote: watch::Sender<u64>,
    on_news: Box<dyn Fn(News) + Send>,
}

struct Line {
    stream: TcpStream,
    pending: Vec<u8>,
    writer: Option<(String, u64)>,
    last: Ms,
}

impl Desk {
    fn serve(mut self) {
        while !self.shared.book().closing {
            self.wait();
            let (news, count) = self.take_down();
            news.into_iter().for_each(&self.on_news);
            if count > 0 {
                self.wrote.send_modify(|written| *written += count);
            }
            self.welcome();
        }
    }

    fn wait(&self) {
        let mut sources = vec![PollFd::new(&self.listener, PollFlags::IN)];
        sources.extend(self.lines.iter().map(|l| PollFd::new(&l.stream, PollFlags::IN)));
        let timeout = rustix::event::Timespec { tv_sec: 0, tv_nsec: CLOSING_LOOK.subsec_nanos().into() };
        // An interrupted wait is a short wait.
        let _ = poll(&mut sources, Some(&timeout));
    }

    /// What happened, and how many writes were taken down.
    fn take_down(&mut self) -> (Vec<News>, u64) {
        let mut news = Vec::new();
        let mut arrived: Vec<(usize, Advice)> = Vec::new();
        let mut gone = Vec::new();
        for (at, line) in self.lines.iter_mut().enumerate() {
            match line.read() {
                Ok((advice, open)) => {
                    arrived.extend(advice.into_iter().map(|one| (at, one)));
                    if !open {
                        gone.push(at);
                    }
                }
                Err(_) => gone.push(at),
            }
        }
        let now = self.shared.now();
        let count = arrived.len() as u64;
        for (at, advice) in arrived {
            news.extend(self.lines[at].note(now, &advice));
            self.shared.book().writes.push(Write {
                at: now,
                device: advice.device,
                term: advice.term,
                value: advice.value,
            });
        }
        for at in gone.into_iter().rev() {
            news.extend(self.lines.remove(at).ended());
        }
        (news, count)
    }

    fn welcome(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            if stream.set_nonblocking(true).is_ok() {
                self.lines.push(Line { stream, pending: Vec::new(), writer: None, last: 0.0 });
            }
        }
    }
}

impl Line {
    /// Everything that has arrived, and whether the line is still open.
    fn read(&mut self) -> Result<(Vec<Advice>, bool)> {
        let mut open = true;
        let mut chunk = [0; 4096];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => open = false,
                Ok(n) => {
                    self.pending.extend_from_slice(&chunk[..n]);
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // A writer that was killed may reset the line; what it wrote before counts.
                Err(_) => open = false,
            }
            break;
        }
        let mut found = Vec::new();
        while let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.pending.drain(..=end).collect();
            found.push(serde_json::from_slice(&line).context("not advice")?);
        }
        if self.pending.len() > LINE_BYTES_MAX {
            bail!("a line of advice is too long");
        }
        Ok((found, open))
    }

    fn note(&mut self, at: Ms, advice: &Advice) -> Vec<News> {
        let same = |(device, term): &(String, u64)| *device == advice.device && *term == advice.term;
        let mut news = Vec::new();
        if !self.writer.as_ref().is_some_and(same) {
            news.extend(self.ended());
            self.writer = Some((advice.device.clone(), advice.term));
            news.push(News::Began { at, device: advice.device.clone(), term: advice.term });
        }
        self.last = at;
        news
    }

    fn ended(&mut self) -> Option<News> {
        let (device, term) = self.writer.take()?;
        Some(News::Ended { at: self.last, device, term })
    }
}

/// Who writes, by the last write.
pub(crate) fn writer(plant: &Plant) -> Option<(String, u64)> {
    plant.last_write().map(|write| (write.device, write.term))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::mpsc;

    use super::super::record::activities;
    use super::*;

    fn terms(plant: &Plant) -> Vec<u64> {
        activities(&plant.writes_since(0.0)).iter().map(|activity| activity.term).collect()
    }

    fn send(stream: &mut TcpStream, device: &str, term: u64) {
        writeln!(stream, r#"{{"device":"{device}","term":{term},"value":1.5}}"#).unwrap();
    }

    #[tokio::test]
    async fn writes_are_recorded_with_their_writer() {
        let (tell, told) = mpsc::channel();
        let plant = Plant::open(Instant::now(), move |news| drop(tell.send(news))).unwrap();

        let mut a = TcpStream::connect(plant.address()).unwrap();
        send(&mut a, "a", 1);
        send(&mut a, "a", 1);
        let count = |n| move |p: &Plant| (p.writes_since(0.0).len() == n).then_some(());
        plant.wait_for(count(2)).await;
        drop(a);
        let mut b = TcpStream::connect(plant.address()).unwrap();
        send(&mut b, "b", 2);
        plant.wait_for(count(3)).await;

        assert_eq!(writer(&plant), Some(("b".to_owned(), 2)));
        assert_eq!(terms(&plant), [1, 2]);
        let heard: Vec<_> = told.iter().take(3).collect();
        // The end of one line and the beginning of another are heard in any order.
        assert!(matches!(heard[0], News::Began { term: 1, .. }), "{heard:?}");
        assert!(heard.iter().any(|news| matches!(news, News::Ended { term: 1, .. })), "{heard:?}");
        assert!(heard.iter().any(|news| matches!(news, News::Began { term: 2, .. })), "{heard:?}");
    }

    #[tokio::test]
    async fn nonsense_ends_the_line_and_nothing_else() {
        let plant = Plant::open(Instant::now(), drop).unwrap();
        let mut bad = TcpStream::connect(plant.address()).unwrap();
        bad.write_all(b"{\"device\":7}\n").unwrap();
        let mut endless = TcpStream::connect(plant.address()).unwrap();
        endless.write_all(&[b'x'; LINE_BYTES_MAX + 1]).unwrap();

        let mut good = TcpStream::connect(plant.address()).unwrap();
        send(&mut good, "a", 1);
        plant.wait_for(|p| writer(p).filter(|who| who.0 == "a")).await;
        bad.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        assert_eq!(bad.read(&mut [0; 1]).unwrap(), 0, "the plant closed it");
    }
}
