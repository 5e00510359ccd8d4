//! `krundl kernel`.

use krundl::doctor::check_kernel;

use super::args::KernelCommand;
use super::print;

pub fn kernel(command: &KernelCommand) -> i32 {
    let KernelCommand::Check { file, purposes, json } = command;
    let check = check_kernel(file, purposes);
    if *json {
        print(&format!("{:#}\n", serde_json::to_value(&check).expect("plain data")));
    } else {
        print(&check.to_string());
    }
    i32::from(!check.is_good())
}
