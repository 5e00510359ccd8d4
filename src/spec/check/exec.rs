//! The workload's words: what Linux's exec takes.

use super::Checker;
use crate::spec::model::Exec;
use crate::spec::text::Text;

/// The longest single argument or variable that Linux's exec takes, in bytes.
const MAX_STRING: usize = 128 * 1024 - 1;
/// The most that arguments and environment may take together, in bytes: a quarter of the usual 8 MiB stack, with
/// room for the pointers.
const MAX_STRINGS: usize = 1536 * 1024;

impl Checker {
    pub(super) fn exec(&mut self, exec: &Exec) {
        if exec.path.is_empty() {
            self.invalid("exec.path", "is empty");
        }
        let mut total = 0;
        let mut string = |checker: &mut Checker, field: String, text: &Text, extra: usize| {
            let len = text.as_bytes().len() + extra;
            total += len + 1;
            if text.has_nul() {
                checker.invalid(field, "holds a NUL, which no program can be given");
            } else if len > MAX_STRING {
                checker.invalid(field, format!("is {len} bytes long; Linux takes at most {MAX_STRING} in one piece"));
            }
        };
        string(self, "exec.path".to_owned(), &exec.path, 0);
        for (n, arg) in exec.args.iter().enumerate() {
            string(self, format!("exec.args[{n}]"), arg, 0);
        }
        for (name, value) in &exec.env {
            string(self, format!("exec.env.{name}"), value, name.len() + 1);
            if name.is_empty() || name.contains(['=', '\0']) {
                self.invalid(format!("exec.env.{name}"), "is no name of a variable: it is empty or holds = or NUL");
            }
        }
        if total > MAX_STRINGS {
            self.invalid(
                "exec.args",
                format!("arguments and environment take {total} bytes; at most {MAX_STRINGS} fit"),
            );
        }
        if !exec.workdir.as_bytes().starts_with(b"/") || exec.workdir.has_nul() {
            self.invalid("exec.workdir", "must be an absolute path");
        }
    }
}
