//! What a hub of a given size lets through: rates per kind of operation, and messages per day.
//!
//! The arithmetic is pure: [`Bucket`], [`Quota`] and [`Limits`] are handed the time. [`Gate`] adds the clock and keeps
//! the books of a running hub; those who wait do so at its doors.

mod bucket;
mod gate;
mod limits;
mod quota;
mod sku;

pub use bucket::Bucket;
pub use limits::{Lane, Limits, Status, Throttling, Turn};
pub use quota::{Quota, Spent};
pub use sku::{Size, Sku};

pub(crate) use gate::Gate;

/// Bytes that one message pays for.
pub(crate) const STEP_BYTES: usize = 4096;

/// How many messages so many bytes are billed as: one for each started step, at least one.
pub fn messages(bytes: usize, step_bytes: usize) -> u64 {
    bytes.div_ceil(step_bytes).max(1) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_by_table() {
        for (bytes, step, billed) in
            [(0, 4096, 1), (1, 4096, 1), (4096, 4096, 1), (4097, 4096, 2), (512, 512, 1), (513, 512, 2)]
        {
            assert_eq!(messages(bytes, step), billed, "{bytes} by {step}");
        }
    }
}
