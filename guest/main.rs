//! krundl's program in the guest: `krundl-guest ORDERS [--detach=DIRECTORY]`.
//!
//! libkrun's init runs it in place of the workload. It reads its [orders](orders), enters the root, mounts the shares,
//! sets up the network, runs the workload with exactly the arguments and the environment that it was given, and
//! [tells](words) the host what became of it. Meanwhile it does what the host asks for on the [control port](control). It
//! exits as the workload did, with 128 and the signal's number if one ended it, 127 if there is no such program, 126
//! if it cannot be executed, and 125 if the guest could not be prepared.
//!
//! `krundl-guest --selftest` is what `krundl doctor --boot` runs as the workload: [the proof](selftest).

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

mod channel;
pub mod control;
mod dhcp;
mod failure;
#[allow(dead_code, reason = "the host's half of the file")]
pub mod frames;
mod mounts;
mod network;
#[allow(dead_code, reason = "the host's half of the file")]
pub mod orders;
mod ports;
mod root;
mod selftest;
mod sys;
#[allow(dead_code, reason = "the host's half of the file")]
pub mod words;
mod workload;

use channel::Channel;
use control::{Base, Control, Service};
use failure::{Failure, shown};
use orders::Orders;
use words::{Request, Word};
use workload::{StartError, Workload};

const NOT_PREPARED: i32 = 125;
const NOT_EXECUTED: i32 = 126;
const NOT_FOUND: i32 = 127;

/// How long a host that does not read may keep the guest from its end.
const DRAIN: Duration = Duration::from_secs(2);

fn main() {
    std::process::exit(run());
}

fn run() -> i32 {
    sys::open_missing_stdio();
    if let Some(status) = selftest::instead(&std::env::args_os().collect::<Vec<_>>()) {
        return status;
    }
    let (orders, attached) = match receive_orders(std::env::args_os().skip(1)) {
        Ok(received) => received,
        Err(failure) => {
            complain(&failure.message);
            return NOT_PREPARED;
        }
    };
    if orders.reopen_stdio {
        ports::reopen_stdio(orders.ports);
    }
    ports::name_terminal();
    sys::close_inherited();
    workload::guard_supervisor();
    if let Some(failure) = attached {
        complain(&failure.message);
    }
    let mut channel = Channel::open(&orders.channel).unwrap_or_else(|failure| {
        complain(&failure.message);
        Channel::none()
    });
    channel.say(&Word::Hello { version: Word::VERSION });
    let (word, status) = serve(&orders, &mut channel);
    if orders.settle {
        root::settle();
    }
    ports::drain(DRAIN);
    channel.say(&word);
    channel.finish();
    status
}

/// Reads the orders and detaches the share that they came on; a failure of the latter is returned, as it does no harm.
fn receive_orders(mut args: impl Iterator<Item = OsString>) -> Result<(Orders, Option<Failure>), Failure> {
    let usage = || Failure { errno: 0, message: "usage: krundl-guest ORDERS [--detach=DIRECTORY]".into() };
    let path = args.next().ok_or_else(usage)?;
    let what = format!("orders in {}", shown(path.as_bytes()));
    let bytes = std::fs::read(&path).map_err(|error| Failure::new(&what, &error))?;
    let orders = Orders::decode(&bytes).map_err(|error| Failure { errno: 0, message: format!("{what}: {error}") })?;
    let mut attached = None;
    // A kernel appends words of its command line that it does not know, such as `tsi_hijack`.
    for arg in args {
        if let Some(target) = arg.as_bytes().strip_prefix(b"--detach=") {
            let what = format!("cannot detach {}", shown(target));
            attached = sys::detach(target).err().map(|error| Failure::new(&what, &error));
        }
    }
    Ok((orders, attached))
}

/// Does what the orders say. Returns the final word and the exit status.
fn serve(orders: &Orders, channel: &mut Channel) -> (Word, i32) {
    let rooted = orders.root.as_ref().map_or(Ok(()), root::enter);
    if let Err(failure) = rooted.and_then(|()| mounts::all(&orders.mounts)).and_then(|()| enter(&orders.workdir)) {
        return not_prepared(failure);
    }
    let leases = match network::all(&orders.nics, complain) {
        Ok(leases) => leases,
        Err(failure) => return not_prepared(failure),
    };
    let control = match orders.control.map(Control::listen).transpose() {
        Ok(control) => control,
        Err(failure) => return not_prepared(failure),
    };
    let workload = match Workload::start(orders) {
        Ok(workload) => workload,
        Err(StartError::Prepare(failure)) => return not_prepared(failure),
        Err(StartError::Exec(failure)) => {
            complain(&failure.message);
            let status = if failure.errno == sys::ENOENT { NOT_FOUND } else { NOT_EXECUTED };
            return (Word::FailedExec { errno: failure.errno, message: failure.message }, status);
        }
    };
    if let Err(error) = channel.listen(|Request::Terminate| workload::terminate()) {
        complain(&format!("the host's requests are not heard: {error}"));
    }
    // A port that was asked for and does not answer would be found out too late.
    let service = match control.map(|control| control.serve(Base::of(orders))).transpose() {
        Ok(service) => service,
        Err(error) => return not_prepared(Failure::new("control port", &error)),
    };
    channel.say(&Word::Up);
    network::keep(leases, complain);
    let ended = workload.wait();
    service.into_iter().for_each(Service::close);
    match ended.map(|status| (status.code(), status.signal())) {
        Ok((Some(status), _)) => (Word::Exit(status), status),
        Ok((None, signal)) => {
            let signal = signal.unwrap_or(0);
            (Word::Signal(signal), 128 + signal)
        }
        Err(error) => not_prepared(Failure::new("cannot wait for the workload", &error)),
    }
}

fn enter(workdir: &[u8]) -> Result<(), Failure> {
    if workdir.is_empty() {
        return Ok(());
    }
    std::env::set_current_dir(std::ffi::OsStr::from_bytes(workdir))
        .map_err(|error| Failure::new(format_args!("working directory {}", shown(workdir)), &error))
}

fn not_prepared(failure: Failure) -> (Word, i32) {
    complain(&failure.message);
    (Word::Failed { errno: failure.errno, message: failure.message }, NOT_PREPARED)
}

/// Says something on standard error; that it may be closed is no reason to end.
fn complain(message: &str) {
    let _ = io::stderr().write_all(format!("krundl: {message}\n").as_bytes());
}
