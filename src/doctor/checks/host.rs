//! This machine.

use super::Facts;
use crate::doctor::catalog::Id;
use crate::doctor::check::{By, Check, Remedy};
use crate::doctor::distro::Package;

/// Open files that a guest with a source tree in it easily knows.
const ENOUGH_FILES: u64 = 65_536;
const DEVICE: &str = "/dev/kvm";

pub(super) fn all(facts: &Facts<'_>) -> Vec<Check> {
    if facts.world.machine.is_mac {
        return vec![files(facts), macos(facts), hypervisor(facts), entitlement(facts)];
    }
    vec![
        kvm(facts),
        guests(facts),
        vcpus(facts),
        machine(facts),
        container(facts),
        files(facts),
        landlock(facts),
        program(facts, Id::HostPasst, "passt", Package::Passt),
        program(facts, Id::HostGvproxy, "gvproxy", Package::Gvproxy),
    ]
}

fn sudo(facts: &Facts<'_>) -> &'static str {
    if facts.world.is_root() { "" } else { "sudo " }
}

fn kvm(facts: &Facts<'_>) -> Check {
    const ID: Id = Id::Kvm;
    let kvm = &facts.world.machine.kvm;
    let error = kvm.error.clone().unwrap_or_default();
    if !kvm.exists {
        return Check::fail(ID, format!("{DEVICE} does not exist"))
            .known(By::Asked, "opening it")
            .mend(no_device(facts));
    }
    if !kvm.accessible {
        return Check::fail(ID, format!("{DEVICE} exists and this user cannot open it"))
            .detail([error])
            .known(By::Asked, "opening it for reading and writing")
            .mend(no_access(facts));
    }
    if kvm.api_version != Some(12) {
        let version = kvm.api_version.map_or("nothing".to_owned(), |version| version.to_string());
        return Check::fail(ID, format!("{DEVICE} answers with interface {version}, not 12"))
            .detail([error])
            .known(By::Asked, "KVM_GET_API_VERSION")
            .mend(Remedy::words("use a kernel whose KVM has interface 12: any since 2007"));
    }
    if kvm.creates_vm != Some(true) {
        return Check::fail(ID, format!("{DEVICE} opens and creates no VM"))
            .detail([error])
            .known(By::Asked, "KVM_CREATE_VM")
            .mend(Remedy::words("end other hypervisors on this machine, and see the kernel's log").command("dmesg"));
    }
    Check::pass(ID, format!("{DEVICE} opens, answers and creates a VM"))
        .known(By::Asked, "KVM_GET_API_VERSION is 12, KVM_CREATE_VM works; whether guests run is another question")
}

fn no_device(facts: &Facts<'_>) -> Remedy {
    let world = facts.world;
    if world.container().is_some() {
        return Remedy::words("pass the device into the container: start it with --device /dev/kvm");
    }
    let flags = world.processor_flags();
    let has = |flag: &str| flags.iter().any(|one| one == flag);
    let load = |module: &str| {
        Remedy::words(format!("load {module}; if it refuses, virtualisation is disabled in the firmware's setup"))
            .command(format!("{}modprobe {module}", sudo(facts)))
    };
    if has("vmx") {
        load("kvm_intel")
    } else if has("svm") {
        load("kvm_amd")
    } else if has("hypervisor") {
        Remedy::words("this machine is a guest itself, without nested virtualisation: turn it on where it is run from")
    } else {
        Remedy::words(
            "enable virtualisation (VT-x, AMD-V) in the firmware's setup; a processor without it runs no guests",
        )
    }
}

fn no_access(facts: &Facts<'_>) -> Remedy {
    let (world, machine) = (facts.world, &facts.world.machine);
    if world.is_root() {
        return Remedy::words("root itself is refused: a container or a security module forbids the device");
    }
    match machine.kvm_group {
        Some(group) if machine.groups.contains(&group) => Remedy::words("give its group the right to use the device")
            .command(format!("{}chmod g+rw {DEVICE}", sudo(facts))),
        Some(group) if group != 0 => {
            let (name, members) = world.group(group).unwrap_or_else(|| (group.to_string(), Vec::new()));
            let user = world.environment.user.as_deref().and_then(|user| user.to_str());
            if user.is_some_and(|user| members.iter().any(|member| member == user)) {
                return Remedy::words(format!("you are in the group {name}, and this session is older: log in again"))
                    .command(format!("newgrp {name}"));
            }
            Remedy::words(format!("join the group {name}, then log in again"))
                .command(format!("sudo usermod -aG {name} $USER"))
        }
        _ => Remedy::words("give a group of its own to the device, and join that")
            .command(format!("sudo chgrp kvm {DEVICE}"))
            .command(format!("sudo chmod 660 {DEVICE}"))
            .command("sudo usermod -aG kvm $USER"),
    }
}

fn guests(facts: &Facts<'_>) -> Check {
    const ID: Id = Id::KvmGuests;
    let machine = &facts.world.machine;
    let kvm = &machine.kvm;
    if !kvm.accessible || kvm.api_version != Some(12) || kvm.creates_vm != Some(true) {
        return Check::skip(ID, "cannot be told without a KVM that works");
    }
    let modules = if kvm.modules.is_empty() { "none".to_owned() } else { kvm.modules.join(", ") };
    let flags = facts.world.processor_flags();
    let shown: Vec<&str> = ["vmx", "svm"].into_iter().filter(|flag| flags.iter().any(|one| one == flag)).collect();
    let flags = if shown.is_empty() { "neither vmx nor svm".to_owned() } else { shown.join(", ") };
    let check = if machine.architecture != "x86_64" {
        Check::pass(ID, "nothing speaks against running guests; only --boot proves it")
    } else if kvm.modules.iter().any(|module| matches!(module.as_str(), "kvm_intel" | "kvm_amd")) {
        Check::pass(ID, format!("{modules} is behind it, as ordinary guests need; only --boot proves that they run"))
    } else if kvm.modules.is_empty() {
        Check::warn(ID, "what is behind the device cannot be told; only --boot proves that guests run")
            .mend(Remedy::words("boot one").command("krundl doctor --boot"))
    } else {
        Check::fail(ID, format!("{modules} is behind the device, which runs no ordinary guests"))
            .detail(["the device answers and creates VMs all the same; it takes kvm_intel or kvm_amd"])
            .mend(
                Remedy::words(
                    "use a machine with hardware virtualisation; a checkout of krundl boots a guest in software emulation",
                )
                .command("cargo xtask demo"),
            )
    };
    check.known(By::File, format!("/sys/module: {modules}")).known(By::File, format!("/proc/cpuinfo: {flags}"))
}

fn vcpus(facts: &Facts<'_>) -> Check {
    const ID: Id = Id::KvmVcpus;
    match facts.world.machine.kvm.max_vcpus {
        // libkrun takes the number as a byte.
        Some(max) => Check::pass(ID, format!("a VM can have {} vCPUs", max.min(255)))
            .known(By::Asked, format!("KVM_CAP_MAX_VCPUS is {max}; libkrun takes at most 255")),
        None => Check::skip(ID, "cannot be asked"),
    }
}

fn machine(facts: &Facts<'_>) -> Check {
    const ID: Id = Id::HostVirtual;
    if facts.world.machine.architecture != "x86_64" {
        return Check::skip(ID, "only told on x86-64");
    }
    if !facts.world.processor_flags().iter().any(|flag| flag == "hypervisor") {
        return Check::pass(ID, "this machine is no guest itself")
            .known(By::File, "/proc/cpuinfo has no flag hypervisor");
    }
    let nested = ["kvm_intel", "kvm_amd"]
        .iter()
        .find_map(|module| facts.world.read(&format!("/sys/module/{module}/parameters/nested")))
        .map(|value| format!("; its own KVM nests: {}", value.trim()));
    let summary = "this machine is a guest itself: guests of it are nested, and slower";
    Check::pass(ID, summary)
        .known(By::File, format!("/proc/cpuinfo has the flag hypervisor{}", nested.unwrap_or_default()))
}

fn container(facts: &Facts<'_>) -> Check {
    const ID: Id = Id::HostContainer;
    let Some(engine) = facts.world.container() else {
        return Check::pass(ID, "no container").known(By::File, "no container engine's mark");
    };
    if facts.world.machine.kvm.exists {
        return Check::pass(ID, format!("a container of {engine}, with the device"))
            .known(By::File, "the engine's mark");
    }
    Check::warn(ID, format!("a container of {engine}, without {DEVICE}"))
        .known(By::File, "the engine's mark")
        .mend(Remedy::words("start the container with --device /dev/kvm"))
}

fn files(facts: &Facts<'_>) -> Check {
    const ID: Id = Id::HostFiles;
    let (soft, hard) = facts.world.machine.open_files;
    let shown = |limit: Option<u64>| limit.map_or("any number".to_owned(), |limit| limit.to_string());
    let summary = format!("the VM's process may hold {} files open", shown(hard));
    let how = format!("RLIMIT_NOFILE: {} soft, {} hard; krundl raises it to the hard limit", shown(soft), shown(hard));
    if hard.is_none_or(|hard| hard >= ENOUGH_FILES) {
        return Check::pass(ID, summary).known(By::Asked, how);
    }
    Check::warn(ID, format!("{summary}: a guest that looks at more sees directories cut short, without an error"))
        .known(By::Asked, how)
        .mend(Remedy::words("raise the hard limit, for example in this shell, as root").command("ulimit -Hn 1048576"))
}

fn landlock(facts: &Facts<'_>) -> Check {
    const ID: Id = Id::HostLandlock;
    match facts.world.machine.landlock {
        Some(abi) => Check::pass(ID, format!("interface {abi}")).known(By::Asked, "landlock_create_ruleset"),
        None => Check::warn(ID, "none: the VM's process cannot be confined by it")
            .known(By::Asked, "landlock_create_ruleset")
            .mend(Remedy::words("use a kernel with CONFIG_SECURITY_LANDLOCK, and landlock in its lsm= list")),
    }
}

fn program(facts: &Facts<'_>, id: Id, name: &str, package: Package<'_>) -> Check {
    match facts.world.program(name) {
        Some(path) => Check::pass(id, path.display().to_string()).known(By::File, "executable, where a launch looks"),
        None => Check::skip(id, format!("{name} was not found; it is only needed for networks through it"))
            .mend(facts.distribution.install(package, facts.world.is_root())),
    }
}

fn macos(facts: &Facts<'_>) -> Check {
    const ID: Id = Id::HostMacos;
    match &facts.world.machine.macos_version {
        Some(version) => Check::pass(ID, format!("macOS {version}")).known(By::Asked, "kern.osproductversion"),
        None => Check::skip(ID, "the kernel does not tell"),
    }
}

fn hypervisor(facts: &Facts<'_>) -> Check {
    const ID: Id = Id::HostHypervisor;
    match facts.world.machine.hypervisor_framework {
        Some(true) => Check::pass(ID, "macOS has a hypervisor for it").known(By::Asked, "kern.hv_support"),
        Some(false) => Check::fail(ID, "macOS has no hypervisor on this machine")
            .known(By::Asked, "kern.hv_support")
            .mend(Remedy::words("use a Mac with Apple silicon; a virtual Mac has none")),
        None => Check::skip(ID, "the kernel does not tell"),
    }
}

fn entitlement(facts: &Facts<'_>) -> Check {
    const ID: Id = Id::HostEntitlement;
    const NAME: &str = "com.apple.security.hypervisor";
    let Some(helper) = facts.helper else { return Check::skip(ID, "krundl-vmm was not found") };
    // An embedded signature has its entitlements as plain text.
    let signed = std::fs::read(helper).is_ok_and(|bytes| memchr::memmem::find(&bytes, NAME.as_bytes()).is_some());
    if signed {
        return Check::pass(ID, format!("{} carries {NAME}", helper.display())).known(By::File, "its signature");
    }
    Check::fail(ID, format!("{} does not carry {NAME}", helper.display())).known(By::File, "its signature").mend(
        Remedy::words(format!("sign it with {NAME} in a file entitlements.plist"))
            .command(format!("codesign --sign - --force --entitlements entitlements.plist {}", helper.display())),
    )
}
