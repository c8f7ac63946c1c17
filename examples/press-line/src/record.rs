//! The plant's record, and what it proves.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// One write, as the plant saw it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// When, by the plant's clock, since its start.
    pub at_ms: u64,
    pub member: String,
    pub term: u32,
    pub revision: u16,
    pub heat: u16,
    /// Whether the plant carried it out; it refuses older terms.
    pub taken: bool,
}

/// The writes of one member in one term.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Reign {
    member: String,
    term: u32,
    revision: u16,
    first_ms: u64,
    last_ms: u64,
    writes: usize,
}

/// Prints who wrote when. Fails if two wrote at once, or if anything but the `late` writes was refused.
pub fn report(record: &Path, late: usize) -> Result<()> {
    let text = std::fs::read_to_string(record).with_context(|| format!("cannot read {}", record.display()))?;
    let entries =
        text.lines().map(serde_json::from_str).collect::<Result<Vec<Entry>, _>>().context("the record is broken")?;
    let reigns = reigns(&entries);
    let mut before: Option<u64> = None;
    println!(
        "{:>5}  {:<10} {:>9} {:>9} {:>7} {:>6}  {}",
        "TERM", "MEMBER", "FROM MS", "TO MS", "WRITES", "MODEL", "GAP MS"
    );
    for Reign { member, term, revision, first_ms, last_ms, writes } in &reigns {
        let gap = before.map(|before| first_ms.saturating_sub(before).to_string()).unwrap_or_default();
        println!("{term:>5}  {member:<10} {first_ms:>9} {last_ms:>9} {writes:>7} {revision:>6}  {gap}");
        before = Some(*last_ms);
    }
    let refused = entries.iter().filter(|entry| !entry.taken).count();
    let at_once = at_once(&reigns);
    println!(
        "\n{at_once} times two wrote at once; {refused} writes of an older term were refused, {late} of them sent on purpose"
    );
    ensure!(!reigns.is_empty(), "nobody wrote");
    ensure!(at_once == 0, "two wrote at once");
    ensure!(
        refused == late,
        "{refused} writes were refused, {late} were sent late on purpose: the leases alone did not keep writers apart"
    );
    Ok(())
}

fn reigns(entries: &[Entry]) -> Vec<Reign> {
    let mut reigns: Vec<Reign> = Vec::new();
    for entry in entries.iter().filter(|entry| entry.taken) {
        let same = |reign: &&mut Reign| reign.term == entry.term && reign.member == entry.member;
        match reigns.iter_mut().find(same) {
            Some(reign) => {
                reign.last_ms = entry.at_ms;
                reign.writes += 1;
            }
            None => reigns.push(Reign {
                member: entry.member.clone(),
                term: entry.term,
                revision: entry.revision,
                first_ms: entry.at_ms,
                last_ms: entry.at_ms,
                writes: 1,
            }),
        }
    }
    reigns
}

/// How many pairs of reigns overlap in time, or share a term.
fn at_once(reigns: &[Reign]) -> usize {
    let overlap = |a: &Reign, b: &Reign| a.term == b.term || (a.first_ms < b.last_ms && b.first_ms < a.last_ms);
    reigns.iter().enumerate().map(|(at, a)| reigns[at + 1..].iter().filter(|b| overlap(a, b)).count()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Vec<Entry> {
        let word = |line: &str| -> Entry {
            let words: Vec<&str> = line.split_whitespace().collect();
            let number = |at: usize| words[at].parse::<u32>().expect("a number");
            let member = words[1].to_owned();
            Entry { at_ms: number(0).into(), member, term: number(2), revision: 1, heat: 0, taken: words.len() == 3 }
        };
        text.lines().map(word).collect()
    }

    #[test]
    fn one_after_the_other_is_fine() {
        let reigns = reigns(&entries("1 a 1\n5 a 1\n9 b 2\n10 a 1 refused\n12 b 2\n20 a 3"));
        assert_eq!((reigns.len(), at_once(&reigns)), (3, 0));
    }

    #[test]
    fn two_at_once_are_found() {
        assert_eq!(at_once(&reigns(&entries("1 a 1\n5 b 2\n6 a 1\n9 b 2"))), 1);
        assert_eq!(at_once(&reigns(&entries("1 a 1\n5 b 1"))), 1);
    }
}
