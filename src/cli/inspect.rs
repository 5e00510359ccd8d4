//! `krundl inspect`.

use krundl::doctor::{inspect as read, inspect_root, inspected_as_text};

use super::args::InspectArgs;
use super::print;

pub fn inspect(args: &InspectArgs) -> i32 {
    let files = match &args.root {
        Some(root) if args.files.is_empty() => inspect_root(root),
        root => read(&args.files, root.as_deref()),
    };
    if args.json {
        print(&format!("{:#}\n", serde_json::to_value(&files).expect("plain data")));
    } else {
        print(&inspected_as_text(&files, args.verbose));
    }
    i32::from(files.iter().any(|file| file.error.is_some()))
}
