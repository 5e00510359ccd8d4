//! Runs two commands in turn and measures both.
//!
//! `pairs first-byte|output COUNT COMMAND... -- COMMAND...` writes a line for each pair, what the first measured and what
//! the second did. `first-byte`: nanoseconds from a command's start to the first byte of its output, on either stream.
//! `output`: the numbers that a command writes itself.

use std::process::{Command, Stdio};
use std::time::Instant;

use std::io::Read;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, count, commands @ ..] = &arguments[..] else {
        panic!("usage: pairs MODE COUNT COMMAND... -- COMMAND...")
    };
    let measure: fn(&[String]) -> String = match mode.as_str() {
        "first-byte" => first_byte,
        "output" => output,
        other => panic!("{other} is no way to measure"),
    };
    let (first, second) = commands
        .iter()
        .position(|word| word == "--")
        .map(|at| (&commands[..at], &commands[at + 1..]))
        .expect("two commands");
    // Once unmeasured, so that the files are in memory for the first one measured as well.
    measure(first);
    measure(second);
    for n in 0..count.parse::<u32>().expect("a number") {
        // The other one first in every other pair: whatever the first leaves behind meets both.
        let (a, b) = if n % 2 == 0 {
            let a = measure(first);
            (a, measure(second))
        } else {
            let b = measure(second);
            (measure(first), b)
        };
        println!("{a} {b}");
    }
}

fn first_byte(command: &[String]) -> String {
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let begin = Instant::now();
    let mut child = Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::null())
        .stdout(writer.try_clone().expect("a descriptor"))
        .stderr(writer)
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", command[0]));
    let mut byte = [0];
    let read = reader.read_exact(&mut byte);
    let passed = begin.elapsed();
    let mut rest = byte.to_vec();
    let _ = reader.read_to_end(&mut rest);
    let status = child.wait().expect("a child's status");
    let said = String::from_utf8_lossy(&rest);
    // Another first word would be somebody else's, an error for instance.
    assert!(read.is_ok() && said.starts_with("ready"), "{}: {status}: {said}", command[0]);
    passed.as_nanos().to_string()
}

fn output(command: &[String]) -> String {
    let output = Command::new(&command[0]).args(&command[1..]).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", command[0]));
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    assert!(output.status.success(), "{}: {}: {}", command[0], output.status, said(&output.stderr));
    said(&output.stdout)
}
