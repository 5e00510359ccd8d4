//! `krundl plan`.

use std::io::Read;
use std::path::Path;

use krundl::{prepare_json, probe_isolated};

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
            print(&if args.json { json_text(&prepared.plan) } else { prepared.plan.to_string() });
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
