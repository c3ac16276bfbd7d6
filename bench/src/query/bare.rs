//! The yardstick of a hit: bare actix-web, with as many workers, that sends the bytes of one of our
//! answers whatever it is asked. No token, no limit, no log, no metrics, no cache.

use std::net::SocketAddr;
use std::path::PathBuf;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;
use platform::config::{Cgroup, worker_threads};

use crate::http::Answer;

/// What actix-web writes by itself.
const WRITTEN: [&str; 3] = ["content-length", "date", "connection"];

/// What the hidden process needs to know.
#[derive(Args, Clone, Debug)]
pub(crate) struct BareArgs {
    #[arg(long, env = "BENCH_LISTEN")]
    listen: SocketAddr,
    /// Status line, headers, empty line and body.
    #[arg(long)]
    answer: PathBuf,
}

/// Serves until it is killed.
///
/// # Errors
/// When the answer is none, or the address is taken.
pub(crate) async fn serve(args: BareArgs) -> anyhow::Result<()> {
    let answer = Replayed::parse(&std::fs::read(&args.answer)?)?;
    let server = HttpServer::new(move || {
        let service = web::resource("/v1/users/{id}").route(web::get().to(send));
        App::new()
            .app_data(web::Data::new(answer.clone()))
            .service(service)
    });
    let workers = worker_threads(&Cgroup::of_process());
    let server = server.workers(workers).bind(args.listen)?;
    Ok(server.run().await?)
}

async fn send(answer: web::Data<Replayed>) -> HttpResponse {
    let mut response = HttpResponse::new(answer.status);
    for (name, value) in &answer.headers {
        response.headers_mut().append(name.clone(), value.clone());
    }
    response.set_body(actix_web::body::BoxBody::new(answer.body.clone()))
}

/// The file in which an answer is handed over.
pub(super) fn written(answer: &Answer) -> Vec<u8> {
    [answer.head.as_bytes(), &answer.body].concat()
}

#[derive(Clone, Debug)]
struct Replayed {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

impl Replayed {
    fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let (head, body) = bytes.split_at(end.context("an empty line")? + 4);
        let mut lines = std::str::from_utf8(head)?.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let mut headers = Vec::new();
        for line in lines.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ").context("a header")?;
            if !WRITTEN.contains(&name) {
                headers.push((name.parse()?, HeaderValue::from_str(value)?));
            }
        }
        Ok(Self {
            status: status.context("a status")?.parse()?,
            headers,
            body: Bytes::copy_from_slice(body),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_replayed_but_for_what_actix_web_writes_itself() {
        let answer = Answer {
            status: 200,
            head: "HTTP/1.1 200 OK\r\ncontent-length: 2\r\netag: \"v1.1\"\r\ndate: now\r\n\r\n"
                .to_owned(),
            body: b"{}".to_vec(),
        };
        let replayed = Replayed::parse(&written(&answer)).unwrap();
        let headers: Vec<_> = replayed
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        assert_eq!(headers, [("etag", "\"v1.1\"")]);
        assert_eq!(
            (replayed.status.as_u16(), &*replayed.body),
            (200, &b"{}"[..])
        );
    }
}
