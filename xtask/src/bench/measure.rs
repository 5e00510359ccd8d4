//! Medians, and programs that measure on demand.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result};

/// The median; of an even number the upper of the two in the middle.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Pairs that were measured one right after the other: C's, ours.
pub(super) struct Pairs(pub Vec<(f64, f64)>);

impl Pairs {
    pub(super) fn c(&self) -> f64 {
        median(self.0.iter().map(|pair| pair.0))
    }

    pub(super) fn ours(&self) -> f64 {
        median(self.0.iter().map(|pair| pair.1))
    }

    /// The median of each pair's ratio, so that a machine that grows slower meanwhile does not count.
    pub(super) fn ratio(&self) -> f64 {
        median(self.0.iter().map(|pair| pair.1 / pair.0))
    }

    /// The ratio in words, with the middle half of all ratios where they differ: how far to trust it.
    pub(super) fn ratio_text(&self) -> String {
        let mut ratios: Vec<f64> = self.0.iter().map(|pair| pair.1 / pair.0).collect();
        ratios.sort_by(f64::total_cmp);
        let at = |part: usize| format!("{:.2}", ratios.get(ratios.len() * part / 4).copied().unwrap_or(f64::NAN));
        let (low, middle, high) = (at(1), at(2), at(3));
        if low == high { middle } else { format!("{middle} ({low} to {high})") }
    }

    /// The same of the difference.
    pub(super) fn difference(&self) -> f64 {
        median(self.0.iter().map(|pair| pair.1 - pair.0))
    }
}

/// A program that measures once for each byte of its standard input and answers with a line of numbers.
pub(super) struct OnDemand {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl OnDemand {
    pub(super) fn start(command: &mut Command) -> Result<OnDemand> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("could not start {command:?}"))?;
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().context("a child without a pipe")?);
        Ok(OnDemand { child, stdin, stdout })
    }

    pub(super) fn measure(&mut self) -> Result<Vec<f64>> {
        self.stdin.as_mut().context("it was ended")?.write_all(b"\n").context("the program is gone")?;
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        let numbers: Vec<f64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        if numbers.is_empty() {
            anyhow::bail!("the program measured nothing: {:?}", self.child.wait()?);
        }
        Ok(numbers)
    }
}

impl Drop for OnDemand {
    fn drop(&mut self) {
        // The end of its input is its end.
        self.stdin = None;
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_one_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        let pairs = Pairs(vec![(1.0, 2.0), (10.0, 21.0), (100.0, 190.0)]);
        assert_eq!((pairs.c(), pairs.ours(), pairs.ratio()), (10.0, 21.0, 2.0));
        assert_eq!(pairs.ratio_text(), "2.00 (1.90 to 2.10)");
    }
}
