//! This machine's KVM, step by step: what exists, what opens, what answers. None of it proves that a guest runs.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use serde::{Deserialize, Serialize};

const KVM_GET_API_VERSION: libc::c_ulong = 0xAE00;
const KVM_CREATE_VM: libc::c_ulong = 0xAE01;
const KVM_CHECK_EXTENSION: libc::c_ulong = 0xAE03;
const KVM_CAP_NR_VCPUS: libc::c_int = 9;
const KVM_CAP_MAX_VCPUS: libc::c_int = 66;

/// What /dev/kvm answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Kvm {
    /// Whether the device exists.
    pub exists: bool,
    /// Whether this process can open it for reading and writing.
    pub accessible: bool,
    /// Why not, in the system's words.
    pub error: Option<String>,
    /// The API version; 12 is the only one that counts.
    pub api_version: Option<i32>,
    /// Whether it creates an (empty) VM.
    pub creates_vm: Option<bool>,
    /// The most vCPUs that a VM can have.
    pub max_vcpus: Option<u32>,
    /// The kernel modules that may stand behind it, of those loaded or built in (`kvm_intel`, `kvm_amd`, others
    /// named `kvm_*`). A module other than those two usually runs no ordinary guests.
    pub modules: Vec<String>,
}

impl Kvm {
    /// Asks the device, in this order: does it exist, does it open, does it answer, does it create a VM.
    pub fn probe() -> Kvm {
        let mut kvm = Kvm { modules: modules(), ..Kvm::default() };
        let device = match open() {
            Ok(device) => device,
            Err(error) => {
                kvm.exists = error.kind() != io::ErrorKind::NotFound;
                kvm.error = Some(error.to_string());
                return kvm;
            }
        };
        kvm.exists = true;
        kvm.accessible = true;
        kvm.api_version = ioctl(&device, KVM_GET_API_VERSION, 0).ok();
        kvm.max_vcpus = max_vcpus_of(&device);
        kvm.creates_vm = Some(match ioctl(&device, KVM_CREATE_VM, 0) {
            Ok(vm) => {
                // SAFETY: the ioctl has just returned this descriptor, and nobody else knows it.
                drop(unsafe { <File as std::os::fd::FromRawFd>::from_raw_fd(vm) });
                true
            }
            Err(error) => {
                kvm.error = Some(error.to_string());
                false
            }
        });
        kvm
    }

    /// Whether ordinary guests are to be expected: the module is one of the two that run them. `None` when the
    /// modules do not tell (the device is there and neither of them shows).
    pub fn runs_ordinary_guests(&self) -> Option<bool> {
        if !self.accessible || self.creates_vm == Some(false) || self.api_version != Some(12) {
            return Some(false);
        }
        let ordinary = |module: &String| matches!(module.as_str(), "kvm_intel" | "kvm_amd");
        if !cfg!(target_arch = "x86_64") || self.modules.iter().any(ordinary) {
            None
        } else if self.modules.is_empty() {
            // kvm_intel or kvm_amd would show even when built in: they have parameters.
            None
        } else {
            Some(false)
        }
    }
}

/// The most vCPUs that this host's KVM gives a VM; `None` where that cannot be asked.
pub fn max_vcpus() -> Option<u32> {
    max_vcpus_of(&open().ok()?)
}

fn max_vcpus_of(device: &File) -> Option<u32> {
    for capability in [KVM_CAP_MAX_VCPUS, KVM_CAP_NR_VCPUS] {
        match ioctl(device, KVM_CHECK_EXTENSION, capability) {
            Ok(n) if n > 0 => return u32::try_from(n).ok(),
            _ => {}
        }
    }
    None
}

fn open() -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/kvm")
}

fn ioctl(device: &File, request: libc::c_ulong, argument: libc::c_int) -> io::Result<i32> {
    // SAFETY: the three requests take an integer, not a pointer, so no memory of ours is touched.
    let answer =
        unsafe { libc::ioctl(device.as_raw_fd(), request as _, libc::c_ulong::try_from(argument).unwrap_or(0)) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

fn modules() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/sys/module") else { return Vec::new() };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("kvm_"))
        .collect();
    names.sort();
    names
}

/// The version of Landlock's interface, with which a process can confine itself to some files; `None` if the kernel has
/// none or does not tell.
#[cfg(target_os = "linux")]
pub fn landlock_abi() -> Option<u32> {
    const VERSION: libc::c_ulong = 1;
    // SAFETY: with a null pointer, a size of 0 and this flag the call only returns a number.
    let abi = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<libc::c_void>(), 0 as libc::c_ulong, VERSION)
    };
    u32::try_from(abi).ok().filter(|abi| *abi > 0)
}

/// Landlock is Linux's.
#[cfg(not(target_os = "linux"))]
pub fn landlock_abi() -> Option<u32> {
    None
}

/// macOS: whether its hypervisor can be used, as the kernel answers.
#[cfg(target_os = "macos")]
pub fn hypervisor_framework() -> Option<bool> {
    let (mut answer, mut size) = (0i32, size_of::<i32>());
    // SAFETY: the name is a C string, and the answer has the size that is told.
    let failed = unsafe {
        libc::sysctlbyname(c"kern.hv_support".as_ptr(), (&raw mut answer).cast(), &mut size, std::ptr::null_mut(), 0)
    };
    (failed == 0).then_some(answer != 0)
}

/// Only macOS has it.
#[cfg(not(target_os = "macos"))]
pub fn hypervisor_framework() -> Option<bool> {
    None
}

/// The version of macOS, as its kernel answers.
#[cfg(target_os = "macos")]
pub fn macos_version() -> Option<String> {
    let mut answer = [0u8; 64];
    let mut size = answer.len();
    // SAFETY: the name is a C string, and no more is written than the size that is told.
    let failed = unsafe {
        libc::sysctlbyname(
            c"kern.osproductversion".as_ptr(),
            answer.as_mut_ptr().cast(),
            &mut size,
            std::ptr::null_mut(),
            0,
        )
    };
    let text = std::ffi::CStr::from_bytes_until_nul(&answer).ok()?.to_str().ok()?;
    (failed == 0).then(|| text.to_owned())
}

/// Only macOS has one.
#[cfg(not(target_os = "macos"))]
pub fn macos_version() -> Option<String> {
    None
}
