//! A hub that follows a script: one reply for each request, in order, then silence.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use ha_wire::ConnectionString;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Answer {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: String,
    },
    /// Reads the request and closes the connection.
    Close,
    /// Reads the request and never answers.
    Silence,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) line: String,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

pub(crate) struct Stub {
    address: SocketAddr,
    script: Arc<Mutex<VecDeque<Reply>>>,
    requests: Arc<Mutex<Vec<Request>>>,
}

/// A port at which nobody listens, and nobody else can begin to.
pub(crate) struct Nobody(TcpSocket);

impl Reply {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Reply::text(status, &body.to_string())
    }

    pub(crate) fn text(status: u16, body: &str) -> Self {
        Reply::Answer { status, headers: Vec::new(), body: body.to_owned() }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Reply::text(status, "")
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Reply::Answer { headers, .. } = &mut self {
            headers.push((name, value.to_owned()));
        }
        self
    }
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl Stub {
    pub(crate) async fn start(script: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(Mutex::new(script.into_iter().collect::<VecDeque<_>>()));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, replies) = (Arc::clone(&requests), Arc::clone(&script));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, Arc::clone(&replies), Arc::clone(&seen)));
            }
        });
        Stub { address, script, requests }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// More of the script, which may name the address.
    pub(crate) fn go_on(&self, script: impl IntoIterator<Item = Reply>) {
        self.script.lock().unwrap().extend(script);
    }

    pub(crate) fn connection_string(&self) -> ConnectionString {
        connection_string(self.address)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Nobody {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self(socket)
    }

    pub(crate) fn connection_string(&self) -> ConnectionString {
        connection_string(self.0.local_addr().unwrap())
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.0.local_addr().unwrap())
    }
}

fn connection_string(address: SocketAddr) -> ConnectionString {
    let key = "MDEyMzQ1Njc4OWFiY2RlZg==";
    format!("HostName={address};SharedAccessKeyName=service;SharedAccessKey={key}").parse().unwrap()
}

async fn serve(socket: TcpStream, script: Arc<Mutex<VecDeque<Reply>>>, seen: Arc<Mutex<Vec<Request>>>) {
    let mut socket = BufReader::new(socket);
    while let Some(request) = read_request(&mut socket).await {
        seen.lock().unwrap().push(request);
        let reply = script.lock().unwrap().pop_front().unwrap_or(Reply::Silence);
        match reply {
            Reply::Close => return,
            Reply::Silence => std::future::pending().await,
            Reply::Answer { status, headers, body } => {
                let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
                let length = if status == 204 { String::new() } else { format!("content-length: {}\r\n", body.len()) };
                let text = format!("HTTP/1.1 {status} X\r\n{length}{headers}\r\n{body}");
                socket.get_mut().write_all(text.as_bytes()).await.unwrap();
            }
        }
    }
}

async fn read_request(socket: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut request = Request::default();
    socket.read_line(&mut request.line).await.ok().filter(|read| *read > 0)?;
    request.line = request.line.trim_end().to_owned();
    loop {
        let mut line = String::new();
        socket.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        request.headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.ok()?;
    request.body = String::from_utf8(body).unwrap();
    Some(request)
}
