//! `krundl plan`.

use std::fmt::Write;
use std::io::Read;
use std::path::Path;

use krundl::plan::Guest;
use krundl::{Plan, prepare_json, probe_isolated};

use super::args::PlanArgs;
use super::print;

pub fn plan(args: &PlanArgs) -> i32 {
    let text = match read_spec(&args.spec) {
        Ok(text) => text,
        Err(reason) => {
            eprintln!("krundl: {reason}");
            return 2;
        }
    };
    let planned = probe_isolated(&args.library.probe()).and_then(|probed| prepare_json(&text, &probed.capabilities));
    match planned {
        Ok(prepared) => {
            print(&if args.json { json_text(&prepared.plan) } else { as_text(&prepared.plan) });
            0
        }
        Err(error) => {
            if args.json {
                print(&format!("{}\n", error.to_json()));
            } else {
                eprintln!("krundl: {error}");
            }
            1
        }
    }
}

/// The text of a spec; `-` is standard input.
pub fn read_spec(path: &Path) -> Result<String, String> {
    let read = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    read.map_err(|error| format!("the spec {} cannot be read: {error}", path.display()))
}

/// Fields in the order in which they are declared, which is libkrun's.
fn json_text(value: &impl serde::Serialize) -> String {
    format!("{}\n", serde_json::to_string_pretty(value).expect("it is plain data"))
}

fn as_text(plan: &Plan) -> String {
    let mut text = format!("library: {}\n", plan.library.display());
    if let Some(firmware) = &plan.firmware {
        let _ = writeln!(text, "firmware, loaded first: {}", firmware.display());
    }
    for (n, call) in plan.calls.iter().enumerate() {
        let _ = writeln!(text, "{:>3}. {call}", n + 1);
    }
    if let Some(guest) = &plan.guest {
        in_guest(guest, &mut text);
    }
    for socket in &plan.sockets {
        let _ = writeln!(text, "at the end: remove {}", socket.display());
    }
    for note in &plan.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

fn in_guest(guest: &Guest, text: &mut String) {
    text.push_str("in the guest:\n");
    if let Some(root) = &guest.root {
        let fstype = root.fstype.as_deref().unwrap_or("auto");
        let mode = if root.read_only { "ro" } else { "rw" };
        let options = root.options.as_ref().map(|options| format!(",{options}")).unwrap_or_default();
        let _ = writeln!(text, "     mount -t {fstype} -o {mode}{options} {} /", root.device);
    }
    for mount in &guest.mounts {
        let make = if mount.create { ", which it makes where it is missing" } else { "" };
        let mode = if mount.read_only { "ro" } else { "rw" };
        let _ = writeln!(text, "     mount -t virtiofs -o {mode} {} {}{make}", mount.tag, mount.path);
    }
    let _ = writeln!(text, "     cd {}", guest.workdir);
    let words: Vec<String> = std::iter::once(&guest.exec).chain(&guest.args).map(|word| format!("{word:?}")).collect();
    let _ = writeln!(text, "     exec {}", words.join(" "));
}
