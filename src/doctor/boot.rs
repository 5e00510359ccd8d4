//! The proof: a real guest, whose workload reads, writes and is refused.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::ground::{Ground, PROGRAM};
use crate::capabilities::Capabilities;
use crate::error::{Error, Result, Words};
use crate::helper::Helper;
use crate::launch::{Exit, LaunchOptions, Stream, launch, prepare};
use crate::plan::Channel;
use crate::spec::{Mount, VmSpec};
use crate::symbols::Function;
use crate::system::random;

/// How long the guest may take to come up, and then to do its work. A guest takes a second or two; one in a software
/// emulation 5 to 20.
const PATIENCE: Duration = Duration::from_secs(60);
/// Memory of the guest in MiB.
const MEMORY: u32 = 256;
/// The bits of the self-test's exit status; see guest/selftest.rs.
const NOT_READ: i32 = 1;
const NOT_WRITTEN: i32 = 2;
const NOT_REFUSED: i32 = 4;

/// What a boot has shown. `None`: not tried, or not come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Proof {
    /// From the start of its process to the guest's first word, in milliseconds.
    pub boot_ms: Option<u64>,
    /// Why it did not come up, or did not come to its end.
    pub error: Option<String>,
    /// Whether the guest spoke over vsock.
    pub vsock: Option<bool>,
    /// Whether it read the nonce through a mount.
    pub read: Option<bool>,
    /// Whether it wrote it back through another.
    pub write: Option<bool>,
    /// Whether a write through a read-only mount was refused.
    pub read_only: Option<bool>,
    /// What the guest's program said.
    pub words: Words,
}

/// Boots a guest. Bounded in time; nothing is left behind.
pub(super) fn prove(capabilities: &Capabilities, helper: Option<&Path>) -> Proof {
    let mut proof = Proof::default();
    if let Err(error) = attempt(capabilities, helper, &mut proof) {
        proof.error = Some(error.to_string());
    }
    proof
}

fn attempt(capabilities: &Capabilities, helper: Option<&Path>, proof: &mut Proof) -> Result<()> {
    let os = |what: &'static str| move |error: io::Error| Error::os(what, error);
    let found = Helper::find(helper)?;
    let ground = Ground::new(Some(&found)).map_err(os("making a root for the guest"))?;
    let nonce = nonce().map_err(os("making up a number"))?;
    let share = |name: &str| {
        let dir = ground.dir(name)?;
        fs::write(dir.join("nonce"), &nonce).map(|()| dir)
    };
    let shares = Shares {
        read: share("read").map_err(os("making a directory to mount"))?,
        write: share("write").map_err(os("making a directory to mount"))?,
        only: capabilities
            .has(Function::krun_add_virtiofs3)
            .then(|| share("only"))
            .transpose()
            .map_err(os("making a directory to mount"))?,
    };
    let prepared = prepare(&spec(ground.root(), &shares), capabilities)?;
    let over_vsock = matches!(&prepared.plan.guest, Some(guest) if matches!(guest.channel, Channel::Vsock { .. }));
    let options = LaunchOptions {
        helper: helper.map(Path::to_owned),
        stdin: Stream::Null,
        stdout: Stream::Null,
        stderr: Stream::Piped,
        die_with_parent: true,
        ..LaunchOptions::default()
    };
    let started = Instant::now();
    let vm = launch(prepared, options)?;
    vm.wait_ready(Some(PATIENCE))?;
    proof.boot_ms = Some(u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX));
    if over_vsock {
        proof.vsock = Some(true);
    }
    let mut said = vm.take_stderr();
    let Some(exit) = vm.wait_timeout(PATIENCE)? else {
        return Err(Error::TimedOut {
            what: "the end of the self-test",
            after: PATIENCE,
            during: None,
            words: Words::quote(&vm.log()),
        });
    };
    if let Some(said) = &mut said {
        let mut bytes = Vec::new();
        let _ = said.take(64 << 10).read_to_end(&mut bytes);
        proof.words = Words::quote(&bytes);
    }
    let status = match exit {
        Exit::Code(status) if status & !(NOT_READ | NOT_WRITTEN | NOT_REFUSED) == 0 => status,
        other => {
            proof.error = Some(format!("the self-test ended otherwise than it can: {other}"));
            return Ok(());
        }
    };
    // Nothing that the guest says counts which the host can see for itself.
    let answer = fs::read(shares.write.join("answer")).ok();
    proof.read = Some(status & NOT_READ == 0);
    proof.write = Some(status & NOT_WRITTEN == 0 && answer.as_deref() == Some(&nonce[..]));
    proof.read_only = shares.only.as_deref().map(|only| status & NOT_REFUSED == 0 && is_untouched(only, &nonce));
    Ok(())
}

struct Shares {
    read: PathBuf,
    write: PathBuf,
    /// Mounted read-only, where the library can.
    only: Option<PathBuf>,
}

fn is_untouched(dir: &Path, nonce: &[u8]) -> bool {
    let entries = fs::read_dir(dir).map(Iterator::count);
    entries.is_ok_and(|count| count == 1) && fs::read(dir.join("nonce")).is_ok_and(|now| now == nonce)
}

fn nonce() -> io::Result<Vec<u8>> {
    let bytes: [u8; 16] = random()?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes())
}

fn spec(root: PathBuf, shares: &Shares) -> VmSpec {
    let mount = |host: &Path, guest: &str, read_only| {
        let mut mount = plain_mount(guest, read_only);
        mount.host = host.to_owned();
        mount
    };
    let mut mounts = vec![mount(&shares.read, "/read", false), mount(&shares.write, "/write", false)];
    mounts.extend(shares.only.as_deref().map(|only| mount(only, "/only", true)));
    let mut spec = plain_spec(root);
    let arguments = std::iter::once("--selftest").chain(mounts.iter().map(|mount| mount.guest.as_str()));
    if let Some(exec) = &mut spec.exec {
        exec.args = arguments.map(Into::into).collect();
    }
    spec.mounts = mounts;
    spec
}

/// A small VM with that root, whose workload is krundl's own program.
pub(super) fn plain_spec(root: PathBuf) -> VmSpec {
    let json = serde_json::json!({
        "vcpus": 1, "memory_mib": MEMORY, "root": {"dir": "/"}, "exec": {"path": PROGRAM},
    });
    let mut spec: VmSpec = serde_json::from_value(json).expect("a good spec");
    spec.root.get_or_insert_default().dir = Some(root);
    spec
}

fn plain_mount(guest: &str, read_only: bool) -> Mount {
    serde_json::from_value(serde_json::json!({"host": "/", "guest": guest, "read_only": read_only}))
        .expect("a good mount")
}
