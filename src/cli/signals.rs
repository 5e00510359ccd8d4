//! What signals to `krundl run` mean: they are meant for the VM.
//!
//! On a terminal whose keys the guest reads, ^C is a byte like any other. Elsewhere the terminal sends SIGINT to
//! krundl and to the VM's process alike, and that one hands it to the workload as ^C; krundl has nothing to add, unless
//! the guest is not up yet and could not hear it. Every other signal asks the workload to end, and after a while, or when
//! one comes again, ends the VM.

use std::io::{self, PipeReader, Read};
use std::os::fd::IntoRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use krundl::Vm;
use krundl::launch::Asked;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Where the handler writes; -1 before there is anything.
static NEWS: AtomicI32 = AtomicI32::new(-1);

/// The signals that ask a program to end, caught from here on.
pub struct Signals {
    news: PipeReader,
    told: Arc<Told>,
}

#[derive(Default)]
struct Told {
    /// Whether the guest is up and hears ^C by itself.
    up: AtomicBool,
    /// The signal that ended the VM; 0 for none.
    stopped: AtomicI32,
}

/// One that came.
struct News {
    signal: i32,
    by_a_process: bool,
}

impl Signals {
    /// Catches them; they wait until somebody [acts](Signals::act_on) on them.
    pub fn catch() -> io::Result<Signals> {
        Ok(Signals { news: catch(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP])?, told: Arc::default() })
    }

    /// Acts on them, on a thread that ends with the program. Returns what it is to be told, and tells.
    pub fn act_on(self, vm: Arc<Vm>, grace: Duration) -> Course {
        let Signals { mut news, told } = self;
        let course = Course(Arc::clone(&told));
        std::thread::spawn(move || {
            while let Some(News { signal, by_a_process }) = next(&mut news, None) {
                if signal != libc::SIGINT || !told.up.load(Ordering::SeqCst) {
                    told.stopped.store(signal, Ordering::SeqCst);
                    if vm.terminate().is_ok_and(|asked| asked == Asked::Workload) {
                        // Either one more, or the time is over: it had its chance.
                        next(&mut news, Some(grace));
                        let _ = vm.kill();
                    }
                } else if by_a_process {
                    // `kill -INT` reached krundl alone; from the terminal the VM's process has got its own.
                    let _ = vm.interrupt();
                }
            }
        });
        course
    }
}

/// Catches signals, from here on and once in a program: each is two bytes in the pipe, its number, and 1 where a process
/// sent it.
pub fn catch(signals: &[i32]) -> io::Result<PipeReader> {
    let (news, writer) = io::pipe()?;
    NEWS.store(writer.into_raw_fd(), Ordering::SeqCst);
    for signal in signals {
        // SAFETY: an all-zero sigaction is a valid one to be filled in; the handler makes one call, which is
        // async-signal-safe.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction =
                handle as extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
            libc::sigemptyset(&mut action.sa_mask);
            libc::sigaction(*signal, &action, std::ptr::null_mut());
        }
    }
    Ok(news)
}

/// How far the VM has come, for the thread that acts on signals; and what that one did.
pub struct Course(Arc<Told>);

impl Course {
    /// From now on the guest hears ^C.
    pub fn guest_is_up(&self) {
        self.0.up.store(true, Ordering::SeqCst);
    }

    /// The signal with which the VM was stopped, if it was.
    pub fn stopped_by(&self) -> Option<i32> {
        Some(self.0.stopped.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
    }
}

/// The next one; `None` when the time is over.
fn next(news: &mut PipeReader, timeout: Option<Duration>) -> Option<News> {
    if let Some(timeout) = timeout.and_then(|timeout| Timespec::try_from(timeout).ok())
        && poll(&mut [PollFd::new(news, PollFlags::IN)], Some(&timeout)) == Ok(0)
    {
        return None;
    }
    let mut bytes = [0; 2];
    news.read_exact(&mut bytes).ok()?;
    Some(News { signal: bytes[0].into(), by_a_process: bytes[1] != 0 })
}

extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel hands a valid siginfo to a handler with SA_SIGINFO.
    let by_a_process = unsafe { (*info).si_code } <= 0;
    let bytes = [u8::try_from(signal).unwrap_or(0), by_a_process.into()];
    // SAFETY: async-signal-safe, and the bytes outlive the call. Two bytes go into a pipe together or not at all.
    unsafe { libc::write(NEWS.load(Ordering::SeqCst), bytes.as_ptr().cast(), bytes.len()) };
}
