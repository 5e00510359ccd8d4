//! Real guests: every case boots them with each libkrun that `cargo xtask test` names, inside its lab.
//!
//! The lab says `KRUNDL_LAB=1`; the task says which libraries there are (`KRUNDL_TEST_LIBKRUN`, as
//! `1.19.7=DIRECTORY;...`), where libkrunfw is (`KRUNDL_TEST_FIRMWARE`), where a
//! kernel of our own (`KRUNDL_TEST_KERNEL`), and which directory is a guest's root
//! (`KRUNDL_TEST_ROOT`; nobody writes to it). Without all of them the cases are skipped.

mod arguments;
mod breadth;
mod control;
mod doctor;
mod environment;
mod exhaustion;
mod failures;
mod faults;
mod gvproxy;
mod kernel;
mod leftovers;
mod mounts;
mod network;
mod peers;
mod port;
mod readonly;
mod signals;
mod stage;
mod statuses;
mod streams;
mod talk;
mod tap;
mod terminal;
mod vms;

use std::process::ExitCode;
use std::time::Instant;

use libtest_mimic::{Arguments, Conclusion, Failed, Trial, run};

use environment::{Environment, Release};
use leftovers::Before;
use stage::Stage;

type Case = (&'static str, fn(&Stage));

/// The path of each function as the case's name.
macro_rules! cases {
    ($($module:ident :: { $($case:ident),+ $(,)? }),+ $(,)?) => {
        &[$($((concat!(stringify!($module), "::", stringify!($case)), $module::$case as fn(&Stage))),+),+]
    };
}

/// What libkrun has a part in: with every release.
const EVERY: &[Case] = cases! {
    mounts::{
        cat_prints_exactly_the_hosts_bytes,
        both_sides_see_what_the_other_writes,
        many_mounts_nested_and_on_new_mount_points,
        a_dax_window_is_used_where_it_was_asked_for,
        what_was_checked_is_mounted_although_its_name_leads_elsewhere,
    },
    readonly::{
        a_read_only_mount_refuses_every_write_and_its_neighbour_none,
        a_read_only_root_refuses_writes_and_takes_mounts,
        a_read_only_root_needs_its_mount_points,
    },
    statuses::{
        a_mount_that_fails_in_the_guest_is_named,
    },
    streams::{
        binary_data_passes_unchanged_in_both_directions,
    },
    arguments::{
        the_workload_gets_exactly_what_was_asked_for,
    },
    failures::{
        a_guest_that_reboots_is_lost,
        a_root_without_anything_is_never_up,
        a_missing_libkrunfw_is_named,
        too_little_memory_is_refused,
    },
    port::{
        a_console_port_carries_the_guests_words,
        a_console_port_carries_the_hosts_requests,
    },
    breadth::{
        a_root_on_a_disk_tells_its_exit_status_and_keeps_what_was_written,
        a_read_only_disk_stays_as_it_is,
        vsock_ports_work_both_ways_and_the_socket_goes_with_the_vm,
        a_port_is_open_under_the_number_that_was_asked_for,
        the_console_goes_to_a_file_and_a_port_to_another,
        another_user_owns_what_the_guest_makes_and_cannot_read_what_is_roots,
        limits_and_files_laid_over_the_root_reach_the_workload,
    },
    kernel::{
        a_root_on_a_disk_beside_a_qcow2_and_a_read_only_one,
        an_overlay_takes_what_is_written_and_the_hosts_files_stay,
        a_dax_window_works_with_the_fragments_of_dax,
        the_kernels_log_is_where_it_was_asked_for,
        an_init_of_the_guests_own_on_a_disk,
        an_init_of_the_guests_own_in_a_directory,
        an_initial_ram_disk_boots_alone,
    },
    doctor::{
        a_boot_proves_mounts_and_their_read_only,
        a_real_libkrun_is_told_by_its_release,
    },
    faults::{
        a_guest_that_is_powered_off_runs_until_it_is_stopped,
        too_many_mounts_are_refused,
        a_kernel_that_is_none_is_refused,
        a_disk_that_is_not_there_is_refused,
        a_card_without_a_server_is_never_up,
        a_kernel_that_does_not_fit_into_memory_is_a_crash,
        a_guest_kernel_that_panics_is_lost,
        arguments_of_any_bytes_arrive,
    },
};

/// What krundl and its program in the guest do among themselves: not with a release in between (`KRUNDL_TEST_BETWEEN`), but
/// in the full run with all of them.
const ENDS: &[Case] = cases! {
    statuses::{
        a_program_that_is_not_there_is_127,
        a_directory_is_126,
        a_workload_that_is_killed_is_told_by_its_signal,
        a_working_directory_that_is_not_there_is_125,
    },
    signals::{
        sigterm_ends_the_vm_with_143,
        sigterm_is_the_workloads_to_handle,
        sigint_is_the_workloads_to_handle,
        the_vm_dies_with_a_krundl_that_is_killed,
    },
    vms::{
        two_vms_run_side_by_side_until_one_is_stopped_and_the_other_let_go,
        a_vm_that_is_dropped_is_gone,
    },
    kernel::{
        piped_streams_and_the_exit_status_are_the_workloads,
        the_terminal_is_the_workloads,
    },
    network::{
        passt_leads_both_ways_and_hides_the_hosts_loopback,
        passt_leads_both_ways_with_a_kernel_of_our_own,
        the_guest_asks_passt_for_its_address,
    },
    tap::{
        a_tap_interface_leads_both_ways,
    },
    gvproxy::{
        gvproxy_leads_both_ways_and_answers_for_names,
    },
    control::{
        further_commands_have_streams_and_statuses_of_their_own,
        further_commands_run_with_a_kernel_of_our_own,
        a_terminal_is_the_commands_own,
        a_terminal_is_there_with_a_kernel_of_our_own,
        krundl_reaches_a_vm_by_its_name,
        a_socket_that_a_killed_vm_left_makes_room,
    },
    doctor::{
        a_fresh_machine_is_led_to_a_passing_boot,
        a_boot_without_kvm_says_so,
    },
    terminal::{
        the_guest_has_the_terminal_with_its_size_and_keys,
        the_terminal_is_restored_when_the_vm_is_killed,
    },
};

/// What is the same with every release, or takes long: with the newest one alone (`KRUNDL_TEST_NEWEST`).
const NEWEST: &[Case] = cases! {
    control::{
        a_slow_reader_holds_up_nobody_else,
        two_vms_have_the_same_address_and_ports_of_their_own,
    },
    gvproxy::{
        gvproxy_serves_another_user_and_by_dhcp,
    },
    kernel::{
        what_the_documentation_begins_with_runs,
        the_kernel_says_what_it_was_built_with,
    },
    network::{
        two_guests_of_one_spec_have_a_port_each_and_nothing_is_left_of_one_that_is_killed,
        nothing_is_left_of_a_network_when_krundl_and_the_vm_are_killed,
        what_the_documentation_begins_with_runs,
        a_passt_that_loses_answers_over_udp_is_refused,
        a_passt_without_a_way_out_says_so,
        a_guest_goes_on_without_its_network_when_passt_is_killed,
    },
    tap::{
        a_card_without_a_dhcp_server_ends_the_vm_unless_it_is_optional,
        a_lease_of_dnsmasq_is_renewed_when_that_says,
    },
    faults::{
        a_krundl_without_stdin_gives_an_empty_one,
        a_kvm_that_may_not_be_opened_is_named,
        a_vm_that_is_killed_anywhere_on_its_way_is_told,
        a_vm_dies_with_a_krundl_that_is_killed_anywhere_on_its_way,
    },
    exhaustion::{
        all_of_64_mib_of_output_comes_before_the_end,
        a_full_disk_under_the_log_stops_no_guest,
        a_share_without_descriptors_shows_fewer_files_and_the_guest_goes_on,
        a_launch_without_descriptors_is_refused_and_a_running_guest_goes_on,
    },
};

/// With the newest one, in the full run alone.
const LONG: &[Case] = cases! {
    faults::{
        eight_guests_at_once,
        twenty_launches_leave_nothing_behind,
    },
};

fn main() -> ExitCode {
    // The cases that use the Rust API start this very program as the process that runs libkrun.
    krundl::vmm_main();
    let mut arguments = Arguments::from_args();
    // After each case the process is searched for what it left behind, so there is only one at a time.
    arguments.test_threads = Some(1);
    conclude(&arguments).exit_code()
}

fn conclude(arguments: &Arguments) -> Conclusion {
    match Environment::read(|name| std::env::var_os(name)) {
        Ok(Some(environment)) => run(arguments, trials(&environment)),
        Ok(None) => {
            if !arguments.list {
                eprintln!("skipped: guests: needs the lab (cargo xtask test)");
            }
            let skipped = |(name, _): &Case| Trial::test(*name, || Err("needs the lab".into())).with_ignored_flag(true);
            run(arguments, [EVERY, ENDS, NEWEST, LONG].concat().iter().map(skipped).collect())
        }
        Err(reason) => run(arguments, vec![Trial::test("environment", || Err(reason.into()))]),
    }
}

fn trials(environment: &Environment) -> Vec<Trial> {
    // Of all that are run, for each release may have a lab of its own.
    let newest = std::env::var("KRUNDL_TEST_NEWEST").ok().and_then(|newest| newest.parse().ok());
    let newest = newest.as_ref().or(environment.releases.iter().map(|release| &release.version).max());
    let between = std::env::var_os("KRUNDL_TEST_BETWEEN").is_some();
    let trial = |release: &Release, (name, case): Case| {
        let Environment { firmware, kernel, root, .. } = environment;
        let (release, firmware, kernel, root) = (release.clone(), firmware.clone(), kernel.clone(), root.clone());
        Trial::test(format!("{}::{name}", release.version), move || {
            stand(&Stage::new(release.clone(), &firmware, kernel.clone(), root.clone()), case)
        })
    };
    let of_release = |release: &Release| {
        let (more, long) = if Some(&release.version) == newest { (NEWEST, LONG) } else { (&[][..], &[][..]) };
        let ends = if between { &[][..] } else { ENDS };
        let all = EVERY.iter().chain(ends).chain(more).map(|case| trial(release, *case));
        all.chain(long.iter().map(|case| trial(release, *case).with_ignored_flag(true))).collect::<Vec<_>>()
    };
    let (part, parts) = part();
    let all = environment.releases.iter().flat_map(of_release).enumerate();
    all.filter(|(n, _)| n % parts == part).map(|(_, trial)| trial).collect()
}

/// `KRUNDL_TEST_PART=1/4`: every fourth case from the second on, so that a lab which fails costs a part and not all.
fn part() -> (usize, usize) {
    let text = std::env::var("KRUNDL_TEST_PART").unwrap_or_else(|_| "0/1".to_owned());
    let (part, parts) = text.split_once('/').expect("KRUNDL_TEST_PART is PART/PARTS");
    (part.parse().expect("a number"), parts.parse().expect("a number"))
}

/// Runs a case and looks for what it has left behind.
fn stand(stage: &Stage, case: fn(&Stage)) -> Result<(), Failed> {
    let before = Before::look(&stage.root);
    let start = Instant::now();
    case(stage);
    if std::env::var_os("KRUNDL_TEST_TIMES").is_some() {
        eprint!("{:.1} s ... ", start.elapsed().as_secs_f32());
    }
    before.compare(&stage.root).map_err(Failed::from)
}
