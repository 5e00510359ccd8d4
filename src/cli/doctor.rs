//! `krundl doctor`.

use std::fmt::Write;

use krundl::doctor::{Report, Status, doctor as examine};
use krundl::error::{AttemptKind, Origin};

use super::args::DoctorArgs;
use super::print;

pub fn doctor(args: &DoctorArgs) -> i32 {
    let report = examine(&args.library.probe());
    let text = if args.json {
        format!("{:#}\n", serde_json::to_value(&report).expect("a report is plain data"))
    } else {
        as_text(&report, args.verbose)
    };
    print(&text);
    i32::from(!report.is_fine())
}

fn as_text(report: &Report, verbose: bool) -> String {
    let mut text = String::new();
    if let Some(library) = &report.library {
        let _ = writeln!(text, "libkrun {}: {}", library.version.range, library.real_path.display());
        if let Some(levels) = &report.levels {
            let levels: Vec<String> =
                levels.named().iter().map(|(name, level, top)| format!("{name} {level}/{top}")).collect();
            let _ = writeln!(text, "  levels:   {}", levels.join("  "));
        }
        let features: Vec<String> =
            library.features.iter().map(|(feature, state)| format!("{feature} {state}")).collect();
        let _ = writeln!(text, "  features: {}", features.join(", "));
        let lacking: Vec<&str> =
            library.functions.iter().filter(|(_, there)| !**there).map(|(f, _)| f.name()).collect();
        let _ =
            writeln!(text, "  functions: {} of {} ", library.functions.len() - lacking.len(), library.functions.len());
        if verbose {
            for (function, there) in &library.functions {
                let _ = writeln!(
                    text,
                    "    {} {function} (since {})",
                    if *there { "yes" } else { "no " },
                    function.symbol().since
                );
            }
        } else if !lacking.is_empty() {
            let _ = writeln!(text, "    not there: {}", lacking.join(", "));
        }
        for doubt in &report.doubts {
            let _ = writeln!(text, "  {}: {}", doubt.group, doubt.why);
        }
        text.push('\n');
    }
    attempts(report, verbose, &mut text);
    // The bad news last, where the eye is.
    let mut checks: Vec<_> = report.checks.iter().collect();
    checks.sort_by_key(|check| match check.status {
        Status::Pass => 0,
        Status::Skip => 1,
        Status::Warn => 2,
        Status::Fail => 3,
    });
    for check in checks {
        let status = match check.status {
            Status::Pass => "pass",
            Status::Skip => "skip",
            Status::Warn => "warn",
            Status::Fail => "FAIL",
        };
        let _ = writeln!(text, "{status}  {:<18} {}", check.id, check.summary);
        let shown = verbose || check.status != Status::Pass;
        for line in check.detail.iter().filter(|_| shown).flat_map(|detail| detail.lines()) {
            let _ = writeln!(text, "      {line}");
        }
        if let Some(fix) = &check.fix {
            let _ = writeln!(text, "      fix: {fix}");
        }
    }
    text
}

/// What was tried in vain; of the well-known places where there is nothing only the number.
fn attempts(report: &Report, verbose: bool, text: &mut String) {
    let failed = || report.attempts.iter().filter_map(|attempt| Some((attempt, attempt.error.as_ref()?)));
    let nothing_there = |origin: Origin, kind: AttemptKind| origin == Origin::WellKnown && kind == AttemptKind::Missing;
    let (empty, told): (Vec<_>, Vec<_>) =
        failed().partition(|(attempt, error)| !verbose && nothing_there(attempt.origin, error.kind));
    if empty.is_empty() && told.is_empty() {
        return;
    }
    text.push_str(if report.library.is_some() { "tried before it:\n" } else { "tried:\n" });
    for (attempt, error) in told {
        let _ = writeln!(text, "  {} ({}): {}", attempt.candidate, attempt.origin.describe(), error.message);
    }
    if !empty.is_empty() {
        let _ = writeln!(text, "  {} well-known places: nothing there (-v lists them)", empty.len());
    }
    text.push('\n');
}
