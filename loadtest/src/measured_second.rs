//! A second of the measured phase. While it goes on it has a histogram; when it is over, the three
//! figures that are shown of it, because an hour of histograms would fill the memory.

use hdrhistogram::Histogram;

use crate::micros::histogram;

/// One second.
#[derive(Debug)]
pub struct SecondMeasured {
    /// Good answers in it.
    pub good: u64,
    /// Errors in it.
    pub errors: u64,
    /// Of the good answers in it; none once it is folded.
    latency: Option<Histogram<u64>>,
    /// What it was folded to: p50, p99 and the longest, in microseconds.
    folded: [u64; 3],
}

impl Default for SecondMeasured {
    fn default() -> Self {
        Self {
            good: 0,
            errors: 0,
            latency: Some(histogram(2)),
            folded: [0; 3],
        }
    }
}

impl SecondMeasured {
    pub(crate) fn answered(&mut self, failed: bool, micros: u64) {
        self.good += u64::from(!failed);
        self.errors += u64::from(failed);
        if let (false, Some(latency)) = (failed, &mut self.latency) {
            latency.saturating_record(micros);
        }
    }

    /// p50, p99 and the longest, in microseconds.
    #[must_use]
    pub fn percentiles(&self) -> [u64; 3] {
        let of = |latency: &Histogram<u64>| {
            let at = |percentile| latency.value_at_percentile(percentile);
            [at(50.0), at(99.0), latency.max()]
        };
        self.latency.as_ref().map_or(self.folded, of)
    }

    /// It is over.
    pub(crate) fn fold(&mut self) {
        self.folded = self.percentiles();
        self.latency = None;
    }

    #[cfg(test)]
    pub(crate) fn is_folded(&self) -> bool {
        self.latency.is_none()
    }
}
