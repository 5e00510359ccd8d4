//! Takes out of a report what says who and where: for pasting it in public.

use std::path::Path;

/// What is taken out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secrets {
    /// The home directory, which becomes `~`.
    pub home: Option<String>,
    /// The user's name, which becomes `USER`.
    pub user: Option<String>,
    /// The host's name, which becomes `HOST`.
    pub host: Option<String>,
}

impl Secrets {
    /// Those of this process.
    pub fn current() -> Secrets {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let host = rustix::system::uname().nodename().to_str().ok().map(str::to_owned);
        Secrets {
            home: variable("HOME").filter(|home| Path::new(home).is_absolute() && home != "/"),
            user: variable("USER").or_else(|| variable("LOGNAME")),
            host,
        }
    }

    /// The text without them, whatever its format. Root is everybody's user and is left.
    pub fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        if let Some(home) = &self.home {
            text = replace_words(&text, home.trim_end_matches('/'), "~");
        }
        for (name, mask) in [(&self.user, "USER"), (&self.host, "HOST")] {
            if let Some(name) = name.as_deref().filter(|name| !name.is_empty() && *name != "root") {
                text = replace_words(&text, name, mask);
            }
        }
        // Other users' homes.
        for base in ["/home/", "/Users/"] {
            text = mask_next(&text, base);
        }
        text
    }
}

/// Replaces a name where it is one, and not a part of a longer one.
fn replace_words(text: &str, name: &str, mask: &str) -> String {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(name) {
        let (before, after) = (&rest[..at], &rest[at + name.len()..]);
        let whole = !before.ends_with(is_part) && !after.starts_with(is_part);
        out.push_str(before);
        out.push_str(if whole { mask } else { name });
        rest = after;
    }
    out + rest
}

/// Replaces the component behind a directory.
fn mask_next(text: &str, base: &str) -> String {
    let mut parts = text.split(base);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !(c.is_alphanumeric() || "_-.".contains(c))).unwrap_or(part.len());
        out.push_str(base);
        out.push_str(if end == 0 || &part[..end] == "linuxbrew" { &part[..end] } else { "USER" });
        out.push_str(&part[end..]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_and_everything_else_stays() {
        let secrets = Secrets {
            home: Some("/home/anna".to_owned()),
            user: Some("anna".to_owned()),
            host: Some("box".to_owned()),
        };
        let text = "/home/anna/lib, \"/home/annabel/x\" on box: annabel, anna; /home/linuxbrew/.linuxbrew inbox";
        assert_eq!(
            secrets.redact(text),
            "~/lib, \"/home/USER/x\" on HOST: annabel, USER; /home/linuxbrew/.linuxbrew inbox"
        );
    }

    #[test]
    fn root_is_nobody_in_particular() {
        let secrets = Secrets { home: Some("/root".to_owned()), user: Some("root".to_owned()), host: None };
        assert_eq!(secrets.redact("root's /root/lib, the root file system"), "root's ~/lib, the root file system");
    }
}
