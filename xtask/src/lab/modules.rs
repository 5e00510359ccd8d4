//! Which files a kernel module needs, read from the modules themselves.
//!
//! A Debian kernel that is only unpacked has no `modules.dep` (installing it makes that), but every module names the
//! modules that it depends on.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::output;
use crate::elf::Elf;

/// A module's content, ready for `insmod`.
#[derive(Debug)]
pub struct Module {
    /// Its name, with underscores.
    pub name: String,
    /// The uncompressed ELF file.
    pub content: Vec<u8>,
}

/// The modules of one kernel.
#[derive(Debug)]
pub struct Modules {
    files: BTreeMap<String, PathBuf>,
    built_in: Vec<String>,
    xzcat: Vec<PathBuf>,
}

impl Modules {
    /// Lists the modules below `dir` (`.../lib/modules/RELEASE`). `busybox` unpacks compressed ones.
    pub fn open(dir: &Path, busybox: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        collect(&dir.join("kernel"), &mut files)?;
        let list = dir.join("modules.builtin");
        let list = fs::read_to_string(&list).with_context(|| format!("could not read {}", list.display()))?;
        let built_in = list.lines().filter_map(|line| module_name(Path::new(line))).collect();
        Ok(Self { files, built_in, xzcat: vec![busybox.to_owned(), "xzcat".into()] })
    }

    /// The modules `wanted` and all that they depend on, in an order in which they can be loaded. Of `optional` those
    /// that exist.
    pub fn load_order(&self, wanted: &[&str], optional: &[&str]) -> Result<Vec<Module>> {
        let mut modules = BTreeMap::new();
        let mut read = |name: &str| -> Result<Option<Vec<String>>> {
            if self.built_in.iter().any(|other| other == name) {
                return Ok(None);
            }
            let Some(file) = self.files.get(name) else { bail!("this kernel has no module {name}") };
            let content = self.read(file)?;
            let depends = depends(&content).with_context(|| format!("could not read {}", file.display()))?;
            modules.insert(name.to_owned(), content);
            Ok(Some(depends))
        };
        let optional = optional.iter().filter(|name| self.files.contains_key(**name));
        let order = resolve(wanted.iter().chain(optional).copied(), &mut read)?;
        let module = |name: String| Module { content: modules.remove(&name).unwrap_or_default(), name };
        Ok(order.into_iter().map(module).collect())
    }

    fn read(&self, file: &Path) -> Result<Vec<u8>> {
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("xz") => output(Command::new(&self.xzcat[0]).args(&self.xzcat[1..]).arg(file)),
            Some("ko") => fs::read(file).with_context(|| format!("could not read {}", file.display())),
            _ => bail!("{} is compressed in a way that cannot be read here (only xz can)", file.display()),
        }
    }
}

fn collect(dir: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("could not read {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if let Some(name) = module_name(&path) {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// The name of the module in a file such as `kernel/net/9p/9pnet_virtio.ko.xz`.
fn module_name(path: &Path) -> Option<String> {
    let (name, suffix) = path.file_name()?.to_str()?.split_once('.')?;
    (suffix == "ko" || suffix.starts_with("ko.")).then(|| name.replace('-', "_"))
}

/// What a module's own section says about the modules that it needs.
fn depends(module: &[u8]) -> Result<Vec<String>> {
    let info = Elf::parse(module)?.section(".modinfo")?;
    let field = info.split(|byte| *byte == 0).find_map(|field| field.strip_prefix(b"depends="));
    let field = std::str::from_utf8(field.unwrap_or_default()).context("the list of dependencies is not UTF-8")?;
    Ok(field.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect())
}

/// Orders modules so that each comes after what it depends on. `depends` gives `None` for what needs no loading.
fn resolve<'a>(
    wanted: impl Iterator<Item = &'a str>,
    depends: &mut dyn FnMut(&str) -> Result<Option<Vec<String>>>,
) -> Result<Vec<String>> {
    fn visit(
        name: &str,
        depends: &mut dyn FnMut(&str) -> Result<Option<Vec<String>>>,
        seen: &mut Vec<String>,
        order: &mut Vec<String>,
    ) -> Result<()> {
        if seen.iter().any(|other| other == name) {
            return Ok(());
        }
        seen.push(name.to_owned());
        let Some(needs) = depends(name)? else { return Ok(()) };
        for need in needs {
            visit(&need, depends, seen, order).with_context(|| format!("the module {name} needs {need}"))?;
        }
        order.push(name.to_owned());
        Ok(())
    }
    let (mut seen, mut order) = (Vec::new(), Vec::new());
    for name in wanted {
        visit(name, depends, &mut seen, &mut order)?;
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::file_with_section;

    #[test]
    fn names_of_modules() {
        let name = |path: &str| module_name(Path::new(path));
        assert_eq!(name("kernel/net/9p/9pnet-virtio.ko"), Some("9pnet_virtio".into()));
        assert_eq!(name("a/kvm.ko.xz"), Some("kvm".into()));
        assert_eq!(name("a/modules.order"), None);
        assert_eq!(name("a/README"), None);
    }

    #[test]
    fn what_a_module_says_of_itself() {
        let module = file_with_section(".modinfo", b"license=GPL\0depends=9pnet,net-failover\0name=x\0");
        assert_eq!(depends(&module).unwrap(), ["9pnet", "net_failover"]);
        assert_eq!(depends(&file_with_section(".modinfo", b"depends=\0")).unwrap(), [""; 0]);
        assert!(depends(b"not a module").is_err());
    }

    #[test]
    fn dependencies_come_first_and_once() {
        let mut depends = |name: &str| {
            Ok(Some(match name {
                "kvm_amd" => vec!["kvm".to_owned(), "ccp".to_owned()],
                "kvm" => vec!["irqbypass".to_owned(), "builtin".to_owned()],
                "9p" => vec!["netfs".to_owned()],
                "builtin" => return Ok(None),
                "missing" => bail!("no module {name}"),
                _ => vec![],
            }))
        };
        let order = resolve(["9p", "kvm_amd", "kvm"].into_iter(), &mut depends).unwrap();
        assert_eq!(order, ["netfs", "9p", "irqbypass", "kvm", "ccp", "kvm_amd"]);
        assert!(resolve(["missing"].into_iter(), &mut depends).is_err());
    }

    #[test]
    fn modules_in_a_directory() {
        let dir = std::env::temp_dir().join(format!("krundl-modules-{}", std::process::id()));
        fs::create_dir_all(dir.join("kernel/fs")).unwrap();
        fs::write(dir.join("modules.builtin"), "kernel/drivers/virtio/virtio.ko\n").unwrap();
        fs::write(dir.join("kernel/fs/a.ko"), file_with_section(".modinfo", b"depends=b-c,virtio\0")).unwrap();
        fs::write(dir.join("kernel/b-c.ko"), file_with_section(".modinfo", b"depends=\0")).unwrap();
        let modules = Modules::open(&dir, Path::new("busybox")).unwrap();
        let order = modules.load_order(&["a"], &["nowhere"]).unwrap();
        assert_eq!(order.iter().map(|module| &*module.name).collect::<Vec<_>>(), ["b_c", "a"]);
        assert!(order.iter().all(|module| !module.content.is_empty()));
        assert!(modules.load_order(&["nowhere"], &[]).is_err());
        fs::remove_dir_all(dir).unwrap();
    }
}
