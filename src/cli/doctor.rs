//! `krundl doctor`.

use std::io::{IsTerminal, Write};

use krundl::doctor::{Format, Id, Options, Secrets, Step, Style, World, doctor_of, explain, list};

use super::args::{DoctorArgs, ReportFormat, mount};
use super::print;

/// Used wrongly.
const USAGE: i32 = 2;

pub fn doctor(args: &DoctorArgs) -> i32 {
    if args.list {
        print(&list());
        return 0;
    }
    match run(args) {
        Ok(status) => status,
        Err(reason) => {
            eprintln!("krundl: {reason}");
            USAGE
        }
    }
}

fn run(args: &DoctorArgs) -> Result<i32, String> {
    if let Some(name) = &args.explain {
        let unknown = || format!("there is no check {name:?}; fix: krundl doctor --list shows them");
        print(&explain(Id::from_name(name).ok_or_else(unknown)?));
        return Ok(0);
    }
    let mount_of =
        |text: &std::ffi::OsString| mount(text).map_err(|reason| format!("--mount {}: {reason}", text.display()));
    let options = Options {
        probe: args.library.probe(),
        mounts: args.mounts.iter().map(mount_of).collect::<Result<_, _>>()?,
        kernel: args.kernel.clone(),
        compare: args.compare.clone(),
        boot: args.boot,
        only: args.only.clone(),
    };
    let report = doctor_of(&World::current(), &options, &mut show_progress);
    clear_progress();
    let report = report?;
    let format = match args.format {
        _ if args.json => Format::Json,
        ReportFormat::Json => Format::Json,
        ReportFormat::Nfd => Format::Nfd,
        ReportFormat::Openmetrics => Format::OpenMetrics,
        ReportFormat::Text => Format::Text(Style { checks_only: !args.only.is_empty(), ..style(args.verbose) }),
    };
    let text = report.render(format);
    print(&if args.redact { Secrets::current().redact(&text) } else { text });
    Ok(i32::from(!report.is_fine(args.strict)))
}

/// Colours and breaks for a terminal, unless NO_COLOR is set; whole lines for everybody else.
fn style(verbose: bool) -> Style {
    let stdout = std::io::stdout();
    let is_terminal = stdout.is_terminal();
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let width = rustix::termios::tcgetwinsize(&stdout).ok().map(|size| usize::from(size.ws_col)).filter(|n| *n > 0);
    Style { colour: is_terminal && !no_color, width: width.filter(|_| is_terminal), verbose, checks_only: false }
}

/// One line on a terminal, which the next one or the report replaces.
fn show_progress(step: Step) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let _ = write!(stderr, "\r\x1b[K{} ...", step.describe());
    }
}

fn clear_progress() {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let _ = write!(stderr, "\r\x1b[K");
    }
}
