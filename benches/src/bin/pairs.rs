//! Runs two commands in turn and measures, for each, the time from its start to the first byte of its output.
//!
//! `pairs COUNT COMMAND... -- COMMAND...` writes a line for each pair: nanoseconds of the first, of the second.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Instant;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (count, commands) = arguments.split_first().expect("the number of pairs");
    let (first, second) = commands
        .iter()
        .position(|word| word == "--")
        .map(|at| (&commands[..at], &commands[at + 1..]))
        .expect("two commands");
    // Once unmeasured, so that the files are in memory for the first one measured as well.
    first_byte(first);
    first_byte(second);
    for n in 0..count.parse::<u32>().expect("a number") {
        // The other one first in every other pair: whatever the first leaves behind meets both.
        let (a, b) = if n % 2 == 0 {
            let a = first_byte(first);
            (a, first_byte(second))
        } else {
            let b = first_byte(second);
            (first_byte(first), b)
        };
        println!("{a} {b}");
    }
}

fn first_byte(command: &[String]) -> u128 {
    let begin = Instant::now();
    let mut child = Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", command[0]));
    let mut output = child.stdout.take().expect("a pipe");
    let read = output.read_exact(&mut [0]);
    let passed = begin.elapsed();
    let _ = output.read_to_end(&mut Vec::new());
    let status = child.wait().expect("a child's status");
    read.unwrap_or_else(|error| panic!("{}: no output ({error}), {status}", command[0]));
    passed.as_nanos()
}
