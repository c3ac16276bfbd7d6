//! What one measurement over HTTP came to, and what everybody's processors did meanwhile.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::cpu::{CpuTimes, of_process};
use crate::figure::float;
use crate::gauge::Gauge;

/// Whose processor time is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watched<'w> {
    /// The server that is asked.
    pub(crate) server: u32,
    /// What else works for it, such as Redis, beside PostgreSQL.
    pub(crate) beside: &'w [u32],
    /// PostgreSQL's first process.
    pub(crate) postmaster: u32,
    /// The database that is used there.
    pub(crate) database: &'w str,
}

/// Processor time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    server: Duration,
    beside: Duration,
    rest: CpuTimes,
}

impl Watched<'_> {
    /// What was used so far.
    pub(super) fn read(&self) -> anyhow::Result<Times> {
        let mut beside = Duration::ZERO;
        for pid in self.beside {
            beside += of_process(*pid)?;
        }
        Ok(Times {
            server: of_process(self.server)?,
            beside,
            rest: CpuTimes::read(self.postmaster, self.database)?,
        })
    }
}

impl Times {
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            server: self.server.saturating_sub(earlier.server),
            beside: self.beside.saturating_sub(earlier.beside),
            rest: self.rest.since(earlier.rest),
        }
    }
}

/// The figures of one contender, once.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    requests: u64,
    elapsed: Duration,
    micros: Histogram<u64>,
    times: Times,
    late: f64,
}

impl Measured {
    pub(super) fn new(
        gauge: &Gauge,
        elapsed: Duration,
        times: Times,
        late: f64,
    ) -> anyhow::Result<Self> {
        let requests = gauge.done();
        anyhow::ensure!(requests > 0, "nothing was answered in the window");
        Ok(Self {
            requests,
            elapsed,
            micros: gauge.take_micros(),
            times,
            late,
        })
    }

    /// Requests a second.
    pub(crate) fn rate(&self) -> f64 {
        float(self.requests) / self.elapsed.as_secs_f64()
    }

    /// A quantile of the latency in milliseconds.
    pub(crate) fn millis(&self, quantile: f64) -> f64 {
        float(self.micros.value_at_quantile(quantile)) / 1000.0
    }

    /// Processor time of the asked server a request, in µs.
    pub(crate) fn server_micros(&self) -> f64 {
        self.micros_a_request(self.times.server)
    }

    /// Of PostgreSQL.
    pub(crate) fn postgres_micros(&self) -> f64 {
        self.micros_a_request(self.times.rest.server)
    }

    /// Of what else works for the server.
    pub(crate) fn beside_micros(&self) -> f64 {
        self.micros_a_request(self.times.beside)
    }

    /// Of this program.
    pub(crate) fn client_micros(&self) -> f64 {
        self.micros_a_request(self.times.rest.client)
    }

    /// Cores that nobody of those used: near 0 on a quiet machine.
    pub(crate) fn others(&self) -> f64 {
        let known = self.times.server + self.times.beside;
        let others = self.times.rest.others().saturating_sub(known);
        others.as_secs_f64() / self.elapsed.as_secs_f64()
    }

    /// At a rate: which part of the requests was handed over a millisecond or more too late. They
    /// count from when they were due all the same.
    pub(crate) fn late(&self) -> f64 {
        self.late
    }

    fn micros_a_request(&self, time: Duration) -> f64 {
        time.as_secs_f64() * 1e6 / float(self.requests)
    }
}
