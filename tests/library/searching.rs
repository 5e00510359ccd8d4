//! Which candidates there are, and in which order they are tried.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use krundl::error::{Attempt, AttemptError, AttemptKind, Origin};
use krundl::library::{Environment, Options, Progress, SkippedCandidate, Target, candidates, open};
use krundl_test_support::stubs::Stub;

use super::{in_environment, only, refusal, rooted, temp};

fn names(options: &Options) -> Vec<(String, Origin)> {
    candidates(options).iter().map(|candidate| (candidate.name(), candidate.origin)).collect()
}

#[test]
fn the_loader_comes_before_well_known_places_and_plain_before_all_else() {
    let environment = Environment {
        home: Some("/home/me".into()),
        user: Some("me".into()),
        loader_path: Some("/loader".into()),
        ..Environment::default()
    };
    let list = names(&in_environment(environment));
    assert_eq!(list[0], ("libkrun.so.1".to_owned(), Origin::Loader));
    assert!(list[1..].iter().all(|(name, origin)| *origin == Origin::WellKnown && name.starts_with('/')));
    let file_names: Vec<&str> = list[1..].iter().map(|(name, _)| name.rsplit('/').next().unwrap()).collect();
    let mut order = file_names.clone();
    order.dedup();
    let expected = ["libkrun.so.1", "libkrun-sev.so.1", "libkrun-tdx.so.1", "libkrun-awsnitro.so.1"];
    assert_eq!(order, [&expected[..], &["libkrun.so.2", "libkrun.so.0"]].concat());
    let plain: Vec<&str> = list[1..]
        .iter()
        .take_while(|(name, _)| name.ends_with("/libkrun.so.1"))
        .map(|(name, _)| name.as_str())
        .collect();
    for dir in [
        &format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH),
        "/usr/lib64",
        "/usr/lib",
        "/usr/local/lib64",
        "/usr/local/lib",
        &format!("/usr/local/lib/{}-linux-gnu", std::env::consts::ARCH),
        "/home/linuxbrew/.linuxbrew/lib",
        "/run/current-system/sw/lib",
        "/home/me/.nix-profile/lib",
        "/nix/var/nix/profiles/default/lib",
        "/etc/profiles/per-user/me/lib",
    ] {
        assert!(plain.contains(&format!("{dir}/libkrun.so.1").as_str()), "{dir} in {plain:?}");
    }
    assert_eq!(plain.len(), 11);
}

#[test]
fn what_a_package_brings_comes_last_and_only_if_nothing_is_named() {
    let environment = Environment { bundled: Some("/site/krundl_libkrun".into()), ..Environment::default() };
    let list = names(&in_environment(environment.clone()));
    assert_eq!(list.last().unwrap(), &("/site/krundl_libkrun/libkrun.so.1".to_owned(), Origin::Bundled));
    assert_eq!(list.iter().filter(|(_, origin)| *origin == Origin::Bundled).count(), 1);
    let named = Options { path: Some("/given.so".into()), ..in_environment(environment) };
    assert_eq!(names(&named).len(), 1);
    let relative = Environment { bundled: Some("krundl_libkrun".into()), ..Environment::default() };
    assert!(names(&in_environment(relative)).iter().all(|(_, origin)| *origin != Origin::Bundled));
}

#[test]
fn a_program_of_a_python_environment_knows_what_that_brings() {
    let (_temp, root) = temp();
    let package = root.join("venv/lib/python3.11/site-packages/krundl_libkrun");
    std::fs::create_dir_all(&package).unwrap();
    let of = |program: &str| Environment::default().with_bundled_of(&root.join(program)).bundled;
    assert_eq!(of("venv/bin/krundl"), Some(package.into_os_string()));
    assert_eq!(of("venv/sbin/krundl"), None);
    assert_eq!(of("elsewhere/bin/krundl"), None);
}

#[test]
fn a_libkrun_of_the_system_comes_before_that_of_a_package() {
    let (_temp, root) = temp();
    let brought = Stub::new("1.18.0").build_in(&root.join("site/krundl_libkrun"));
    let environment = Environment { bundled: Some(root.join("site/krundl_libkrun").into()), ..rooted(&root) };
    let open_in =
        |environment: &Environment| super::opened(&in_environment(environment.clone())).observation().real_path.clone();
    assert_eq!(open_in(&environment), brought.path);
    let system = Stub::new("1.17.4").build_in(&root.join("usr/lib"));
    assert_eq!(open_in(&environment), system.path);
}

#[test]
fn what_is_named_rules_out_all_else() {
    let environment = Environment {
        library: Some("/var/named.so".into()),
        library_dir: Some("/var/dir".into()),
        ..Environment::default()
    };
    let mut options =
        Options { path: Some("/given.so".into()), directory: Some("/given".into()), ..in_environment(environment) };
    assert_eq!(names(&options), [("/given.so".to_owned(), Origin::Explicit)]);
    options.path = None;
    assert_eq!(names(&options), [("/var/named.so".to_owned(), Origin::EnvLibrary)]);
    options.environment.library = Some(OsString::new());
    assert_eq!(names(&options)[0], ("/given/libkrun.so.1".to_owned(), Origin::Directory));
    assert!(names(&options).iter().all(|(name, _)| name.starts_with("/given/")));
    assert!(names(&options).contains(&("/given/libkrun.so".to_owned(), Origin::Directory)));
    options.directory = None;
    assert!(
        names(&options)
            .iter()
            .all(|(name, origin)| { name.starts_with("/var/dir/") && *origin == Origin::EnvDirectory })
    );
    options.environment.library_dir = Some(OsString::new());
    assert_eq!(names(&options)[0].1, Origin::Loader);
}

#[test]
fn the_current_directory_is_never_searched() {
    let here = Environment { current_dir: Some("/here".into()), ..Environment::default() };
    let given = Options { path: Some("libkrun.so.1".into()), ..in_environment(here.clone()) };
    let candidate = candidates(&given).remove(0);
    assert_eq!(candidate.target, Target::Path("/here/libkrun.so.1".into()));
    let given = Options { directory: Some("sub".into()), ..in_environment(here.clone()) };
    assert_eq!(names(&given)[0].0, "/here/sub/libkrun.so.1");
    for environment in [
        Environment { library: Some("libkrun.so.1".into()), ..here.clone() },
        Environment { library_dir: Some("./lib".into()), ..here.clone() },
    ] {
        let error = refusal(&in_environment(environment));
        assert_eq!(error.kind, AttemptKind::Refused);
        assert!(error.message.contains("must be an absolute path"), "{}", error.message);
    }
    assert!(refusal(&Options { path: Some("".into()), ..in_environment(here) }).message.contains("empty"));
    assert!(refusal(&only("relative.so")).message.contains("current directory is not known"));
}

#[test]
fn a_privileged_process_trusts_no_variable() {
    let environment = Environment {
        library: Some("/evil.so".into()),
        library_dir: Some("/evil".into()),
        loader_path: Some("/evil".into()),
        home: Some("/evil".into()),
        user: Some("evil".into()),
        privileged: true,
        ..Environment::default()
    };
    let list = names(&in_environment(environment));
    assert_eq!(list[0].1, Origin::Loader);
    assert!(list.iter().all(|(name, _)| !name.contains("evil")), "{list:?}");
    // A user name that leads out of the directory of users does not count for anybody.
    let environment = Environment { user: Some("../evil".into()), ..Environment::default() };
    assert!(names(&in_environment(environment)).iter().all(|(name, _)| !name.contains("evil")));
    assert!(!Environment::current().privileged);
}

#[test]
fn options_travel_as_json_and_paths_that_are_no_text_are_refused() {
    let odd = PathBuf::from(OsString::from_vec(b"/tmp/\xff/libkrun.so.1".to_vec()));
    let options = Options { directory: Some("/x".into()), ..only(&odd) };
    let back: Options = serde_json::from_str(&serde_json::to_string(&options).unwrap()).unwrap();
    assert_eq!(back, options);
    assert!(refusal(&back).message.contains("not UTF-8"));
}

#[test]
fn a_candidate_that_crashed_is_not_tried_again() {
    let (_temp, root) = temp();
    let crashing = Stub::new("1.18.0").constructor("__builtin_trap();").build_in(&root.join("usr/lib64"));
    let good = Stub::new("1.17.4").build_in(&root.join("usr/lib"));
    let error = AttemptError { kind: AttemptKind::Crashed, message: "was killed by signal 4".to_owned() };
    let skip = |candidate: String| SkippedCandidate { candidate, error: error.clone() };
    let skipped = vec![skip("libkrun.so.1".to_owned()), skip(crashing.link.display().to_string())];
    let mut told = Vec::new();
    let options = Options { skip: skipped, ..in_environment(rooted(&root)) };
    // SAFETY: stubs of ours.
    let (library, attempts) = unsafe { open(&options, &mut |progress| told.push(progress.clone())) }.unwrap();
    assert_eq!(library.observation().path, good.link);
    let crashed: Vec<&Attempt> = attempts.iter().filter(|attempt| attempt.error.as_ref() == Some(&error)).collect();
    assert_eq!(crashed.len(), 2);
    assert_eq!(attempts.last().unwrap().error, None);
    let tried = |name: &Path| {
        let candidate = name.display().to_string();
        told.iter().position(|one| *one == Progress::Trying { candidate: candidate.clone(), origin: Origin::WellKnown })
    };
    assert_eq!(tried(&crashing.link), None);
    assert_eq!(tried(&good.link), Some(told.len() - 2));
    assert!(matches!(told.last(), Some(Progress::Opened { path, .. }) if *path == good.link));
    assert_eq!(told[0], Progress::Failed(attempts[0].clone()));
}
